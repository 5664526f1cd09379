//! Changes of backends, and of their names, for the log.
#![forbid(unsafe_code)]

use crate::log::{Allowance, Logger};
use crate::types::Severity;

/// Lines per second about changes of one kind.
const LINES_PER_SECOND: u32 = 20;

/// A change of a backend, or of a name of one.
pub(in crate::monitor) struct Change {
    pub(super) severity: Severity,
    /// The address or the name.
    pub(super) backend: String,
    pub(super) state: String,
    /// Changes of one kind share a limit of lines.
    pub(super) kind: &'static str,
}

impl Change {
    /// Logs the change, unless changes of its kind come too often.
    pub(in crate::monitor) fn log(self, logger: &mut Logger) {
        let fields = vec![
            ("backend", self.backend.into()),
            ("state", self.state.into()),
        ];
        let allowance = Allowance::PerSecond(LINES_PER_SECOND, self.kind);
        logger.fields(self.severity, &fields, allowance);
    }
}
