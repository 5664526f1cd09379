//! PSK files, with lines `identity:hexkey[:user[:hash]]`.
//!
//! No message shows a line or a field of a line, because a line with swapped fields has the key elsewhere.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use toml::Spanned;
use zeroize::Zeroizing;

use crate::config::sources::files::{NamedFile, everybody_reads};
use crate::config::text::problems::{FileLine, Problems, cause};
use crate::tls::psk::{Hash, Key, Keys};
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
        let text = text.trim_ascii_end();
        if text.is_empty() || text.trim_ascii_start().starts_with(b"#") {
            continue;
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
            let path = file.path.clone();
            problems.error_in(FileLine { path, line }, file.span.clone(), mistake);
        }
    }
    correct.then_some((keys, entries))
}

/// Parses a line that is neither blank nor a comment. `None`: it has errors, which are in `mistakes`.
fn parse_line(
    text: &[u8],
    mistakes: &mut Vec<String>,
) -> Option<(PskIdentity, Key, Option<String>)> {
    let mut fields = text.split(|byte| *byte == b':');
    let (identity, key) = (fields.next()?, fields.next());
    let (user, hash) = (fields.next().unwrap_or_default(), fields.next());
    let mut unable = |what: &str, reason: &dyn Display| {
        mistakes.push(format!("unable to use {what}: {reason}"));
    };
    let Some(key) = key else {
        unable("line", &"no key; write identity:hexkey[:user[:hash]]");
        return None;
    };
    if fields.next().is_some() {
        unable(
            "line",
            &"too many colons; write identity:hexkey[:user[:hash]]",
        );
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
        unable("key", &"not pairs of hexadecimal digits");
    }
    let key = secret.map(|secret| Key::new(secret, hash.unwrap_or_default()));
    let key = key.map(|key| key.map_err(|e| unable("key", &e)));
    let user = std::str::from_utf8(user).map_err(|_| unable("user", &"not UTF-8"));
    let user = user.map(|user| (!user.is_empty()).then(|| user.to_owned()));
    hash?;
    Some((identity.ok()?, key?.ok()?, user.ok()?))
}

/// Message about an identity that an earlier line has.
fn duplicate(entries: &[Entry], identity: &PskIdentity) -> String {
    let first = entries.iter().find(|entry| entry.identity == *identity);
    let line = first.map_or(0, |entry| entry.line);
    format!("unable to use identity: line {line} has it already")
}

/// Decodes pairs of hexadecimal digits. `None`: the text is anything else.
fn decode_hex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // The vector has its full length from the start, because growing would leave a copy of the key in freed
    // memory.
    let mut bytes = Zeroizing::new(vec![0; text.len() / 2]);
    base16ct::mixed::decode(text, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f";

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
            (
                1,
                15,
                "t.psk:1: unable to use key: a key has 16 to 1024 bytes\n",
            ),
            (
                1,
                0,
                "t.psk:1: unable to use key: a key has 16 to 1024 bytes\n",
            ),
            (
                1,
                1025,
                "t.psk:1: unable to use key: a key has 16 to 1024 bytes\n",
            ),
        ] {
            assert_eq!(parsed(line(identity, key).as_bytes()), Err(message.into()));
        }
    }

    #[test]
    fn all_errors_in_a_line_are_reported() {
        let text = format!(":{KEY}0:\u{fffd}:md5\n").into_bytes();
        let text: Vec<u8> = text.into_iter().filter(|byte| *byte != 0xbf).collect();
        let expected = "t.psk:1: unable to use identity: an identity has 1 to 256 bytes\n\
                        t.psk:1: unable to use hash: known are sha256 and sha384\n\
                        t.psk:1: unable to use key: not pairs of hexadecimal digits\n\
                        t.psk:1: unable to use user: not UTF-8\n";
        assert_eq!(parsed(&text), Err(expected.into()));
    }

    #[test]
    fn hexadecimal_digits_may_be_upper_or_lower_case() {
        assert_eq!(decode_hex(b"00fF9a").as_deref(), Some(&vec![0, 0xff, 0x9a]));
        for text in ["0", "0g", "+1", "0x", " 0", "\u{664}"] {
            assert_eq!(decode_hex(text.as_bytes()), None, "{text}");
        }
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
