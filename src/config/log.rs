//! `[log]`: where the log goes, and how it looks.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where the log goes, and how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where.
    pub to: LogTo,
    /// How.
    pub format: LogFormat,
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// The system's log, under this tag.
    Syslog(String),
    /// Descriptor 2.
    Stderr,
    /// Appended to this file.
    File(PathBuf),
}

impl LogTo {
    /// What `-l` means: a file when there is a slash in it, else a tag for the system's log.
    pub fn from_option(name: &OsStr) -> Self {
        match name.as_bytes().contains(&b'/') {
            true => Self::File(std::path::absolute(name).unwrap_or_else(|_| name.into())),
            false => Self::Syslog(name.to_string_lossy().into_owned()),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` pairs (logfmt).
    Text,
    /// One JSON object per line.
    Json,
}
