//! A client's socket: TCP or Unix-domain, as one type.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::socket::{setsockopt, sockopt};

use crate::DEADLINE;

/// A connected socket, with a limit on how long a read or write may take.
pub enum Socket {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    Unix(UnixStream),
}

impl Socket {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        Self::from(socket)
    }

    /// Connects to a Unix-domain socket.
    pub fn connect_unix(path: &Path) -> Self {
        Self::from(UnixStream::connect(path).unwrap())
    }

    /// Sends FIN.
    pub fn shutdown_write(&self) {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
        }
        .unwrap();
    }

    /// Sends RST.
    pub fn reset(self) {
        let linger = nix::libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&self, sockopt::Linger, &linger).unwrap();
    }

    /// Whether a read or write fails at once instead of waiting.
    pub fn set_nonblocking(&self, nonblocking: bool) {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(nonblocking),
            Self::Unix(socket) => socket.set_nonblocking(nonblocking),
        }
        .unwrap();
    }

    /// The address of this end, as the server sees it.
    pub fn local_address(&self) -> SocketAddr {
        match self {
            Self::Tcp(socket) => socket.local_addr().unwrap(),
            Self::Unix(_) => panic!("a Unix-domain socket has none"),
        }
    }

    /// Everything until the end, and whether that was FIN or RST.
    pub fn read_to_end(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let result = Read::read_to_end(self, &mut bytes).map(drop);
        (bytes, result)
    }
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Self::Tcp(socket)
    }
}

impl From<UnixStream> for Socket {
    fn from(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Self::Unix(socket)
    }
}

impl Read for Socket {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        again(|| match self {
            Self::Tcp(socket) => socket.read(room),
            Self::Unix(socket) => socket.read(room),
        })
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        again(|| match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Repeats a call that a signal interrupted: with a timeout, the kernel does not restart it (signal(7)).
fn again(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// An address that nothing listens on, for programs that cannot choose one themselves.
///
/// Each call has another one. Port 0 does not lead there either: Linux chooses ports from 32768 up
/// (`ip_local_port_range`).
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    // Processes that start one after the other begin at ports far from each other.
    let first = u16::from_be_bytes([low, high]);
    loop {
        let port = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 16_384 + 16_384;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Both ends of a TCP connection over the loopback interface: the client's, and the server's.
pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}
