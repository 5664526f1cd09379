//! How serious a log line or a problem of the configuration is.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// How much a line matters. What a stranger can cause is info or below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Something is lost or refused that should not be.
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
    /// As syslog spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Err => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}
