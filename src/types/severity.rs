//! How serious a log line or a problem of the configuration is.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// Severity of a log line, or of a problem of the configuration. A line that a stranger can cause has `Info`
/// or `Debug`. The most severe one is the least, as in syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Something is lost, or refused by mistake.
    Err,
    /// The operator should look.
    Warning,
    /// Normal, and rare.
    Notice,
    /// Normal.
    Info,
    /// Asked for with `-D`.
    Debug,
}

impl Severity {
    /// The name, as syslog spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Err => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The number, as syslog has it.
    pub fn priority(self) -> u8 {
        match self {
            Self::Err => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Info => 6,
            Self::Debug => 7,
        }
    }
}
