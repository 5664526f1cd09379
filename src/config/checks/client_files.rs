//! Reads the files of `client-ca` and `client-crl`.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::time::SystemTime;

use crate::config::sources::files::NamedFile;
use crate::config::text::problems::{Problems, cause};

/// Reads files and joins their items. `None`: one of the files has an error, which is reported.
pub(super) fn read_all<T>(
    files: Vec<NamedFile>,
    problems: &mut Problems,
    mut read: impl FnMut(NamedFile, &mut Problems) -> Option<Vec<T>>,
) -> Option<Vec<T>> {
    let read: Vec<_> = files.into_iter().map(|file| read(file, problems)).collect();
    let lists = read.into_iter().collect::<Option<Vec<Vec<T>>>>()?;
    Some(lists.into_iter().flatten().collect())
}

/// Reads and parses a file that the value of `key` names. `None`: there is an error, which is reported.
pub(super) fn open<T>(
    key: &str,
    file: &NamedFile,
    problems: &mut Problems,
    parse: impl FnOnce(&[u8]) -> Result<Vec<T>, String>,
) -> Option<Vec<T>> {
    let read = file.read().map_err(|error| ("read", cause(&error)));
    let parsed = read.and_then(|(bytes, _)| parse(&bytes).map_err(|reason| ("use", reason)));
    parsed
        .map_err(|(verb, reason)| {
            let message = format!("unable to {verb} {key} {}: {reason}", file.quoted());
            problems.error(file.span.clone(), message);
        })
        .ok()
}

/// The date, if it is in the past.
pub(super) fn past(until: SystemTime) -> Option<impl Display> {
    (until < SystemTime::now()).then(|| humantime::format_rfc3339_seconds(until))
}
