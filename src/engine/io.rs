//! The descriptors of a connection: reading and writing that never make us wait.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, setsockopt, shutdown, sockopt};

use crate::message::Transport;
use crate::types::Buffer;

/// The command's side: one socket, or two pipes; or a backend.
pub(super) enum Plain {
    Socket(OwnedFd),
    /// What it writes and what it reads; the latter goes when the client has ended.
    Pipes(OwnedFd, Option<OwnedFd>),
    Backend(OwnedFd, Transport),
}

impl Plain {
    /// The descriptor that is read, and the one that is written where it is another.
    pub(super) fn descriptors(&self) -> (BorrowedFd<'_>, Option<BorrowedFd<'_>>) {
        match self {
            Self::Socket(socket) | Self::Backend(socket, _) => (socket.as_fd(), None),
            Self::Pipes(read, write) => (read.as_fd(), write.as_ref().map(AsFd::as_fd)),
        }
    }
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// End-of-file.
    End,
    /// The other side broke it off.
    Broken,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// So many bytes were taken, perhaps none.
    Bytes(usize),
    /// Nobody will ever read there, and what the kernel said.
    Broken(Errno),
}

/// Reads from the client's socket.
pub(crate) fn receive(socket: &impl AsRawFd, room: &mut [u8]) -> Read {
    read_result(retry(|| {
        recv(socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT)
    }))
}

/// Writes to the client's socket.
pub(crate) fn transmit(socket: &impl AsRawFd, bytes: &[u8]) -> Written {
    send_with(socket, bytes, MsgFlags::empty())
}

/// Writes to the client's socket what waits for it, as far as it takes it; `false`: the client is gone.
pub(super) fn flush(socket: &OwnedFd, waiting: &mut Buffer, next: Next) -> bool {
    if waiting.is_empty() {
        return true; // a write of nothing would meet a reset before what came ahead of it is read
    }
    let flags = match next {
        Next::Open => MsgFlags::empty(),
        Next::Fin => MsgFlags::from_bits_retain(libc::MSG_MORE),
    };
    match send_with(socket, waiting.filled(), flags) {
        Written::Broken(_) => false,
        Written::Bytes(n) => {
            waiting.consume_and_free(n);
            true
        }
    }
}

/// What comes behind the bytes that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing for now, or nobody knows.
    Open,
    /// FIN, as soon as all of them are written: in the packet of the last of them.
    Fin,
}

fn send_with(socket: &impl AsRawFd, bytes: &[u8], flags: MsgFlags) -> Written {
    let flags = flags | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    written_result(retry(|| send(socket.as_raw_fd(), bytes, flags)))
}

/// Reads from a command's socket or pipe; our end of it is non-blocking.
pub(super) fn read(from: impl AsFd, room: &mut [u8]) -> Read {
    read_result(retry(|| nix::unistd::read(from.as_fd(), room)))
}

/// Writes to a command's socket or pipe; our end of it is non-blocking.
pub(super) fn write(to: impl AsFd, bytes: &[u8]) -> Written {
    written_result(retry(|| nix::unistd::write(to.as_fd(), bytes)))
}

/// Ends our side of a socket: FIN for a client, end-of-file for a command.
pub(crate) fn shutdown_write(socket: &OwnedFd) -> nix::Result<()> {
    shutdown(socket.as_raw_fd(), Shutdown::Write)
}

/// Closes a socket so that the other side learns that it was no good end (RST).
pub(super) fn reset(socket: OwnedFd) {
    let at_once = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // It ends either way.
    let _ = setsockopt(&socket, sockopt::Linger, &at_once);
    drop(socket);
}

fn retry(mut call: impl FnMut() -> nix::Result<usize>) -> nix::Result<usize> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

fn read_result(result: nix::Result<usize>) -> Read {
    match result {
        Ok(0) => Read::End,
        Ok(n) => Read::Bytes(n),
        Err(Errno::EAGAIN) => Read::Nothing,
        Err(_) => Read::Broken,
    }
}

fn written_result(result: nix::Result<usize>) -> Written {
    match result {
        Ok(n) => Written::Bytes(n),
        Err(Errno::EAGAIN | Errno::ENOBUFS) => Written::Bytes(0),
        Err(e) => Written::Broken(e),
    }
}
