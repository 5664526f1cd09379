//! Joins records to the ClientHello message (RFC 8446 §5.1), however it is fragmented.
#![forbid(unsafe_code)]

use rustls::{AlertDescription, ContentType, HandshakeType};

use super::{ClientHello, HelloError};

/// Reads the first bytes of a connection until the ClientHello is complete.
///
/// It reads each byte once, and keeps the handshake message received so far. Its memory grows with the bytes that
/// arrive, and never with a length that the peer announces.
#[derive(Debug, Default)]
pub struct HelloReader {
    /// Bytes of the connection read so far.
    taken: usize,
    /// Bytes of the current record still to come.
    record: usize,
    /// The handshake message so far, its header included.
    message: Vec<u8>,
}

/// Result of a call of [`HelloReader::read`].
#[derive(Debug)]
pub enum Progress {
    /// The hello is not complete: more bytes are needed.
    NeedMore(HelloReader),
    /// The hello is complete. It ends at the end of a record; other records may follow.
    Complete(ClientHello),
}

/// Maximum size of the records of one hello, in bytes. A hello of 16 KiB fits even if each record holds one byte
/// of it; one of 64 KiB fits in some twelve thousand records.
pub const MAX_RECORD_BYTES: usize = 128 * 1024;

impl HelloReader {
    /// Creates a reader for a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads further. `received`: all bytes of the connection, from the first one on.
    ///
    /// Errors are found as soon as the bytes show them, so that a client of another protocol is answered at once
    /// and not at the handshake's deadline.
    pub fn read(mut self, received: &[u8]) -> Result<Progress, HelloError> {
        loop {
            if self.record == 0 {
                let header = received.get(self.taken..).unwrap_or_default();
                let Some(length) = record_header(header, self.message.is_empty())? else {
                    return Ok(Progress::NeedMore(self));
                };
                self.taken += HEADER_LEN;
                self.record = length;
            }

            let left = received.get(self.taken..).unwrap_or_default();
            let fragment = left.get(..self.record).unwrap_or(left);
            self.taken += fragment.len();
            self.record -= fragment.len();
            self.message.extend_from_slice(fragment);

            match message_body(&self.message)? {
                Some(_) if self.record > 0 => return Err(HelloError::DataAfterHello),
                Some(body) => return ClientHello::parse(body).map(Progress::Complete),
                None if self.taken > MAX_RECORD_BYTES => return Err(HelloError::TooManyRecords),
                None if self.record > 0 => return Ok(Progress::NeedMore(self)),
                None => {}
            }
        }
    }
}

/// The length of the handshake record that starts here; `None` while its header is not complete.
fn record_header(input: &[u8], first: bool) -> Result<Option<usize>, HelloError> {
    match *input {
        [] | [HANDSHAKE] => Ok(None),
        [HANDSHAKE, 3, _, high, low, ..] => match usize::from(u16::from_be_bytes([high, low])) {
            // "Implementations MUST NOT send zero-length fragments of Handshake types" (§5.1)
            0 => Err(HelloError::EmptyRecord),
            // "The length MUST NOT exceed 2^14 bytes." (§5.1)
            length if length > MAX_FRAGMENT => Err(HelloError::RecordTooLong),
            length => Ok(Some(length)),
        },
        [HANDSHAKE, 3, ..] => Ok(None),
        [HANDSHAKE, ..] => Err(HelloError::RecordVersion),
        _ if first => foreign(input).map_or(Ok(None), Err),
        // "Handshake messages MUST NOT be interleaved with other record types." (§5.1)
        [typ, ..] => Err(HelloError::UnexpectedRecord(typ.into())),
    }
}

