//! Reading and writing of sockets and pipes without waiting.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, Shutdown, recv, setsockopt, shutdown, sockopt};

use crate::types::Buffer;

/// Result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Number of bytes that were read, at least one.
    Bytes(usize),
    /// No bytes for now.
    WouldBlock,
    /// End-of-file.
    Eof,
    /// The other side has broken the connection.
    Broken,
}

/// Result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Number of bytes that were taken, perhaps none.
    Bytes(usize),
    /// The other side reads no more; the error of the system call.
    Broken(Errno),
}

/// Whether FIN follows the bytes of a [`flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fin {
    /// More bytes may follow first.
    NotYet,
    /// FIN follows at once, in the packet of the last byte.
    Follows,
}

/// Reads from a socket.
pub fn receive(socket: &impl AsRawFd, room: &mut [u8]) -> Read {
    read_result(retry(|| {
        recv(socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT)
    }))
}

/// Writes to a socket.
pub fn send(socket: &impl AsRawFd, bytes: &[u8]) -> Written {
    send_with(socket, bytes, MsgFlags::empty())
}

/// Writes the bytes of a buffer to a socket, as far as it takes them.
///
/// Errors: the other side reads no more.
pub fn flush(socket: &impl AsRawFd, unsent: &mut Buffer, fin: Fin) -> nix::Result<()> {
    if unsent.is_empty() {
        return Ok(()); // a write of nothing would report a reset before the bytes ahead of it are read
    }
    let flags = match fin {
        Fin::NotYet => MsgFlags::empty(),
        Fin::Follows => MsgFlags::from_bits_retain(libc::MSG_MORE),
    };
    match send_with(socket, unsent.filled(), flags) {
        Written::Broken(e) => Err(e),
        Written::Bytes(length) => {
            unsent.consume_and_free(length);
            Ok(())
        }
    }
}

fn send_with(socket: &impl AsRawFd, bytes: &[u8], flags: MsgFlags) -> Written {
    let flags = flags | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    written_result(retry(|| socket::send(socket.as_raw_fd(), bytes, flags)))
}

/// Reads from a socket or pipe that is non-blocking.
pub fn read(from: impl AsFd, room: &mut [u8]) -> Read {
    read_result(retry(|| nix::unistd::read(from.as_fd(), room)))
}

/// Writes to a socket or pipe that is non-blocking.
pub fn write(to: impl AsFd, bytes: &[u8]) -> Written {
    written_result(retry(|| nix::unistd::write(to.as_fd(), bytes)))
}

/// Number of bytes that were sent over a Unix-domain socket and have not been read.
pub fn unread(socket: &impl AsRawFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    match result {
        0 => usize::try_from(bytes).unwrap_or_default(),
        _ => 0,
    }
}

/// Ends the sending direction of a socket: the other side reads end-of-file.
///
/// Errors: those of shutdown(2); the other side is gone.
pub fn shutdown_write(socket: &OwnedFd) -> nix::Result<()> {
    shutdown(socket.as_raw_fd(), Shutdown::Write)
}

/// Closes a TCP socket with RST instead of FIN, so that the other side learns that bytes are missing.
pub fn reset(socket: OwnedFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // The socket is closed either way.
    let _ = setsockopt(&socket, sockopt::Linger, &linger);
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
        Ok(0) => Read::Eof,
        Ok(length) => Read::Bytes(length),
        Err(Errno::EAGAIN) => Read::WouldBlock,
        Err(_) => Read::Broken,
    }
}

fn written_result(result: nix::Result<usize>) -> Written {
    match result {
        Ok(length) => Written::Bytes(length),
        Err(Errno::EAGAIN | Errno::ENOBUFS) => Written::Bytes(0),
        Err(e) => Written::Broken(e),
    }
}
