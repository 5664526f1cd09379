//! Files with the passwords of encrypted keys, one in each line.
//!
//! No message shows any part of the file.
#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use crate::config::sources::files::{NamedFile, everybody_reads};
use crate::config::text::problems::{Problems, cause};
use crate::tls::pem::without_bom;

/// Reads a file of passwords. `None`: there is an error, which is reported.
pub(in crate::config) fn passwords(
    file: &NamedFile,
    problems: &mut Problems,
) -> Option<Vec<Zeroizing<Vec<u8>>>> {
    let read = file.read().map_err(|error| ("read", cause(&error)));
    let parsed = read.and_then(|(bytes, mode)| match everybody_reads(mode) {
        true => Err(("use", "everybody can read it".to_owned())),
        false => parse(&bytes).map_err(|reason| ("use", reason.to_owned())),
    });
    parsed
        .map_err(|(verb, reason)| {
            let message = format!("unable to {verb} key-password {}: {reason}", file.quoted());
            problems.error(file.span.clone(), message);
        })
        .ok()
}

/// Parses passwords. A file has several where keys have different ones.
fn parse(text: &[u8]) -> Result<Vec<Zeroizing<Vec<u8>>>, &'static str> {
    let lines = without_bom(text).split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let passwords = lines.filter(|line| !line.is_empty());
    let passwords: Vec<_> = passwords
        .map(|line| Zeroizing::new(line.to_vec()))
        .collect();
    match passwords.len() {
        0 => Err("no password in it"),
        1..=MOST => Ok(passwords),
        _ => Err("more than 16 lines in it, and each is a password"),
    }
}

/// Maximum number of passwords: each is tried on a key, and that takes as long as whoever encrypted it wanted.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_password_and_ends_of_lines_are_no_part_of_it() {
        let parsed = |text: &[u8]| {
            parse(text).map(|all| all.iter().map(|one| one.to_vec()).collect::<Vec<_>>())
        };
        for text in [
            &b"a b "[..],
            b"a b \n",
            b"a b \r\n",
            b"\xef\xbb\xbfa b \n\n",
        ] {
            assert_eq!(parsed(text), Ok(vec![b"a b ".to_vec()]), "{text:?}");
        }
        assert_eq!(parsed(b"a\n#b\n"), Ok(vec![b"a".to_vec(), b"#b".to_vec()]));
        assert_eq!(parsed(b"\r\n"), Err("no password in it"));
        assert!(parsed(&b"a\n".repeat(16)).is_ok());
        assert!(parsed(&b"a\n".repeat(17)).is_err());
    }
}