/// The error in a connection that does not start with a handshake record. `None` while more bytes are needed to
/// tell the errors apart.
fn foreign(input: &[u8]) -> Option<HelloError> {
    let is_http = |method: &&[u8]| input.starts_with(method) || method.starts_with(input);
    match *input {
        _ if HTTP_METHODS.iter().any(is_http) => Some(HelloError::PlainHttp),
        [ALERT, 3, _, 0, 2, _, description, ..] => {
            Some(HelloError::ClientAlert(AlertDescription::from(description)))
        }
        [ALERT] | [ALERT, 3] | [ALERT, 3, _] | [ALERT, 3, _, 0] | [ALERT, 3, _, 0, 2, ..] => None,
        [typ @ (CHANGE_CIPHER_SPEC | ALERT | APPLICATION_DATA), ..] => {
            Some(HelloError::UnexpectedRecord(ContentType::from(typ)))
        }
        // Two bytes of length with the highest bit set, msg_type 1, version (RFC 5246 appendix E.2)
        [0x80..=0xff, _, 1, 0, 2, ..] | [0x80..=0xff, _, 1, 3, ..] => Some(HelloError::Sslv2),
        [0x80..=0xff] | [0x80..=0xff, _] | [0x80..=0xff, _, 1] | [0x80..=0xff, _, 1, 0] => None,
        _ => Some(HelloError::NotTls),
    }
}

