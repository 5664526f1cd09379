//! PSK files, with lines `identity:hexkey[:user[:hash]]` or `identity:text:key`.
//!
//! No message shows a line or a field of a line, because a line with swapped fields has the key elsewhere.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use toml::Spanned;

use crate::config::sources::files::{NamedFile, everybody_reads};
use crate::config::sources::psk_line::{is_digits_as_text, parse_line};
use crate::config::text::problems::{FileLine, Problems, cause};
use crate::tls::pem::{UTF_16, is_utf_16, without_bom};
use crate::tls::psk::Keys;
use crate::types::PskIdentity;

/// A PSK file without errors.
pub(in crate::config) struct PskFile {
    /// Path of the file.
    pub(in crate::config) path: PathBuf,
    /// Keys by identity. There is at least one.
    pub(in crate::config) keys: Arc<Keys>,
    /// Entries, in the order of the file.
    pub(in crate::config) entries: Vec<Entry>,
}

/// A line of a PSK file, without its key.
pub(in crate::config) struct Entry {
    /// Identity of the client.
    pub(in crate::config) identity: PskIdentity,
    /// Line number, from 1.
    pub(in crate::config) line: usize,
    /// User that the command of a client with this identity runs as.
    pub(in crate::config) user: Option<String>,
}

/// PSK files that were read.
#[derive(Default)]
pub(in crate::config) struct PskFiles {
    /// PSK files by path. `None`: there is an error, which was reported when the file was read.
    files: HashMap<PathBuf, Option<Rc<PskFile>>>,
    /// PSK files that were reduced to some of their identities.
    reduced: Vec<Rc<PskFile>>,
}

impl PskFiles {
    /// Reads a PSK file, once. `None`: there is an error, which is reported.
    pub(in crate::config) fn load(
        &mut self,
        file: &NamedFile,
        problems: &mut Problems,
    ) -> Option<Rc<PskFile>> {
        if let Some(known) = self.files.get(&file.path) {
            return known.clone();
        }
        let psk_file = PskFile::read(file, problems).map(Rc::new);
        self.files.insert(file.path.clone(), psk_file.clone());
        psk_file
    }

    /// Reads a PSK file, and keeps these identities only. `None`: there is an error, which is reported.
    pub(in crate::config) fn load_only(
        &mut self,
        file: &NamedFile,
        identities: &[Spanned<PskIdentity>],
        problems: &mut Problems,
    ) -> Option<Rc<PskFile>> {
        let mut psk_file = PskFile::read(file, problems)?;
        let mut keys = Arc::into_inner(psk_file.keys)?;
        let unknown: Vec<_> = identities
            .iter()
            .filter(|identity| !keys.contains_key(identity.get_ref()))
            .collect();
        for identity in &unknown {
            let (span, identity) = (identity.span(), identity.get_ref());
            let message = format!("no identity \"{identity}\" in PSK file {}", file.quoted());
            problems.error(span, message);
        }
        let is_allowed = |identity: &PskIdentity| {
            let mut allowed = identities.iter().map(Spanned::get_ref);
            allowed.any(|allowed| allowed == identity)
        };
        keys.retain(|identity, _| is_allowed(identity));
        let kept = &mut psk_file.entries;
        kept.retain(|entry| is_allowed(&entry.identity));
        psk_file.keys = Arc::new(keys);
        let psk_file = Rc::new(psk_file);
        self.reduced.push(Rc::clone(&psk_file));
        unknown.is_empty().then_some(psk_file)
    }

    /// Number of identities in all files.
    pub(in crate::config) fn identities(&self) -> usize {
        let files = self.files.values().flatten().chain(&self.reduced);
        files.map(|file| file.entries.len()).sum()
    }
}

impl PskFile {
    /// Reads a PSK file. `None`: there is an error, which is reported.
    pub(in crate::config) fn read(file: &NamedFile, problems: &mut Problems) -> Option<Self> {
        let mut refuse = |verb: &str, reason: &str| {
            let message = format!("unable to {verb} PSK file {}: {reason}", file.quoted());
            problems.error(file.span.clone(), message);
        };
        let (bytes, mode) = file
            .read()
            .map_err(|error| refuse("read", &cause(&error)))
            .ok()?;
        if everybody_reads(mode) {
            refuse("use", "everybody can read it");
            return None;
        }
        if is_utf_16(&bytes) {
            refuse("use", UTF_16);
            return None;
        }
        let (keys, entries) = parse(&bytes, file, problems)?;
        if keys.is_empty() {
            let message = format!("unable to use PSK file {}: no key in it", file.quoted());
            problems.error(file.span.clone(), message);
            return None;
        }
        Some(Self {
            path: file.path.clone(),
            keys: Arc::new(keys),
            entries,
        })
    }

