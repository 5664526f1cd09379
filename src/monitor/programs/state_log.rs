//! Log lines about changes of backends, and of their names.
#![forbid(unsafe_code)]

use std::fmt::Display;

use crate::log::{Allowance, Logger};
use crate::types::Severity;

/// Lines per second about changes of one kind.
const LINES_PER_SECOND: u32 = 20;

/// What has changed. Changes of one kind share a limit of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A backend has failed, or is back.
    Backend,
    /// The addresses of a name have changed, or cannot be found.
    Name,
}

/// Logs the new state of a backend, or of a name of one, unless changes of this kind come too often.
pub(super) fn log_state(
    logger: &mut Logger,
    severity: Severity,
    kind: Kind,
    backend: &impl Display,
    state: String,
) {
    let fields = vec![
        ("backend", backend.to_string().into()),
        ("state", state.into()),
    ];
    let kind = match kind {
        Kind::Backend => "backend",
        Kind::Name => "names",
    };
    let allowance = Allowance::PerSecond(LINES_PER_SECOND, kind);
    logger.fields(severity, &fields, allowance);
}
