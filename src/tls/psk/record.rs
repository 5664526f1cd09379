//! The record layer (RFC 8446 §5, RFC 5246 §6): fragmentation and protection of records.
#![forbid(unsafe_code)]

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::AlertDescription;
use zeroize::Zeroizing;

use super::error::{Error, decode_error, unexpected_message};
use super::suites::Aead;
use crate::types::Buffer;

// ContentType (RFC 8446 §5.1)
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// `ContentType`, `legacy_record_version` and `length`.
const HEADER: usize = 5;
/// Length of an AEAD's tag, in bytes.
const TAG: usize = 16;
/// Maximum length of plaintext in a record, in bytes.
pub(super) const MAX_FRAGMENT: usize = 1 << 14;

/// Both directions of a connection.
pub(super) struct Records {
    read: Option<Keys>,
    write: Option<Keys>,
    /// Maximum length of plaintext in a protected record to the client, in bytes.
    max_fragment: usize,
    /// Bytes of early data that may still be skipped (RFC 8446 §4.2.10).
    early_data: usize,
}

/// Keys of one direction, until the next change.
pub(super) struct Keys {
    key: LessSafeKey,
    iv: Zeroizing<[u8; 12]>,
    protection: Protection,
    sequence: u64,
    /// Maximum number of records to protect with these keys.
    limit: u64,
}

/// Protection of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// RFC 8446 §5.2.
    Tls13,
    /// TLS 1.2 with the sequence number in the nonce (RFC 7905 §2).
    Tls12Implicit,
    /// TLS 1.2 with the explicit part of the nonce in the record (RFC 5288 §3).
    Tls12Explicit,
}

impl Keys {
    pub(super) fn new(
        aead: Aead,
        protection: Protection,
        key: &[u8],
        iv: [u8; 12],
    ) -> Result<Self, Error> {
        Ok(Self {
            key: LessSafeKey::new(UnboundKey::new(aead.algorithm(), key)?),
            iv: Zeroizing::new(iv),
            protection,
            sequence: 0,
            limit: aead.confidentiality_limit(),
        })
    }

