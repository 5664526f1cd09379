//! A listening socket of the service manager (`sd_listen_fds(3)`).
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::types::cause;
use nix::sys::socket::sockopt::{AcceptConn, KeepAlive, SockType as TypeOf, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, setsockopt,
};

/// A listening socket that was passed to this process. It stays open as long as this value lives.
pub struct Passed {
    /// `FileDescriptorName=`; several sockets may have the same name.
    pub name: String,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A client of a passed socket.
pub enum PassedClient {
    /// A TCP client and its address.
    Tcp(TcpStream, SocketAddr),
    /// A client of a Unix-domain socket.
    Unix(UnixStream),
}

impl Passed {
    /// Takes a descriptor.
    ///
    /// Errors: why the socket cannot be used, and what to do.
    pub(super) fn new(name: String, descriptor: OwnedFd) -> Result<Self, String> {
        let number = descriptor.as_raw_fd();
        let refuse = |reason: &str| Err(format!("descriptor {number} ({name:?}) {reason}"));
        let Ok(kind) = getsockopt(&descriptor, TypeOf) else {
            return refuse("is no socket: pass what ListenStream= makes");
        };
        if kind != SockType::Stream {
            return refuse("is no stream socket: ListenStream= makes one");
        }
        if !getsockopt(&descriptor, AcceptConn).unwrap_or(false) {
            return refuse(
                "is a connection: set Accept=no, or StandardInput=socket and serve it without --listen",
            );
        }
        let address = getsockname::<SockaddrStorage>(number);
        let family = address.ok().and_then(|address| address.family());
        let socket = match family {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => {
                // As for sockets of our own, whose clients inherit them; a protocol in the place of TCP may
                // not know both (`SocketProtocol=`).
                let _ = setsockopt(&descriptor, TcpNoDelay, &true);
                let _ = setsockopt(&descriptor, KeepAlive, &true);
                Socket::Tcp(descriptor.into())
            }
            Some(AddressFamily::Unix) => Socket::Unix(descriptor.into()),
            _ => return refuse("is neither of TCP nor a Unix-domain socket"),
        };
        Ok(Self { name, socket })
    }

    /// Accepts the next client, without waiting.
    ///
    /// `O_NONBLOCK` belongs to the file description, which systemd shares: each time that it starts a
    /// service with this socket it sets or clears it (`NonBlocking=`), whatever other processes do. So it is set
    /// again for each client. That harms no other process: systemd only polls a socket with `Accept=no`.
    ///
    /// Errors: those of accept(2).
    pub fn accept(&self) -> io::Result<PassedClient> {
        match &self.socket {
            Socket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let (client, peer) = listener.accept()?;
                Ok(PassedClient::Tcp(client, peer))
            }
            Socket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let (client, _) = listener.accept()?;
                Ok(PassedClient::Unix(client))
            }
        }
    }
}

/// Two values are equal if they are one descriptor of this process.
impl PartialEq for Passed {
    fn eq(&self, other: &Self) -> bool {
        self.as_fd().as_raw_fd() == other.as_fd().as_raw_fd()
    }
}

impl Eq for Passed {}

/// The address, as for any other socket.
impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Socket::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(e) => f.write_str(&cause(&e)),
            },
            Socket::Unix(listener) => match listener.local_addr() {
                Ok(address) => match (address.as_pathname(), address.as_abstract_name()) {
                    (Some(path), _) => write!(f, "unix:{}", path.display()),
                    (None, Some(name)) => write!(f, "unix:@{}", name.escape_ascii()),
                    (None, None) => f.write_str("unix:"),
                },
                Err(e) => f.write_str(&cause(&e)),
            },
        }
    }
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix(listener) => listener.as_fd(),
        }
    }
}
