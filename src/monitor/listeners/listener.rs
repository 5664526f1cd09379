//! One listening socket: bind, accept.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, KeepAlive, ReuseAddr, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
};
use nix::unistd::{AccessFlags, eaccess};

use crate::config::Address;
use crate::systemd::{Passed, PassedClient as Client};
use crate::types::{ListenerId, cause};

/// A listening socket.
pub(super) struct Listener {
    /// The `[[listen]]` that it belongs to.
    pub(super) id: ListenerId,
    address: BindAddress,
    socket: Socket,
}

/// The address of one listening socket as the configuration gives it: a port may be 0.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum BindAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
    Passed(Rc<Passed>),
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
    /// A socket of the service manager. It stays open after the listener is dropped.
    Passed(Rc<Passed>),
}

/// A connection that accept(2) has returned.
pub(in crate::monitor) struct Incoming {
    /// The socket, non-blocking.
    pub(in crate::monitor) socket: OwnedFd,
    /// The addresses of the client and of this end; `None` for a Unix-domain socket.
    pub(in crate::monitor) addresses: Option<(SocketAddr, SocketAddr)>,
}

/// Why accept(2) returned no connection.
pub(in crate::monitor) enum AcceptError {
    /// No client waits, or the client has gone already.
    Empty,
    /// Descriptors or memory have run out; it is best to wait.
    Exhausted(io::Error),
}

impl Listener {
    /// The addresses of the sockets of a `[[listen]]`; `passed`: sockets of the service manager.
    pub(super) fn addresses(address: &Address, passed: &[Rc<Passed>]) -> Vec<BindAddress> {
        match address {
            Address::Inetd => Vec::new(),
            Address::Systemd(name) => {
                let wanted = |socket: &&Rc<Passed>| name.as_ref().is_none_or(|n| *n == socket.name);
                let sockets = passed.iter().filter(wanted);
                sockets.cloned().map(BindAddress::Passed).collect()
            }
            Address::Unix(path) => vec![BindAddress::Unix(path.clone())],
            Address::Tcp(addresses) => addresses.iter().copied().map(BindAddress::Tcp).collect(),
        }
    }

    /// Binds a socket.
    ///
    /// Errors: the address, and what the kernel said.
    pub(super) fn bind(id: ListenerId, address: BindAddress) -> Result<Self, String> {
        let socket = match &address {
            BindAddress::Passed(socket) => Socket::Passed(Rc::clone(socket)),
            BindAddress::Unix(path) => bind_unix(path)
                .map(|listener| Socket::Unix(listener, path.clone()))
                .map_err(|e| unable_to_listen(&address, &cause(&e)))?,
            BindAddress::Tcp(tcp) => bind_tcp(*tcp)
                .and_then(|fd| {
                    // As many clients in the queue as the system allows (net.core.somaxconn).
                    listen(&fd, Backlog::MAXALLOWABLE)?;
                    Ok(Socket::Tcp(fd.into()))
                })
                .map_err(|e| unable_to_listen(&address, &e.desc()))?,
        };
        Ok(Self {
            id,
            address,
            socket,
        })
    }

    /// Tries whether a socket could be bound. No client can connect meanwhile, and nothing is left of it.
    ///
    /// Errors: as those of [`Listener::bind`].
    pub(super) fn try_bind(address: &BindAddress) -> Result<(), String> {
        match address {
            BindAddress::Passed(_) => Ok(()),
            BindAddress::Unix(path) => {
                try_bind_unix(path).map_err(|e| unable_to_listen(address, &cause(&e)))
            }
            BindAddress::Tcp(tcp) => {
                (bind_tcp(*tcp).map(drop)).map_err(|e| unable_to_listen(address, &e.desc()))
            }
        }
    }

    /// Whether the socket was bound to this address.
    pub(super) fn is_at(&self, address: &BindAddress) -> bool {
        self.address == *address
    }

    /// Accepts the next connection.
    pub(super) fn accept(&self) -> Result<Incoming, AcceptError> {
        let client = match &self.socket {
            Socket::Tcp(listener) => listener.accept().map(|(s, peer)| Client::Tcp(s, peer)),
            Socket::Unix(listener, _) => listener.accept().map(|(s, _)| Client::Unix(s)),
            Socket::Passed(passed) => passed.accept(),
        };
        client.and_then(Incoming::try_from).map_err(accept_error)
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(e) => e.fmt(f),
            },
            Socket::Unix(_, path) => write!(f, "unix:{}", path.display()),
            Socket::Passed(passed) => passed.fmt(f),
        }
    }
}

/// The address, as the log has it; a port may be 0.
impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Passed(passed) => passed.fmt(f),
        }
    }
}

fn unable_to_listen(address: &BindAddress, why: &impl fmt::Display) -> String {
    format!("unable to listen on {address}: {why}")
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix(listener, _) => listener.as_fd(),
            Socket::Passed(passed) => passed.as_fd(),
        }
    }
}

impl TryFrom<Client> for Incoming {
    type Error = io::Error;

    fn try_from(client: Client) -> io::Result<Self> {
        match client {
            Client::Tcp(socket, peer) => {
                socket.set_nonblocking(true)?;
                let local = socket.local_addr()?;
                Ok(Self {
                    socket: socket.into(),
                    addresses: Some((peer, local)),
                })
            }
            Client::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Ok(Self {
                    socket: socket.into(),
                    addresses: None,
                })
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = &self.socket {
            // It may have been removed before.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A socket that is bound to an address, and does not listen.
fn bind_tcp(address: SocketAddr) -> Result<OwnedFd, Errno> {
    match bind_exactly(address) {
        // `:PORT` on a system without IPv6.
        Err(Errno::EAFNOSUPPORT) if address.ip().is_unspecified() => {
            bind_exactly((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        result => result,
    }
}

fn bind_exactly(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&fd, ReuseAddr, &true)?;
    if let IpAddr::V6(ip) = address.ip() {
        // `[::]` takes IPv4 as well, whatever the system's default is.
        setsockopt(&fd, Ipv6V6Only, &!ip.is_unspecified())?;
    }
    // Accepted sockets inherit both. Without the first a KeyUpdate's answer waits for an acknowledgement;
    // without the second a client that has lost its network is never missed.
    setsockopt(&fd, TcpNoDelay, &true)?;
    setsockopt(&fd, KeepAlive, &true)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

/// Binds a path. A socket that a dead server left there is removed first.
pub(in crate::monitor) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if is_dead_socket(path) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn try_bind_unix(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok() && !is_dead_socket(path) {
        return Err(Errno::EADDRINUSE.into());
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    Ok(eaccess(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

fn is_dead_socket(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    is_socket
        && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

fn accept_error(e: io::Error) -> AcceptError {
    match e.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
            AcceptError::Exhausted(e)
        }
        _ => AcceptError::Empty,
    }
}
