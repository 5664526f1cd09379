//! Hides a server name that is no DNS name from rustls.
//!
//! rustls ends each connection whose `server_name` it cannot read. Where such a name counts as unknown and the client
//! is served nevertheless, the extension gets a type that rustls does not know, and [`super::transcript`] hashes what
//! the client has sent.
#![forbid(unsafe_code)]

use super::hello::{HelloReader, Progress};
use super::records::record_length;
use super::transcript::Retyped;
use super::wire::Input;

/// Disguise of the first ClientHello of a connection, and of the one after a HelloRetryRequest.
#[derive(Debug)]
pub(super) struct Disguise {
    /// Reader of a hello that is not complete.
    reader: HelloReader,
    /// Number of hellos that may still come.
    awaited: u8,
    /// The extension in the last hello.
    retyped: Option<Retyped>,
    /// Content of the extension in the first hello, which no other hello may change (RFC 8446 §4.1.2).
    name: Option<Vec<u8>>,
}

impl Disguise {
    pub(super) fn new() -> Self {
        Self {
            reader: HelloReader::new(),
            awaited: 2,
            retyped: None,
            name: None,
        }
    }

    /// Hides the name of a hello at the front of `records`, which are whole records that rustls has not seen. Returns
    /// the number of bytes that rustls may see: it does not see a hello before it is complete.
    pub(super) fn apply(&mut self, records: &mut [u8]) -> usize {
        let all = records.len();
        if self.awaited == 0 {
            return all;
        }
        // "An implementation may receive an unencrypted record of type change_cipher_spec" (RFC 8446 §5)
        let mut start = 0;
        while records.get(start) == Some(&CHANGE_CIPHER_SPEC) {
            start = next_record(records, start).unwrap_or(all);
        }
        let hello = records.get_mut(start..).unwrap_or_default();
        match hello.first() {
            None => return all,
            Some(&HANDSHAKE) => {}
            Some(_) => {
                self.awaited = 0;
                return all;
            }
        }
        match std::mem::take(&mut self.reader).read(hello) {
            Ok(Progress::NeedMore(reader)) => {
                self.reader = reader;
                return start;
            }
            Ok(Progress::Complete(_)) => {
                self.awaited -= 1;
                self.hide(hello);
            }
            // It is another message, or none at all: rustls has the answer.
            Err(_) => self.awaited = 0,
        }
        all
    }

    /// The extension that rustls sees with another type.
    pub(super) fn retyped(&self) -> Option<Retyped> {
        self.retyped
    }

    /// Changes the type of `server_name` in a complete hello. A hello with another name than the first one is left
    /// alone, and refused by rustls.
    fn hide(&mut self, records: &mut [u8]) -> Option<()> {
        let message: Vec<u8> = (fragments(records).into_iter())
            .filter_map(|(start, len)| records.get(start..start + len))
            .flatten()
            .copied()
            .collect();
        let (at, name, types) = server_name(&message)?;
        if self.name.get_or_insert_with(|| name.to_vec()) != name {
            return None;
        }
        let shown = PRIVATE_USE.into_iter().find(|typ| !types.contains(typ))?;
        let retyped = Retyped {
            at,
            shown: shown.to_be_bytes(),
            sent: SERVER_NAME.to_be_bytes(),
        };
        for (offset, byte) in (at..).zip(retyped.shown) {
            *records.get_mut(place(records, offset)?)? = byte;
        }
        self.retyped = Some(retyped);
        Some(())
    }
}

/// Offset of the type of `server_name` in a ClientHello message, the content of the extension, and the types of all
/// extensions.
fn server_name(message: &[u8]) -> Option<(usize, &[u8], Vec<u16>)> {
    let length = u16::from_be_bytes([*message.get(2)?, *message.get(3)?]);
    let message = message.get(..4 + usize::from(length))?;
    let mut input = Input::new(message);
    input.bytes(4 + 2 + 32)?; // header, legacy_version, random
    input.vector8()?; // legacy_session_id
    input.vector16()?; // cipher_suites
    input.vector8()?; // legacy_compression_methods
    let mut extensions = input.vector16()?;
    let (mut found, mut types) = (None, Vec::new());
    while !extensions.is_empty() {
        // The extensions are the end of the message.
        let at = message.len() - extensions.rest().len();
        let typ = extensions.u16()?;
        let content = extensions.vector16()?.rest();
        if typ == SERVER_NAME {
            found = Some((at, content));
        }
        types.push(typ);
    }
    found.map(|(at, content)| (at, content, types))
}

