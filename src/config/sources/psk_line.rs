//! Lines of a PSK file: `identity:hexkey[:user[:hash]]`, or `identity:text:key`.
#![forbid(unsafe_code)]

use std::fmt::Display;

use zeroize::Zeroizing;

use crate::tls::psk::{Hash, Key};
use crate::types::PskIdentity;

/// Parses a line that is neither blank nor a comment. `None`: it has errors, which are in `mistakes`.
pub(super) fn parse_line(
    text: &[u8],
    mistakes: &mut Vec<String>,
) -> Option<(PskIdentity, Key, Option<String>)> {
    let mut unable = |what: &str, reason: &dyn Display| {
        mistakes.push(format!("unable to use {what}: {reason}"));
    };
    if let Some((identity, key)) = text_key(text) {
        let identity = PskIdentity::try_from(identity.to_vec()).map_err(|e| unable("identity", &e));
        if key.trim_ascii() != key {
            let reason = "white space before or after it: if that belongs to the key, write the key in \
                          hexadecimal digits";
            unable("key", &reason);
            return None;
        }
        // Files that were joined without a newline would lose an identity.
        let has = |what: &[u8]| key.windows(what.len()).any(|window| window == what);
        if has(b":text:") || has(b"\xef\xbb\xbf") {
            let reason = "another line seems to begin in it: end each line with a newline, or if that belongs to \
                          the key, write the key in hexadecimal digits";
            unable("key", &reason);
            return None;
        }
        let key = Key::new(Zeroizing::new(key.to_vec()), Hash::default());
        let key = key.map_err(|e| unable("key", &e));
        return Some((identity.ok()?, key.ok()?, None));
    }
    let mut fields = text.trim_ascii_end().split(|byte| *byte == b':');
    let (identity, key) = (fields.next()?, fields.next());
    let (user, hash) = (fields.next().unwrap_or_default(), fields.next());
    let Some(key) = key else {
        unable("line", &format_args!("no key; write {FORMS}"));
        return None;
    };
    if fields.next().is_some() {
        unable("line", &format_args!("too many colons; write {FORMS}"));
        return None;
    }
    let identity = PskIdentity::try_from(identity.to_vec()).map_err(|e| unable("identity", &e));
    let hash = match hash {
        None => Some(Hash::default()),
        Some(b"sha256") => Some(Hash::Sha256),
        Some(b"sha384") => Some(Hash::Sha384),
        Some(_) => None,
    };
    if hash.is_none() {
        unable("hash", &"known are sha256 and sha384");
    }
    let secret = decode_hex(key);
    if secret.is_none() {
        unable("key", &NO_DIGITS);
    }
    let key = secret.map(|secret| Key::new(secret, hash.unwrap_or_default()));
    let key = key.map(|key| key.map_err(|e| unable("key", &e)));
    let user = std::str::from_utf8(user).map_err(|_| unable("user", &"not UTF-8"));
    let user = user.map(|user| (!user.is_empty()).then(|| user.to_owned()));
    hash?;
    Some((identity.ok()?, key?.ok()?, user.ok()?))
}

/// Whether the key of a line is text that would do as hexadecimal digits, which is what it is in stunnel.
pub(super) fn is_digits_as_text(line: &[u8]) -> bool {
    let key = text_key(line).map(|(_, key)| key);
    key.is_some_and(|key| key.len() >= 32 && decode_hex(key).is_some())
}

/// Identity and key of a line `identity:text:key`. The key is the rest of the line, with its colons, as in stunnel.
fn text_key(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut fields = line.splitn(3, |byte| *byte == b':');
    match (fields.next()?, fields.next()?, fields.next()?) {
        (identity, b"text", key) => Some((identity, key)),
        _ => None,
    }
}

/// Decodes pairs of hexadecimal digits. `None`: the text is anything else.
fn decode_hex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // The vector has its full length from the start, because growing would leave a copy of the key in freed
    // memory.
    let mut bytes = Zeroizing::new(vec![0; text.len() / 2]);
    base16ct::mixed::decode(text, &mut bytes).ok()?;
    Some(bytes)
}

/// The forms of a line, for a message.
const FORMS: &str = "identity:hexkey[:user[:hash]] or identity:text:key";

/// What to do about a key that is not hexadecimal digits.
pub(super) const NO_DIGITS: &str = "not pairs of hexadecimal digits: a key that is text is written as \
     identity:text:key, or in the digits that \"printf %s KEY | od -An -v -tx1 | tr -d ' \\n'\" prints";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_may_be_upper_or_lower_case() {
        assert_eq!(decode_hex(b"00fF9a").as_deref(), Some(&vec![0, 0xff, 0x9a]));
        for text in ["0", "0g", "+1", "0x", " 0", "\u{664}"] {
            assert_eq!(decode_hex(text.as_bytes()), None, "{text}");
        }
    }
}
