//! `connect`: backends of a host.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::proxy::Version;

/// Backends of a host. Each client is connected to one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backends {
    /// Backends, in the order of the file. There is at least one.
    pub each: Vec<Backend>,
    /// Maximum time for a backend to accept a connection.
    pub timeout: Duration,
    /// Interval at which names are resolved again; `None`: only when the configuration is loaded.
    pub resolve: Option<Duration>,
    /// Version of the PROXY header that each connection begins with; `None`: no header.
    pub proxy: Option<Version>,
}

/// One `HOST:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// An address.
    At(BackendAddress),
    /// A name, with the addresses that it had when the configuration was loaded. Without one, the backend is
    /// away until the name resolves.
    Named(BackendName, Vec<SocketAddr>),
}

/// Address of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix-domain socket.
    Unix(PathBuf),
}

/// Host name and port of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendName {
    /// Host name for getaddrinfo(3).
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
            Self::At(address) => address.fmt(f),
            Self::Named(name, addresses) if addresses.is_empty() => {
                write!(f, "{name} (away: its name does not resolve)")
            }
            Self::Named(name, addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "{name} ({})", addresses.join(", "))
            }
        }
    }
}
