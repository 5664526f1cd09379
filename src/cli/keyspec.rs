//! `-k`: a path, or attributes as Plan 9 writes them: `file=PATH id=IDENTITY`.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::types::PskIdentity;

/// A PSK file, and perhaps one of its identities.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeySpec {
    pub(super) file: PathBuf,
    /// `None`: all identities of the file.
    pub(super) identity: Option<PskIdentity>,
}

/// Parses an argument. It is a path unless it begins with the name of an attribute and `=`.
///
/// Errors: the reason, without values: one of them may be a key.
pub(super) fn parse(text: &OsStr) -> Result<KeySpec, String> {
    let text = text.as_bytes();
    if attribute(text.trim_ascii_start()).is_none() {
        return Ok(KeySpec {
            file: OsStr::from_bytes(text).into(),
            identity: None,
        });
    }
    let (mut file, mut identity) = (None, None);
    for word in words(text)? {
        let (name, value) = attribute(&word).ok_or("write file=PATH id=IDENTITY")?;
        let place = match name {
            b"file" => &mut file,
            b"id" => &mut identity,
            _ => {
                let name = String::from_utf8_lossy(name);
                return Err(format!("unknown attribute {name:?}: known are file and id"));
            }
        };
        if place.replace(value.to_owned()).is_some() {
            return Err(format!("{} comes twice", String::from_utf8_lossy(name)));
        }
    }
    let file = file.filter(|file| !file.is_empty()).ok_or("no file=PATH")?;
    Ok(KeySpec {
        file: OsString::from_vec(file).into(),
        identity: match identity.map(PskIdentity::try_from) {
            Some(Err(error)) => return Err(error.to_string()),
            Some(Ok(identity)) => Some(identity),
            None => None,
        },
    })
}

/// Name and value of an attribute.
fn attribute(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = word.split_at(word.iter().position(|byte| *byte == b'=')?);
    let is_name = |byte: &u8| byte.is_ascii_lowercase() || b"!?-_".contains(byte);
    let valid = !name.is_empty() && name.iter().all(is_name);
    valid.then_some((name, value.get(1..)?))
}

/// The words of a text, which may be quoted in whole or in part as rc(1) does it: in `'…'`, where `''`
/// is one quotation mark.
fn words(text: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let (mut words, mut word) = (Vec::new(), None);
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' => words.extend(word.take()),
            b'\'' => {
                let word: &mut Vec<u8> = word.get_or_insert_default();
                loop {
                    match bytes.next() {
                        None => return Err("a quotation mark is missing"),
                        Some(b'\'') if bytes.next_if_eq(&b'\'').is_none() => break,
                        Some(byte) => word.push(byte),
                    }
                }
            }
            byte => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(file: &str, identity: Option<&[u8]>) -> Result<KeySpec, String> {
        Ok(KeySpec {
            file: file.into(),
            identity: identity.map(|name| name.to_vec().try_into().unwrap()),
        })
    }

    fn parsed(text: &str) -> Result<KeySpec, String> {
        parse(OsStr::new(text))
    }

    #[test]
    fn any_characters_are_allowed_in_a_path() {
        for path in [
            "a.psk",
            "/etc/tlssrv/a b.psk",
            "./id=x",
            "a.b=c",
            "it's",
            "",
            "=",
        ] {
            assert_eq!(parsed(path), spec(path, None));
        }
    }

    #[test]
    fn attributes_may_be_in_any_order_and_quoted_as_in_rc() {
        assert_eq!(parsed("file=a.psk"), spec("a.psk", None));
        let both = spec("a b.psk", Some(b"it's me=x"));
        for text in [
            "file='a b.psk' id='it''s me=x'",
            "  id=it''''s' 'me'='x\t'file=a b.psk' ",
        ] {
            assert_eq!(parsed(text), both, "{text}");
        }
        assert_eq!(
            parse(OsStr::from_bytes(b"id=\xff file=x")),
            spec("x", Some(b"\xff"))
        );
    }

    #[test]
    fn other_arguments_are_refused_without_showing_a_value() {
        for (text, reason) in [
            ("id=secret", "no file=PATH"),
            ("file= id=secret", "no file=PATH"),
            ("file=a file=secret", "file comes twice"),
            ("file=a id=x id=secret", "id comes twice"),
            ("file=a id=''", "an identity has 1 to 256 bytes"),
            ("file=a secret", "write file=PATH id=IDENTITY"),
            ("file=a id='secret", "a quotation mark is missing"),
            (
                "!hex=secret file=a",
                "unknown attribute \"!hex\": known are file and id",
            ),
            (
                "proto=psk",
                "unknown attribute \"proto\": known are file and id",
            ),
        ] {
            assert_eq!(parsed(text), Err(reason.into()), "{text}");
        }
    }
}
