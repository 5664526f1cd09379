//! One direction's keys, and records under them (RFC 8446 §5.2, RFC 5246 §6.2.3.3, RFC 7905 §2).

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::bytes::{Result, record};
use super::codes::{TLS12, TLS13, record as typ};
use super::suite::Suite;

/// Keys, and the number of records that they have protected.
pub struct Protection {
    suite: Suite,
    key: LessSafeKey,
    iv: Vec<u8>,
    sequence: u64,
}

/// What was in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub typ: u8,
    pub content: Vec<u8>,
    /// Bytes of `TLSInnerPlaintext`, padding included; of TLS 1.2, those of the content.
    pub inner: usize,
}

impl Protection {
    /// Keys of a suite.
    pub fn new(suite: Suite, key: &[u8], iv: &[u8]) -> Self {
        Self {
            suite,
            key: LessSafeKey::new(UnboundKey::new(suite.aead, key).unwrap()),
            iv: iv.to_vec(),
            sequence: 0,
        }
    }

    /// Keys of a TLS 1.3 traffic secret (RFC 8446 §7.3).
    pub fn of_secret(suite: Suite, secret: &[u8]) -> Self {
        let part = |label, length| suite.hash.expand_label(secret, label, b"", length);
        Self::new(
            suite,
            &part("key", suite.aead.key_len()),
            &part("iv", suite.aead.nonce_len()),
        )
    }

    /// A record of this content.
    pub fn seal(&mut self, typ: u8, content: &[u8]) -> Vec<u8> {
        self.seal_padded(typ, content, 0)
    }

    /// A record of this content and, in TLS 1.3, this many bytes of padding.
    pub fn seal_padded(&mut self, typ: u8, content: &[u8], padding: usize) -> Vec<u8> {
        if self.suite.version == TLS13 {
            return self.seal_inner(&[content, &[typ], &vec![0; padding]].concat());
        }
        let explicit = self.explicit_nonce();
        let mut sealed = content.to_vec();
        let aad = self.aad12(typ, content.len());
        let nonce = self.nonce(&explicit);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed)
            .unwrap();
        self.sequence += 1;
        record(typ, TLS12, &[explicit, sealed].concat())
    }

    /// A record of TLS 1.3 with any `TLSInnerPlaintext`.
    pub fn seal_inner(&mut self, inner: &[u8]) -> Vec<u8> {
        let mut sealed = inner.to_vec();
        let length = u16::try_from(inner.len() + 16).unwrap().to_be_bytes();
        let aad = [&[typ::APPLICATION_DATA, 3, 3][..], &length].concat();
        let nonce = self.nonce(&[]);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed)
            .unwrap();
        self.sequence += 1;
        record(typ::APPLICATION_DATA, TLS12, &sealed)
    }

    /// What is in a record of this type and fragment.
    pub fn open(&mut self, outer: u8, fragment: &[u8]) -> Result<Opened> {
        let explicit = self.explicit_nonce().len();
        if fragment.len() < explicit + 16 {
            return Err("a protected record without room for its tag".into());
        }
        let (explicit, sealed) = fragment.split_at(explicit);
        let aad = if self.suite.version == TLS13 {
            let length = u16::try_from(sealed.len()).unwrap().to_be_bytes();
            [&[outer, 3, 3][..], &length].concat()
        } else {
            self.aad12(outer, sealed.len() - 16)
        };
        let nonce = self.nonce(explicit);
        let mut sealed = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(aad), &mut sealed);
        let opened = opened.map_err(|_| "a record that does not open")?;
        self.sequence += 1;
        let inner = opened.len();
        if self.suite.version == TLS12 {
            return Ok(Opened {
                typ: outer,
                content: opened.to_vec(),
                inner,
            });
        }
        let end = opened.iter().rposition(|byte| *byte != 0);
        let end = end.ok_or("a record of nothing but padding")?;
        Ok(Opened {
            typ: opened[end],
            content: opened[..end].to_vec(),
            inner,
        })
    }

    /// GCM in TLS 1.2 has eight bytes of nonce in the record (RFC 5288 §3).
    fn explicit_nonce(&self) -> Vec<u8> {
        if self.suite.version == TLS13 || self.suite.aead == &CHACHA20_POLY1305 {
            return Vec::new();
        }
        self.sequence.to_be_bytes().to_vec()
    }

    fn nonce(&self, explicit: &[u8]) -> Nonce {
        let mut nonce = [&self.iv[..], explicit].concat();
        if explicit.is_empty() {
            for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
                *byte ^= sequence;
            }
        }
        Nonce::try_assume_unique_for_key(&nonce).unwrap()
    }

    fn aad12(&self, typ: u8, length: usize) -> Vec<u8> {
        let length = u16::try_from(length).unwrap().to_be_bytes();
        [&self.sequence.to_be_bytes()[..], &[typ, 3, 3], &length].concat()
    }
}
