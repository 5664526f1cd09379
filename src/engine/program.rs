//! The engine's descriptors of a host's program.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::message::Transport;

/// The plaintext side of a connection: descriptors of a command or a backend.
pub(super) enum ProgramStream {
    /// Socket that is a command's standard input and output.
    Socket(OwnedFd),
    /// Pipes from a command's standard output and to its standard input. The latter is closed when the client
    /// has ended.
    Pipes(OwnedFd, Option<OwnedFd>),
    /// Connection to a backend.
    Backend(OwnedFd, Transport),
}

impl ProgramStream {
    /// The descriptor that is read, and the one that is written if that is another.
    pub(super) fn descriptors(&self) -> (BorrowedFd<'_>, Option<BorrowedFd<'_>>) {
        match self {
            Self::Socket(socket) | Self::Backend(socket, _) => (socket.as_fd(), None),
            Self::Pipes(read, write) => (read.as_fd(), write.as_ref().map(AsFd::as_fd)),
        }
    }

    /// The descriptor that is written; `None`: it is closed.
    pub(super) fn input(&self) -> Option<&OwnedFd> {
        match self {
            Self::Socket(socket) | Self::Backend(socket, _) => Some(socket),
            Self::Pipes(_, write) => write.as_ref(),
        }
    }
}