    /// Returns the PSK file with this identity only. `None`: the file does not have it.
    pub(in crate::config) fn only(mut self, identity: &PskIdentity) -> Option<Self> {
        let entry = Arc::into_inner(self.keys)?.remove_entry(identity)?;
        self.entries.retain(|entry| entry.identity == *identity);
        self.keys = Arc::new(Keys::from([entry]));
        Some(self)
    }

    /// Position of an entry, for a message.
    pub(in crate::config) fn line(&self, entry: &Entry) -> FileLine {
        FileLine {
            path: self.path.clone(),
            line: entry.line,
        }
    }
}

/// Parses all lines. `None`: there are errors, and all of them are reported.
fn parse(bytes: &[u8], file: &NamedFile, problems: &mut Problems) -> Option<(Keys, Vec<Entry>)> {
    let (mut keys, mut entries) = (Keys::new(), Vec::new());
    let mut correct = true;
    for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let text = without_bom(text);
        let content = text.trim_ascii();
        if content.is_empty() || content.starts_with(b"#") {
            continue;
        }
        let at = || FileLine {
            path: file.path.clone(),
            line,
        };
        if is_digits_as_text(text) {
            let message = "the key after \"text\" is hexadecimal digits: where they stand for its bytes, as \
                           they do in stunnel, write identity:hexkey";
            problems.warning_in(at(), file.span.clone(), message);
        }
        let mut mistakes = Vec::new();
        if let Some((identity, key, user)) = parse_line(text, &mut mistakes) {
            let entry = Entry {
                identity: identity.clone(),
                line,
                user,
            };
            if keys.insert(identity, key).is_some() {
                mistakes.push(duplicate(&entries, &entry.identity));
            }
            entries.push(entry);
        }
        correct &= mistakes.is_empty();
        for mistake in mistakes {
            problems.error_in(at(), file.span.clone(), mistake);
        }
    }
    correct.then_some((keys, entries))
}

