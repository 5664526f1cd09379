//! Standard input and output of a command.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// What a command's descriptors 0 and 1 are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// One end of a socketpair on both, as inetd does it.
    Socket,
    /// Two pipes, for programs that close 1 to end their output.
    Pipe,
}
