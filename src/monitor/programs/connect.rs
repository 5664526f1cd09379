//! One connection to a backend: made without waiting, and the PROXY header that it begins with.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{KeepAlive, SocketError, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, UnixAddr, connect, getsockname,
    getsockopt, send, setsockopt, socket,
};

use crate::config::{BackendAddress, Limits};
use crate::monitor::socket_options::apply_limits;

/// Result of [`begin`].
pub(super) enum Begun {
    Connected(OwnedFd),
    InProgress(OwnedFd),
    /// The backlog of a Unix-domain socket is full.
    Busy,
    Failed(Errno),
}

/// Begins to connect. Buffers and keep-alive are as those of clients.
pub(super) fn begin(target: &BackendAddress, limits: &Limits) -> Begun {
    let family = match target {
        BackendAddress::Tcp(SocketAddr::V4(_)) => AddressFamily::Inet,
        BackendAddress::Tcp(SocketAddr::V6(_)) => AddressFamily::Inet6,
        BackendAddress::Unix(_) => AddressFamily::Unix,
    };
    let dial = || -> nix::Result<(OwnedFd, nix::Result<()>)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(family, SockType::Stream, flags, None)?;
        let fd = socket.as_raw_fd();
        let result = match target {
            BackendAddress::Unix(path) => connect(fd, &UnixAddr::new(path)?),
            BackendAddress::Tcp(address) => {
                setsockopt(&socket, TcpNoDelay, &true)?;
                setsockopt(&socket, KeepAlive, &true)?;
                apply_limits(&socket, limits);
                let address = SockaddrStorage::from(*address);
                match connect(fd, &address) {
                    // A backend on this machine has answered by now. To ask is one system call; to wait for
                    // epoll would be four, and a turn of the loop.
                    Err(Errno::EINPROGRESS) if is_local(target) => match connect(fd, &address) {
                        Err(Errno::EALREADY) => Err(Errno::EINPROGRESS),
                        result => result,
                    },
                    result => result,
                }
            }
        };
        Ok((socket, result))
    };
    match dial() {
        Ok((socket, Ok(()))) => Begun::Connected(socket),
        Ok((socket, Err(Errno::EINPROGRESS))) => Begun::InProgress(socket),
        Ok((_, Err(Errno::EAGAIN))) if family == AddressFamily::Unix => Begun::Busy,
        Ok((_, Err(e))) | Err(e) => Begun::Failed(e),
    }
}

/// Completes a connection that was in progress.
///
/// Errors: why it was not made.
pub(super) fn complete(socket: &OwnedFd) -> nix::Result<()> {
    match getsockopt(socket, SocketError)? {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

/// Writes the PROXY header, which may be empty; a new socket takes all of it.
///
/// Errors: those of send(2); `EMSGSIZE`: the socket did not take all of it; `ECONNREFUSED`: the socket is
/// connected to itself.
pub(super) fn send_header(
    socket: &OwnedFd,
    target: &BackendAddress,
    header: &[u8],
) -> nix::Result<()> {
    if is_itself(socket, target) {
        return Err(Errno::ECONNREFUSED);
    }
    if header.is_empty() {
        return Ok(());
    }
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    match send(socket.as_raw_fd(), header, flags)? {
        sent if sent == header.len() => Ok(()),
        _ => Err(Errno::EMSGSIZE),
    }
}

/// Whether an error says that descriptors, memory or ports have run out here, so that the backend is not at
/// fault.
pub(super) fn is_local_fault(e: Errno) -> bool {
    matches!(
        e,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EADDRNOTAVAIL
    )
}

/// Whether a backend is on this machine for sure.
fn is_local(target: &BackendAddress) -> bool {
    match target {
        BackendAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
        BackendAddress::Unix(_) => true,
    }
}

/// Whether a socket is connected to itself. That happens when nothing listens on a port, and the kernel
/// chooses that port as the local one of a connection to it.
fn is_itself(socket: &OwnedFd, target: &BackendAddress) -> bool {
    let own = || getsockname::<SockaddrStorage>(socket.as_raw_fd());
    match target {
        BackendAddress::Tcp(target) => own().is_ok_and(|own| own == (*target).into()),
        BackendAddress::Unix(_) => false,
    }
}
