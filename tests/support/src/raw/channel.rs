//! Records in both directions, under the current keys of each.

use super::bytes::{Reader, Result, record};
use super::codes::{TLS12, record as typ};
use super::protection::{Opened, Protection};

/// The client's end of the connection.
pub struct Channel {
    /// The version in the headers of records without keys.
    pub version: u16,
    /// The keys of records to the server; `None` before there are any.
    pub(super) write: Option<Protection>,
    /// The keys of records from the server.
    pub(super) read: Option<Protection>,
    /// Bytes of the server that have not been read.
    input: Vec<u8>,
    /// Outer type and length of the fragment of each record that was read.
    pub seen: Vec<(u8, usize)>,
}

impl Channel {
    /// A channel without keys, whose records have this version.
    pub(super) fn new(version: u16) -> Self {
        Self {
            version,
            write: None,
            read: None,
            input: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// A record of this content, with keys if there are any.
    pub fn record(&mut self, typ: u8, content: &[u8]) -> Vec<u8> {
        match &mut self.write {
            Some(keys) => keys.seal(typ, content),
            None => self.plain(typ, content),
        }
    }

    /// A record of this content, without keys.
    pub fn plain(&self, typ: u8, content: &[u8]) -> Vec<u8> {
        record(typ, self.version, content)
    }

    /// The keys that records are written with.
    pub fn keys(&mut self) -> &mut Protection {
        self.write.as_mut().unwrap()
    }

    /// Takes what the server has sent.
    pub fn take(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next record, once all of it is there.
    pub(super) fn next_record(&mut self) -> Result<Option<Opened>> {
        let mut reader = Reader(&self.input);
        let Ok(header) = reader.take(5) else {
            return Ok(None);
        };
        let (outer, version) = (header[0], u16::from_be_bytes([header[1], header[2]]));
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if version != TLS12 {
            return Err(format!("a record of version {version:#06x}"));
        }
        let Ok(fragment) = reader.take(length) else {
            return Ok(None);
        };
        let fragment = fragment.to_vec();
        self.input.drain(..5 + length);
        self.seen.push((outer, length));
        match &mut self.read {
            // RFC 8446 §5: it is never protected in TLS 1.3; in 1.2 none follows the first.
            Some(keys) if outer != typ::CHANGE_CIPHER_SPEC => keys.open(outer, &fragment).map(Some),
            _ => Ok(Some(Opened {
                typ: outer,
                content: fragment,
                inner: length,
            })),
        }
    }

    /// Whether all bytes of the server have been read.
    pub fn is_drained(&self) -> bool {
        self.input.is_empty()
    }
}
