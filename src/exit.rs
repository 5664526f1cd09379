//! Exit statuses of tlssrv.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// An exit status of tlssrv.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: a server that was told to stop, or a question that was answered.
    Success,
    /// The status of the command, in the one-connection form.
    Command(u8),
    /// 96: the configuration is wrong.
    BadConfiguration,
    /// 97: no socket, no key, no user.
    CannotStart,
    /// 98: the handshake of the one connection failed.
    Handshake,
    /// 100: the command line is wrong.
    Usage,
    /// 111: a system call failed.
    System,
    /// 126: the command is not executable.
    NotExecutable,
    /// 127: there is no such command.
    NotFound,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => 0,
            Exit::Command(status) => status,
            Exit::BadConfiguration => 96,
            Exit::CannotStart => 97,
            Exit::Handshake => 98,
            Exit::Usage => 100,
            Exit::System => 111,
            Exit::NotExecutable => 126,
            Exit::NotFound => 127,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(u8::from(exit))
    }
}