/// The body of the ClientHello; `None` while the message is not complete.
fn message_body(message: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    match *message {
        [typ, ..] if typ != CLIENT_HELLO => {
            Err(HelloError::UnexpectedMessage(HandshakeType::from(typ)))
        }
        // The length field has 24 bits. The limit of rustls is 64 KiB, too.
        [_, 1..=0xff, ..] => Err(HelloError::TooLong),
        [_, _, high, low, ref body @ ..] => {
            match body.split_at_checked(u16::from_be_bytes([high, low]).into()) {
                Some((body, [])) => Ok(Some(body)),
                Some(_) => Err(HelloError::DataAfterHello),
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;

/// `ContentType`, `legacy_record_version` and `length`.
const HEADER_LEN: usize = 5;

const MAX_FRAGMENT: usize = 1 << 14;

/// First bytes of a plain HTTP request (RFC 9110 §9, RFC 5789, RFC 9113 §3.4).
const HTTP_METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI * HTTP/2",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The error in these bytes, which must appear with the last of them and not before.
    fn error(bytes: &[u8]) -> HelloError {
        let (_, fewer) = bytes.split_last().unwrap();
        if !fewer.is_empty() {
            let early = HelloReader::new().read(fewer);
            assert!(
                matches!(early, Ok(Progress::NeedMore(_))),
                "{early:?} in {fewer:x?}"
            );
        }
        HelloReader::new().read(bytes).unwrap_err()
    }

    #[test]
    fn http_is_recognized_by_its_first_byte() {
        for request in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"G",
            b"POST /",
            b"PRI * HTTP/2.0",
            b"PATCH",
        ] {
            let error = HelloReader::new().read(request).unwrap_err();
            assert_eq!(error, HelloError::PlainHttp);
            assert_eq!(error.alert(), Some(AlertDescription::UnexpectedMessage));
        }
    }

    #[test]
    fn other_protocols_are_recognized_by_their_first_byte() {
        for first in (0..=255).filter(|first| !(20..=23).contains(first) && *first < 0x80) {
            let error = error(&[first]);
            match first {
                b'C' | b'D' | b'G' | b'H' | b'O' | b'P' | b'T' => {
                    assert_eq!(error, HelloError::PlainHttp);
                }
                _ => assert_eq!(error, HelloError::NotTls),
            }
        }
        for text in [&b"SSH-2.0-"[..], b"GOPHER", b"\0\0\0\x2c"] {
            assert_eq!(
                HelloReader::new().read(text).unwrap_err(),
                HelloError::NotTls
            );
        }
    }

    #[test]
    fn an_sslv2_hello_is_recognized() {
        let hello = [0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0];
        assert_eq!(error(&hello[..5]), HelloError::Sslv2);
        assert_eq!(
            HelloReader::new().read(&hello).unwrap_err(),
            HelloError::Sslv2
        );
        assert_eq!(error(&[0x80, 0x2e, 1, 3]), HelloError::Sslv2);
        assert_eq!(
            error(&[0x80, 0x2e, 1, 3]).alert(),
            Some(AlertDescription::ProtocolVersion)
        );
        assert_eq!(error(&[0x80, 0x2e, 2]), HelloError::NotTls);
        assert_eq!(error(&[0x80, 0x2e, 1, 0, 3]), HelloError::NotTls);
    }

    #[test]
    fn an_alert_in_place_of_a_hello_is_named_and_not_answered() {
        let refused = error(&[21, 3, 1, 0, 2, 2, 40]);
        assert_eq!(refused.to_string(), "client sent alert handshake_failure");
        assert_eq!(refused.alert(), None);
        assert_eq!(
            error(&[21, 3, 3, 0, 9]),
            HelloError::UnexpectedRecord(ContentType::Alert)
        );
    }

    #[test]
    fn other_records_are_unexpected() {
        for (typ, reason) in [
            (20, "change_cipher_spec record instead of a hello"),
            (23, "application_data record instead of a hello"),
        ] {
            let error = error(&[typ]);
            assert_eq!(error.to_string(), reason);
            assert_eq!(error.alert(), Some(AlertDescription::UnexpectedMessage));
        }
        for inside in [20, 21, 23, 24, b'G'] {
            assert_eq!(
                error(&[22, 3, 1, 0, 1, 1, inside]),
                HelloError::UnexpectedRecord(ContentType::from(inside))
            );
        }
    }

    #[test]
    fn records_have_limits() {
        assert_eq!(error(&[22, 3, 1, 0, 0]), HelloError::EmptyRecord);
        assert_eq!(
            error(&[22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 0]),
            HelloError::EmptyRecord
        );
        assert_eq!(error(&[22, 3, 1, 0x40, 1]), HelloError::RecordTooLong);
        assert_eq!(
            error(&[22, 3, 1, 0x40, 1]).alert(),
            Some(AlertDescription::RecordOverflow)
        );
        assert_eq!(error(&[22, 2]), HelloError::RecordVersion);
        let whole = HelloReader::new().read(&[22, 3, 255, 0x40, 0, 1]);
        assert!(matches!(whole, Ok(Progress::NeedMore(_))));
    }

    #[test]
    fn other_messages_are_unexpected() {
        let error = error(&[22, 3, 1, 0, 4, 2]);
        assert_eq!(error.to_string(), "server_hello message instead of a hello");
        assert_eq!(error.alert(), Some(AlertDescription::UnexpectedMessage));
    }

    #[test]
    fn a_hello_has_limits() {
        assert_eq!(error(&[22, 3, 1, 0, 9, 1, 1]), HelloError::TooLong);
        // A byte in each record: 64 KiB of it would be 384 KiB of records.
        let mut drops = vec![22, 3, 1, 0, 4, 1, 0, 0xff, 0xff];
        while drops.len() <= MAX_RECORD_BYTES {
            assert!(matches!(
                HelloReader::new().read(&drops[..9]),
                Ok(Progress::NeedMore(_))
            ));
            drops.extend_from_slice(&[22, 3, 1, 0, 1, 0]);
        }
        assert_eq!(
            HelloReader::new().read(&drops).unwrap_err(),
            HelloError::TooManyRecords
        );
    }

    #[test]
    fn nothing_may_follow_the_hello_in_its_record() {
        assert_eq!(
            error(&[22, 3, 1, 0, 5, 1, 0, 0, 0]),
            HelloError::DataAfterHello
        );
        assert_eq!(
            HelloReader::new()
                .read(&[22, 3, 1, 0, 5, 1, 0, 0, 0, 1])
                .unwrap_err(),
            HelloError::DataAfterHello
        );
    }
}