/// Start and length of the content of each record.
fn fragments(records: &[u8]) -> Vec<(usize, usize)> {
    let (mut fragments, mut start) = (Vec::new(), 0);
    while let Some(next) = next_record(records, start) {
        fragments.push((start + HEADER, next - start - HEADER));
        start = next;
    }
    fragments
}

/// Place in the records of a byte of their joined content.
fn place(records: &[u8], mut offset: usize) -> Option<usize> {
    fragments(records).into_iter().find_map(|(start, len)| {
        if offset < len {
            return Some(start + offset);
        }
        offset -= len;
        None
    })
}

/// Start of the record after the one that starts here.
fn next_record(records: &[u8], start: usize) -> Option<usize> {
    Some(start + record_length(records.get(start..)?)?)
}

/// `ContentType`, `legacy_record_version` and `length` (RFC 8446 §5.1).
const HEADER: usize = 5;
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;

/// `ExtensionType` (RFC 8446 §4.2)
const SERVER_NAME: u16 = 0;
/// Types for private use (RFC 8446 §11) that rustls does not know.
const PRIVATE_USE: std::ops::Range<u16> = 0xff02..0xff80;

#[cfg(test)]
mod tests {
    use super::*;

    /// A hello with this name, a key share of this length before it, and nothing after it.
    fn hello(name: &[u8], share: usize) -> Vec<u8> {
        let vector = |content: &[u8]| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&length[..], content].concat()
        };
        let list = vector(&[&[0][..], &vector(name)].concat());
        let extension =
            |typ: u16, content: &[u8]| [&typ.to_be_bytes()[..], &vector(content)].concat();
        // A type for private use that is taken already.
        let extensions = [
            extension(0xff02, &vec![0; share]),
            extension(SERVER_NAME, &list),
        ];
        let fields = [&[3, 3][..], &[7; 32], &[0], &vector(&[0x13, 1]), &[1, 0]].concat();
        let body = [fields, vector(&extensions.concat())].concat();
        [&[1, 0][..], &vector(&body)].concat()
    }

    /// The message in records of this size.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |fragment: &[u8]| {
            let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
            [&[HANDSHAKE, 3, 1], &length[..], fragment].concat()
        };
        message.chunks(size).flat_map(record).collect()
    }

    fn joined(records: &[u8]) -> Vec<u8> {
        let each = fragments(records).into_iter();
        each.flat_map(|(start, len)| records[start..start + len].to_vec())
            .collect()
    }

    #[test]
    fn only_the_type_of_the_extension_changes_however_the_hello_is_fragmented() {
        let message = hello(b"a:1", 5);
        for size in [1, 2, 7, 1000] {
            let mut disguise = Disguise::new();
            let mut bytes = records(&message, size);
            let all = bytes.len();
            assert_eq!(disguise.apply(&mut bytes), all);
            let retyped = disguise.retyped().unwrap();
            let mut shown = joined(&bytes);
            assert_eq!(shown[retyped.at..][..2], [0xff, 3]);
            shown[retyped.at..][..2].copy_from_slice(&retyped.sent);
            assert_eq!(shown, message);
        }
    }

    #[test]
    fn a_second_hello_is_held_back_until_it_is_complete() {
        let mut disguise = Disguise::new();
        disguise.apply(&mut records(&hello(b"a:1", 5), 1000));
        let ccs = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1];
        let second = hello(b"a:1", 50);
        let mut bytes = [&ccs[..], &records(&second, 60)].concat();
        assert_eq!(disguise.apply(&mut bytes[..ccs.len() + 65]), ccs.len());
        let mut rest = bytes.split_off(ccs.len());
        assert_eq!(disguise.apply(&mut rest), rest.len());
        let at = disguise.retyped().unwrap().at;
        assert_eq!(joined(&rest)[at..][..2], [0xff, 3]);
    }

    #[test]
    fn another_name_in_the_second_hello_and_other_messages_are_shown_as_they_are() {
        for second in [hello(b"b:1", 5), vec![16, 0, 0, 1, 0]] {
            let mut disguise = Disguise::new();
            disguise.apply(&mut records(&hello(b"a:1", 5), 1000));
            let mut bytes = records(&second, 1000);
            assert_eq!(disguise.apply(&mut bytes), bytes.len());
            assert_eq!(joined(&bytes), second);
        }
    }
}
