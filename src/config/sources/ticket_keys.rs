//! Session-ticket keys that several machines share: 32 bytes each, raw or in base64.
//!
//! No message shows any part of the file.
#![forbid(unsafe_code)]

use std::path::Path;

use base64ct::{Base64, Encoding};
use toml::Spanned;
use zeroize::Zeroizing;

use crate::config::sources::files::{NamedFile, everybody_reads};
use crate::config::text::problems::{Problems, cause};
use crate::tls::pem::without_bom;
use crate::tls::tickets::{SECRET_LEN, TicketKeys};

/// Secret of one ticket key.
type Secret = Zeroizing<[u8; SECRET_LEN]>;

/// Reads the keys in a file. The first key seals new tickets. `None`: no file is named, or there is an
/// error, which is reported.
pub(in crate::config) fn keys(
    file: Option<&Spanned<String>>,
    base: &Path,
    problems: &mut Problems,
) -> Option<TicketKeys> {
    let file = file?;
    let file = NamedFile::new(base, file.get_ref(), Some(file.span()));
    let keys = read(&file);
    if let Err((verb, reason)) = &keys {
        let message = format!("unable to {verb} ticket keys {}: {reason}", file.quoted());
        problems.error(file.span.clone(), message);
    }
    keys.ok()
}

/// Reads a file. Errors: the verb for the message (`read` or `use`), and the reason.
fn read(file: &NamedFile) -> Result<TicketKeys, (&'static str, String)> {
    let unusable = |reason: &str| ("use", reason.to_owned());
    let (bytes, mode) = file.read().map_err(|error| ("read", cause(&error)))?;
    if everybody_reads(mode) {
        return Err(unusable("everybody can read it"));
    }
    let secrets = parse(&bytes).map_err(unusable)?;
    TicketKeys::shared(&secrets).map_err(|_| unusable("AWS-LC refuses them"))
}

/// Parses keys: if the file is ASCII text, one key per line in base64; else raw keys without separators.
/// The random bytes of a raw key are text by chance for one key in 10^13 only.
fn parse(bytes: &[u8]) -> Result<Vec<Secret>, &'static str> {
    let text = without_bom(bytes);
    let secrets = match text
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'))
    {
        true => lines(text)?,
        false => raw(bytes)?,
    };
    match secrets.len() {
        0 => Err("no key in it; openssl rand 32 makes one"),
        1..=MOST => Ok(secrets),
        _ => Err("more than 64 keys in it"),
    }
}

/// Splits raw bytes into keys.
fn raw(bytes: &[u8]) -> Result<Vec<Secret>, &'static str> {
    let (keys, []) = bytes.as_chunks() else {
        return Err("its length is not a multiple of 32 bytes: each key has 32");
    };
    Ok(keys.iter().copied().map(Zeroizing::new).collect())
}

/// Decodes one key per line, without blank lines and comments.
fn lines(text: &[u8]) -> Result<Vec<Secret>, &'static str> {
    // The vector has its full capacity from the start, because growing would leave a copy of the keys in
    // freed memory.
    let mut secrets = Vec::with_capacity(text.len() / SECRET_LEN + 1);
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if !line.is_empty() && !line.starts_with(b"#") {
            let secret = decode(line).ok_or("it is text, and a line is not 32 bytes in base64")?;
            secrets.push(secret);
        }
    }
    Ok(secrets)
}

/// Decodes 32 bytes from 44 characters of base64 (RFC 4648 §4).
fn decode(line: &[u8]) -> Option<Secret> {
    let mut secret = Zeroizing::new([0; SECRET_LEN]);
    let decoded = Base64::decode(line, secret.as_mut_slice()).ok()?;
    (decoded.len() == SECRET_LEN).then_some(secret)
}

/// Maximum number of keys in a file.
const MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '\000\001…\037' | base64`
    const COUNTING: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    /// 32 bytes of 255.
    const ONES: &str = "//////////////////////////////////////////8=";

    fn parsed(bytes: &[u8]) -> Result<Vec<[u8; 32]>, &'static str> {
        parse(bytes).map(|keys| keys.iter().map(|key| **key).collect())
    }

    #[test]
    fn keys_are_raw_or_base64_lines() {
        let counting = std::array::from_fn(|index| u8::try_from(index).unwrap());
        let both = vec![counting, [255; 32]];
        assert_eq!(parsed(&both.concat()), Ok(both.clone()));
        assert_eq!(
            parsed(format!("{COUNTING}\n{ONES}").as_bytes()),
            Ok(both.clone())
        );
        let text = format!("# new\r\n{COUNTING}\r\n\n  # old\n {ONES} \n");
        assert_eq!(parsed(text.as_bytes()), Ok(both.clone()));
        let text = format!("\u{feff}{text}");
        assert_eq!(parsed(text.as_bytes()), Ok(both));
    }

    #[test]
    fn invalid_keys_are_refused() {
        let lines = "it is text, and a line is not 32 bytes in base64";
        let length = "its length is not a multiple of 32 bytes: each key has 32";
        let none = "no key in it; openssl rand 32 makes one";
        for (bytes, reason) in [
            (&b""[..], none),
            (b"# nothing\n", none),
            (&[200; 48], length),
            (&[200; 31], length),
            // Hexadecimal digits; then base64 with too many bits.
            (&[b'a'; 64], lines),
            (&[b'a'; 32], lines),
            (COUNTING.replace("h8=", "h9=").as_bytes(), lines),
            (COUNTING.replace("=", "").as_bytes(), lines),
            (COUNTING.replace("A", "-").as_bytes(), lines),
            (format!("{COUNTING}{ONES}").as_bytes(), lines),
            (&[200; 65 * 32], "more than 64 keys in it"),
        ] {
            assert_eq!(parsed(bytes), Err(reason), "{bytes:?}");
        }
        assert_eq!(parsed(&[200; 64 * 32]).map(|keys| keys.len()), Ok(64));
    }
}
