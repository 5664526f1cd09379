//! A backend that a test controls, and configurations that have backends.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::socket::{Backlog, listen};

use tlssrv_testing::{Client, Server, Socket, eventually};

/// A listening socket; the test accepts its connections itself.
pub(crate) enum Backend {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Backend {
    /// On 127.0.0.1.
    pub(crate) fn new() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    /// At this address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let listener = eventually("the address is free", || TcpListener::bind(address).ok());
        listener.set_nonblocking(true).unwrap();
        Self::Tcp(listener)
    }

    /// At this path.
    pub(crate) fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self::Unix(listener)
    }

    /// The address of a TCP backend.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Tcp(listener) => listener.local_addr().unwrap(),
            Self::Unix(_) => panic!("it is a Unix-domain socket"),
        }
    }

    /// With the smallest possible backlog: one connection.
    pub(crate) fn without_backlog(self) -> Self {
        let backlog = Backlog::new(0).unwrap();
        match &self {
            Self::Tcp(listener) => listen(listener, backlog),
            Self::Unix(listener) => listen(listener, backlog),
        }
        .unwrap();
        self
    }

    /// The next connection, if there is one.
    pub(crate) fn try_accept(&self) -> Option<Socket> {
        let socket = match self {
            Self::Tcp(listener) => listener.accept().map(|(socket, _)| Socket::from(socket)),
            Self::Unix(listener) => listener.accept().map(|(socket, _)| Socket::from(socket)),
        };
        match socket {
            Ok(socket) => {
                socket.set_nonblocking(false);
                Some(socket)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> Socket {
        eventually("a connection comes", || self.try_accept())
    }

    /// Fails if a connection waits to be accepted.
    pub(crate) fn assert_nobody_came(&self) {
        assert!(self.try_accept().is_none(), "somebody came");
    }
}

/// A configuration of one host on one port, with these lines of the listener and of the host.
pub(crate) fn table(listen: &str, host: &str) -> String {
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{listen}\n\
         [[host]]\nnames = [\"a.example\"]\ndefault = true\ncert = [\"cert.pem\"]\n{host}\n"
    )
}

/// A server whose host has these backends, and these lines.
pub(crate) fn server(backends: &[&dyn Display], host: &str) -> Server {
    Server::with_config(&table("", &connect(backends, host)))
}

/// A server with one backend and these lines of its host, and a connection of a client that reached it.
pub(crate) fn connected(host: &str) -> (Server, Backend, Client, Socket) {
    let backend = Backend::new();
    let server = server(&[&backend.address()], host);
    let client = server.connect("a.example");
    let socket = backend.accept();
    (server, backend, client, socket)
}

/// The lines of a host that has these backends, and these lines.
pub(crate) fn connect(backends: &[&dyn Display], host: &str) -> String {
    let backends: Vec<String> = backends.iter().map(ToString::to_string).collect();
    // Strings of JSON are strings of TOML, too.
    let backends = serde_json::to_string(&backends).unwrap();
    format!("connect = {backends}\n{host}")
}

/// Reads this number of bytes.
pub(crate) fn read(socket: &mut Socket, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}

/// Fails unless client and backend can send each other something.
pub(crate) fn assert_talk(client: &mut Client, backend: &mut Socket) {
    client.send(b"question");
    assert_eq!(read(backend, 8), b"question");
    backend.write_all(b"answer").unwrap();
    assert_eq!(client.read_exactly(6), b"answer");
}