/// Message about an identity that an earlier line has.
fn duplicate(entries: &[Entry], identity: &PskIdentity) -> String {
    let first = entries.iter().find(|entry| entry.identity == *identity);
    let line = first.map_or(0, |entry| entry.line);
    format!("unable to use identity: line {line} has it already")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::psk_line::NO_DIGITS;
    use std::path::Path;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f";
    const LENGTH: &str = "t.psk:1: unable to use key: a key has 16 to 1024 bytes; whoever records one handshake \
                          can find out a shorter one by trial\n";

    /// Line numbers, identities and users of the entries. Errors: the messages.
    fn parsed(text: &[u8]) -> Result<Vec<(usize, String, Option<String>)>, String> {
        let file = NamedFile {
            path: "t.psk".into(),
            span: None,
        };
        let mut problems = Problems::in_file(Path::new("f.toml"), "");
        match parse(text, &file, &mut problems) {
            Some((keys, entries)) => {
                assert_eq!(keys.len(), entries.len());
                let entries = entries.into_iter();
                Ok(entries
                    .map(|entry| (entry.line, entry.identity.to_string(), entry.user))
                    .collect())
            }
            None => Err(problems.to_string()),
        }
    }

    #[test]
    fn comments_blank_lines_crlf_and_a_missing_last_newline_are_accepted() {
        let text = format!(
            "# who:key\r\n\r\n \t\n  # more\na:{KEY}\r\nb c#:{KEY}:nobody \n\u{e9}:{KEY}::sha384"
        );
        let entry = |line, identity: &str, user: Option<&str>| {
            (line, identity.to_owned(), user.map(str::to_owned))
        };
        let expected = vec![
            entry(5, "a", None),
            entry(6, "b c#", Some("nobody")),
            entry(7, "\\xc3\\xa9", None),
        ];
        assert_eq!(parsed(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn an_identity_may_be_any_bytes() {
        let mut line = vec![0xff, 0x00, b'\r', b' '];
        line.extend_from_slice(format!(":{KEY}").as_bytes());
        let expected = vec![(1, r"\xff\x00\r ".to_owned(), None)];
        assert_eq!(parsed(&line), Ok(expected));
    }

    #[test]
    fn keys_and_identities_have_length_limits() {
        let line =
            |identity: usize, key: usize| format!("{}:{}", "i".repeat(identity), "aB".repeat(key));
        for (identity, key) in [(1, 16), (256, 1024)] {
            assert!(parsed(line(identity, key).as_bytes()).is_ok());
        }
        for (identity, key, message) in [
            (
                0,
                16,
                "t.psk:1: unable to use identity: an identity has 1 to 256 bytes\n",
            ),
            (
                257,
                16,
                "t.psk:1: unable to use identity: an identity has 1 to 256 bytes\n",
            ),
            (1, 15, LENGTH),
            (1, 0, LENGTH),
            (1, 1025, LENGTH),
        ] {
            assert_eq!(parsed(line(identity, key).as_bytes()), Err(message.into()));
        }
    }

    #[test]
    fn all_errors_in_a_line_are_reported() {
        let text = format!(":{KEY}0:\u{fffd}:md5\n").into_bytes();
        let text: Vec<u8> = text.into_iter().filter(|byte| *byte != 0xbf).collect();
        let expected = format!(
            "t.psk:1: unable to use identity: an identity has 1 to 256 bytes\n\
                        t.psk:1: unable to use hash: known are sha256 and sha384\n\
                        t.psk:1: unable to use key: {NO_DIGITS}\n\
                        t.psk:1: unable to use user: not UTF-8\n"
        );
        assert_eq!(parsed(&text), Err(expected));
    }

    #[test]
    fn byte_order_marks_before_a_line_are_no_part_of_the_identity() {
        let bom = '\u{feff}';
        let text = format!("{bom}a:{KEY}\n{bom}# comment\n{bom}\n{bom}b:{KEY}\n");
        let entry = |line, identity: &str| (line, identity.to_owned(), None);
        assert_eq!(
            parsed(text.as_bytes()),
            Ok(vec![entry(1, "a"), entry(4, "b")])
        );
    }

    #[test]
    fn a_key_that_is_text_is_the_rest_of_the_line() {
        let entry = |line, identity: &str| (line, identity.to_owned(), None);
        let text = "a:text:any: text, of 16\r\nb:text:\u{e4} 3456789abcdef#\n";
        assert_eq!(
            parsed(text.as_bytes()),
            Ok(vec![entry(1, "a"), entry(2, "b")])
        );
        let white = "t.psk:1: unable to use key: white space before or after it: if that belongs to the key, write \
                     the key in hexadecimal digits\n";
        let joined = "t.psk:1: unable to use key: another line seems to begin in it: end each line with a newline, \
                      or if that belongs to the key, write the key in hexadecimal digits\n";
        for (line, error) in [
            ("a:text:0123456789abcde", LENGTH),
            ("a:text:", LENGTH),
            ("a:text: 0123456789abcdef", white),
            ("a:text:0123456789abcdef \r", white),
            ("a:text:0123456789abcdefb:text:0123456789abcdef", joined),
            ("a:text:0123456789abcdef\u{feff}b:0123", joined),
        ] {
            assert_eq!(parsed(line.as_bytes()), Err(error.into()), "{line}");
        }
        let no_digits = format!("t.psk:1: unable to use key: {NO_DIGITS}\n");
        assert_eq!(parsed(b"a:text"), Err(no_digits));
    }

    #[test]
    fn a_psk_file_can_be_reduced_to_one_identity() {
        let file = NamedFile {
            path: "t.psk".into(),
            span: None,
        };
        let text = format!("a:{KEY}\nb:{KEY}:nobody:sha384\n");
        let psk_file = || {
            let mut problems = Problems::on_command_line();
            let (keys, entries) = parse(text.as_bytes(), &file, &mut problems).unwrap();
            PskFile {
                path: file.path.clone(),
                keys: Arc::new(keys),
                entries,
            }
        };
        let identity = |name: &[u8]| PskIdentity::try_from(name.to_vec()).unwrap();
        let hash = |name| format!("{:?}", psk_file().keys.get(&identity(name)));
        assert!(hash(b"a").contains("Sha256") && hash(b"b").contains("Sha384"));
        let only = psk_file().only(&identity(b"b")).unwrap();
        assert_eq!((only.keys.len(), only.entries.len()), (1, 1));
        assert!(only.keys.contains_key(&identity(b"b")));
        assert_eq!(only.entries[0].line, 2);
        assert!(psk_file().only(&identity(b"c")).is_none());
    }
}