    /// The same keys with another maximum number of records.
    #[cfg(test)]
    pub(super) fn limited(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// The nonce of a record: `iv` with the number in its last eight bytes. "The padded sequence number
    /// is XORed with either the static `client_write_iv` or `server_write_iv`" (RFC 8446 §5.3, RFC 7905
    /// §2); where the number stands in the record, it takes the place of zeros.
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = *self.iv;
        for (byte, number) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// The sequence number of the next record. Errors: the numbers are used up.
    fn take_sequence(&mut self) -> Result<u64, Error> {
        let number = self.sequence;
        self.sequence = number
            .checked_add(1)
            .ok_or(Error::Internal("sequence numbers are used up"))?;
        Ok(number)
    }

    /// Bytes of a protected record besides header and plaintext.
    fn overhead(&self) -> usize {
        match self.protection {
            Protection::Tls13 => 1 + TAG,
            Protection::Tls12Implicit => TAG,
            Protection::Tls12Explicit => 8 + TAG,
        }
    }

    /// Appends a protected record to `out`.
    fn seal(&mut self, typ: u8, fragment: &[u8], out: &mut Buffer) -> Result<(), Error> {
        let number = self.take_sequence()?;
        let length = fragment.len() + self.overhead();
        let mut record = out.room(HEADER + length).split_at_mut(HEADER + length).0;
        let inner_type = [typ];
        // "opaque_type: The outer opaque_type field of a TLSCiphertext record is always set to the
        // value 23 (application_data) for outward compatibility" (RFC 8446 §5.2)
        let (outer_type, extra): (u8, &[u8]) = match self.protection {
            Protection::Tls13 => (APPLICATION_DATA, &inner_type),
            _ => (typ, &[]),
        };
        let header = header(outer_type, length);
        let aad = match self.protection {
            Protection::Tls13 => AdditionalData::of(&header),
            _ => AdditionalData::tls12(number, typ, fragment.len()),
        };
        record = copy_front(record, &header);
        if self.protection == Protection::Tls12Explicit {
            record = copy_front(record, &number.to_be_bytes());
        }
        let (ciphertext, tag) = record.split_at_mut(fragment.len());
        self.key.seal_out_of_place_scatter(
            self.nonce(number),
            Aad::from(aad.as_ref()),
            fragment,
            ciphertext,
            extra,
            tag,
        )?;
        out.filled_by(HEADER + length);
        Ok(())
    }

    /// Opens a protected record. Returns the content's type and its range in `payload`.
    fn open<'a>(
        &mut self,
        header: &[u8; HEADER],
        payload: &'a mut [u8],
    ) -> Result<(u8, &'a mut [u8]), Error> {
        let too_short = Error::Misbehaved(AlertDescription::DecodeError, "a record without a tag");
        let plaintext_len = payload.len().checked_sub(self.overhead());
        let number = self.sequence;
        let (nonce, aad, ciphertext) = match self.protection {
            Protection::Tls13 => {
                let aad = AdditionalData::of(header);
                (self.nonce(number), aad, payload)
            }
            Protection::Tls12Implicit => {
                let length = plaintext_len.ok_or(too_short)?;
                let aad = AdditionalData::tls12(number, header[0], length);
                (self.nonce(number), aad, payload)
            }
            Protection::Tls12Explicit => {
                let length = plaintext_len.ok_or(too_short.clone())?;
                let aad = AdditionalData::tls12(number, header[0], length);
                let (explicit, rest) = payload.split_first_chunk_mut::<8>().ok_or(too_short)?;
                (self.nonce(u64::from_be_bytes(*explicit)), aad, rest)
            }
        };
        let bad_mac = |_| {
            let what = "a record that was not protected with the right key";
            Error::Misbehaved(AlertDescription::BadRecordMac, what)
        };
        let plaintext = self
            .key
            .open_in_place(nonce, Aad::from(aad.as_ref()), ciphertext)
            .map_err(bad_mac)?;
        self.take_sequence()?;
        let overflow = "more than 2^14 bytes in a record";
        let overflow = Error::Misbehaved(AlertDescription::RecordOverflow, overflow);
        if self.protection != Protection::Tls13 {
            return match plaintext.len() {
                0..=MAX_FRAGMENT => Ok((header[0], plaintext)),
                _ => Err(overflow),
            };
        }
        // "The full encoded TLSInnerPlaintext MUST NOT exceed 2^14 + 1 octets." (RFC 8446 §5.4)
        if plaintext.len() > MAX_FRAGMENT + 1 {
            return Err(overflow);
        }
        // "scans the field from the end toward the beginning until it finds a non-zero octet. […] If a
        // receiving implementation does not find a non-zero octet in the cleartext, it MUST terminate
        // the connection with an "unexpected_message" alert."
        let end = plaintext.iter().rposition(|byte| *byte != 0);
        match plaintext.get_mut(..=end.unwrap_or(usize::MAX - 1)) {
            // "a protected change_cipher_spec record MUST" be met with an unexpected_message (§5).
            Some([.., CHANGE_CIPHER_SPEC]) => {
                Err(unexpected_message("a protected change_cipher_spec"))
            }
            Some([content @ .., typ]) => Ok((*typ, content)),
            _ => Err(unexpected_message("a record of nothing but padding")),
        }
    }
}

/// Additional data of a record's AEAD.
enum AdditionalData {
    Tls13([u8; 5]),
    Tls12([u8; 13]),
}

impl AdditionalData {
    /// `TLSCiphertext.opaque_type || TLSCiphertext.legacy_record_version || TLSCiphertext.length`
    /// (RFC 8446 §5.2)
    fn of(header: &[u8; HEADER]) -> Self {
        Self::Tls13(*header)
    }

    /// `seq_num + TLSCompressed.type + TLSCompressed.version + TLSCompressed.length` (RFC 5246 §6.2.3.3)
    fn tls12(number: u64, typ: u8, length: usize) -> Self {
        let mut data = [0; 13];
        let rest = copy_front(&mut data, &number.to_be_bytes());
        copy_front(rest, &header(typ, length));
        Self::Tls12(data)
    }

    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Tls13(data) => data,
            Self::Tls12(data) => data,
        }
    }
}

impl Records {
    pub(super) fn new() -> Self {
        Self {
            read: None,
            write: None,
            max_fragment: MAX_FRAGMENT,
            early_data: 0,
        }
    }

    /// Sets the keys of later records from the client.
    pub(super) fn read_with(&mut self, keys: Keys) {
        self.read = Some(keys);
    }

    /// Sets the keys of later records to the client.
    pub(super) fn write_with(&mut self, keys: Keys) {
        self.write = Some(keys);
    }

