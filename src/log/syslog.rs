//! syslog(3): the socket of the daemon.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use syslog::{Facility, Formatter3164, LogFormat, Severity as Level};

use crate::process::socket;
use crate::types::Severity;

/// Where a daemon may listen; the C library knows the first one only.
const PATHS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// A connection to the daemon.
pub(super) struct Syslog {
    formatter: Formatter3164,
    socket: Socket,
}

enum Socket {
    /// Non-blocking.
    Datagram(UnixDatagram),
    /// As few daemons have it.
    Stream(UnixStream),
}

#[derive(Clone, Copy)]
enum Kind {
    Datagram,
    Stream,
}

impl Syslog {
    /// Connects, to log under this tag and process id.
    ///
    /// Errors: the daemon cannot be reached; the error has its path.
    pub(super) fn connect(tag: String, pid: u32) -> io::Result<Self> {
        let socket = connect(Kind::Datagram).or_else(|e| match e.raw_os_error() {
            Some(libc::EPROTOTYPE) => connect(Kind::Stream),
            _ => Err(e),
        });
        let formatter = Formatter3164 {
            facility: Facility::LOG_DAEMON,
            hostname: None,
            process: tag,
            pid,
        };
        let socket = socket.map_err(explain)?;
        Ok(Self { formatter, socket })
    }

    /// Whether a write never waits for the daemon.
    pub(super) fn never_waits(&self) -> bool {
        matches!(self.socket, Socket::Datagram(_))
    }

    /// Connects anew. The kind of socket stays.
    pub(super) fn reconnect(&mut self) -> io::Result<()> {
        let kind = match self.socket {
            Socket::Datagram(_) => Kind::Datagram,
            Socket::Stream(_) => Kind::Stream,
        };
        self.socket = connect(kind)?;
        Ok(())
    }

    /// Sends a line.
    ///
    /// Errors: the daemon does not keep up (`WouldBlock`), or is not there.
    pub(super) fn write(&mut self, severity: Severity, line: &[u8]) -> io::Result<()> {
        let mut message = Vec::with_capacity(line.len() + 64);
        let text = String::from_utf8_lossy(line);
        (self.formatter)
            .format(&mut message, level(severity), text)
            .map_err(io::Error::other)?;
        match self.send(&message) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(e),
            Err(_) => {
                // The daemon may have been started anew, with a new socket.
                self.reconnect()?;
                self.send(&message)
            }
            Ok(()) => Ok(()),
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match &mut self.socket {
            Socket::Datagram(socket) => socket.send(message).map(drop),
            // A NUL ends each message.
            Socket::Stream(socket) => socket.write_all(&[message, b"\0"].concat()),
        }
    }

    /// Number of bytes that the daemon has not read.
    pub(super) fn unread(&self) -> usize {
        match &self.socket {
            Socket::Datagram(socket) => socket::unread(socket),
            Socket::Stream(socket) => socket::unread(socket),
        }
    }
}

/// Errors: that of the first path, since the others may be something else.
fn connect(kind: Kind) -> io::Result<Socket> {
    let mut first = None;
    for path in PATHS.map(Path::new) {
        let socket = match kind {
            Kind::Datagram => UnixDatagram::unbound().and_then(|socket| {
                socket.connect(path)?;
                socket.set_nonblocking(true)?;
                Ok(Socket::Datagram(socket))
            }),
            Kind::Stream => UnixStream::connect(path).map(Socket::Stream),
        };
        match socket {
            Ok(socket) => return Ok(socket),
            // A daemon is there, but for the other kind of socket.
            Err(e) if e.raw_os_error() == Some(libc::EPROTOTYPE) => return Err(e),
            Err(e) => first = first.or(Some(e)),
        }
    }
    Err(first.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

fn explain(e: io::Error) -> io::Error {
    let why = match e.kind() {
        io::ErrorKind::NotFound => format!("there is no {}", PATHS[0]),
        io::ErrorKind::ConnectionRefused => format!("nobody listens at {}", PATHS[0]),
        _ => return e,
    };
    io::Error::new(e.kind(), format!("{why}: is a syslog daemon running?"))
}

fn level(severity: Severity) -> Level {
    match severity {
        Severity::Err => Level::LOG_ERR,
        Severity::Warning => Level::LOG_WARNING,
        Severity::Notice => Level::LOG_NOTICE,
        Severity::Info => Level::LOG_INFO,
        Severity::Debug => Level::LOG_DEBUG,
    }
}
