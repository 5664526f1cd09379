//! `[log]`: destination and format of the log.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Destination and format of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Destination.
    pub to: LogTo,
    /// Format of the lines.
    pub format: LogFormat,
}

/// Destination of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// The system log, with this tag.
    Syslog(String),
    /// Standard error.
    Stderr,
    /// This file, to which lines are appended.
    File(PathBuf),
}

impl LogTo {
    /// Destination that the value of `-l` stands for: a file if the value contains a slash, else the
    /// system log with the value as the tag.
    pub fn from_option(name: &OsStr) -> Self {
        match name.as_bytes().contains(&b'/') {
            true => Self::File(std::path::absolute(name).unwrap_or_else(|_| name.into())),
            false => Self::Syslog(name.to_string_lossy().into_owned()),
        }
    }
}

/// Format of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` pairs (logfmt).
    Text,
    /// One JSON object per line.
    Json,
}
