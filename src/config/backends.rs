//! `connect`: the backends of a host.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::proxy::Version;

/// The backends of a host; a client gets one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backends {
    /// In the order of the file; never empty.
    pub each: Vec<Backend>,
    /// How long each may take to accept a connection.
    pub timeout: Duration,
    /// How often names are resolved; `None`: never again.
    pub resolve: Option<Duration>,
    /// The header that each connection begins with.
    pub proxy: Option<Version>,
}

/// One `HOST:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// An address.
    At(BackendAddress),
    /// A name, and the addresses that it had when the configuration was loaded; at least one.
    Named(BackendName, Vec<SocketAddr>),
}

/// What can be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix-domain socket.
    Unix(PathBuf),
}

/// A host's name, and a port there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendName {
    /// What getaddrinfo(3) is asked for.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(target) => target.fmt(f),
            Self::Named(name, addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "{name} ({})", addresses.join(", "))
            }
        }
    }
}
