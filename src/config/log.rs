//! `[log]`: destination of the log, format, and what is logged.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::types::Severity;

/// Destination of the log, format, and what is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Destination.
    pub to: LogTo,
    /// Format of the lines.
    pub format: LogFormat,
    /// The mildest severity that is logged.
    pub level: Severity,
    /// Whether connections without a byte are logged, such as a load balancer's health checks.
    pub probes: bool,
}

impl Log {
    /// The log of a command line without a file. Options go before what it says: `to` is that of `-l`, and `level` that
    /// of `--quiet`.
    pub(in crate::config) fn with(to: Option<&LogTo>, level: Option<Severity>) -> Self {
        Self {
            to: to.cloned().unwrap_or(LogTo::Stderr),
            format: LogFormat::Text,
            level: level.unwrap_or(Severity::Info),
            probes: true,
        }
    }
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
