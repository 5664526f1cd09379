//! What a server can be asked by `tlssrv --reload` and `--status`.
#![forbid(unsafe_code)]

/// What a server can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// To reload its table.
    Reload,
    /// For its status.
    Status,
}

impl Question {
    /// All questions. To connect is to ask, and whoever finds out whether the first one is taken asks it.
    pub(super) const ALL: [Self; 2] = [Self::Status, Self::Reload];

    /// The end of the name of its socket.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Status => "status",
        }
    }
}