    /// Limits the plaintext in a protected record, for the client (RFC 8449 §4) or the host.
    pub(super) fn limit_fragments(&mut self, length: usize) {
        self.max_fragment = self.max_fragment.min(length);
    }

    /// Skips early data of the client, at most this many bytes.
    pub(super) fn skip_early_data(&mut self, length: usize) {
        self.early_data = length;
    }

    /// Whether our keys have protected the maximum number of records.
    pub(super) fn must_rekey(&self) -> bool {
        self.write
            .as_ref()
            .is_some_and(|keys| keys.sequence >= keys.limit)
    }

    /// Opens a whole record. Returns type and content; `None`: early data, which is skipped.
    pub(super) fn open<'a>(
        &mut self,
        record: &'a mut [u8],
    ) -> Result<Option<(u8, &'a [u8])>, Error> {
        let (header, payload) = record
            .split_first_chunk_mut::<HEADER>()
            .ok_or(decode_error("a record without a header"))?;
        let [typ, major, ..] = *header;
        if major != 3 {
            let what = "a record of no TLS version";
            return Err(Error::Misbehaved(AlertDescription::ProtocolVersion, what));
        }
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // RFC 8446 §5.2 and RFC 5246 §6.2.3
        let longest = match &self.read {
            None if self.early_data > 0 => MAX_FRAGMENT + 256,
            None => MAX_FRAGMENT,
            Some(keys) if keys.protection == Protection::Tls13 => MAX_FRAGMENT + 256,
            Some(_) => MAX_FRAGMENT + 2048,
        };
        if length > longest {
            let what = "a record that is too long";
            return Err(Error::Misbehaved(AlertDescription::RecordOverflow, what));
        }
        if length != payload.len() {
            return Err(decode_error("a record that is not whole"));
        }
        let is_tls13 = |keys: &Keys| keys.protection == Protection::Tls13;
        match &mut self.read {
            // Between the hellos of a retried handshake: early data for the first of them.
            None if typ == APPLICATION_DATA && skips(&mut self.early_data, length) => Ok(None),
            None => Ok(Some((typ, payload))),
            // A record for middleboxes, or an alert of a client that rejects our hello.
            Some(keys) if is_tls13(keys) && typ != APPLICATION_DATA => match typ {
                CHANGE_CIPHER_SPEC => Ok(Some((typ, payload))),
                ALERT if keys.sequence == 0 => Ok(Some((typ, payload))),
                _ => Err(unexpected_message("a record that is not protected")),
            },
            Some(keys) => match keys.open(header, payload) {
                // "discarding records which fail deprotection" (RFC 8446 §4.2.10)
                Err(_) if keys.sequence == 0 && skips(&mut self.early_data, length) => Ok(None),
                Err(error) => Err(error),
                Ok((typ, content)) => {
                    self.early_data = 0;
                    Ok(Some((typ, content)))
                }
            },
        }
    }

    /// Appends `content` to `out` in as many records as needed.
    pub(super) fn write(&mut self, typ: u8, content: &[u8], out: &mut Buffer) -> Result<(), Error> {
        match &mut self.write {
            None => {
                for fragment in content.chunks(MAX_FRAGMENT) {
                    out.append(&header(typ, fragment.len()));
                    out.append(fragment);
                }
            }
            Some(keys) => {
                for fragment in content.chunks(self.max_fragment) {
                    keys.seal(typ, fragment, out)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a record of this length is skipped as early data. If so, it counts against the limit.
fn skips(early_data: &mut usize, length: usize) -> bool {
    let left = early_data.checked_sub(length).filter(|_| length > 0);
    *early_data = left.unwrap_or(*early_data);
    left.is_some()
}

/// The header of a record. `legacy_record_version` "MUST be set to 0x0303 for all records generated by a
/// TLS 1.3 implementation", and is the version of TLS 1.2.
fn header(typ: u8, length: usize) -> [u8; HEADER] {
    // No record is longer than 2^14 + 2048.
    let [high, low] = u16::try_from(length).unwrap_or_default().to_be_bytes();
    [typ, 3, 3, high, low]
}

/// Copies `bytes` to the front of `to`. Returns the rest of `to`.
fn copy_front<'a>(to: &'a mut [u8], bytes: &[u8]) -> &'a mut [u8] {
    let (front, rest) = to.split_at_mut(bytes.len());
    front.copy_from_slice(bytes);
    rest
}
