//! Standard input and output of a command.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// Standard input and output of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// One end of a socketpair for both, as inetd does it.
    Socket,
    /// Two pipes, for programs that close standard output to end their output.
    Pipe,
}
