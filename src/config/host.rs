//! `[[host]]`: virtual hosts and the destinations of their clients.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::backends::Backends;
use super::run_as::RunAs;
use crate::tls::client::Policy;
use crate::tls::profile::Profile;
use crate::tls::psk::{Keys, Modes};
use crate::tls::staple::StapledCertificate;
use crate::types::{HandshakeInfo, NamePattern, Program};

/// One `[[host]]`.
pub struct Host {
    /// Name in the log: the first of `names`, or `default` for a host without names.
    pub label: String,
    /// Server names that the host answers to. A default host may have none.
    pub names: Vec<NamePattern>,
    /// Certificate chains with their keys, in the order of the file. Empty only with a `psk`.
    pub certificates: Vec<StapledCertificate>,
    /// Pre-shared keys. `None` only with `certificates`.
    pub psk: Option<Psk>,
    /// Requirements on client certificates; `None`: no certificate is requested.
    /// Only with `certificates`.
    pub client_auth: Option<Policy>,
    /// ALPN protocols, most preferred first; empty: no ALPN.
    pub alpn: Vec<String>,
    /// TLS versions, cipher suites and groups.
    pub profile: Profile,
    /// Command or backends that the clients are connected to.
    pub destination: Destination,
    /// Maximum number of open connections, plus commands that outlive their connections; `None`: only
    /// the limit for all hosts applies.
    pub connections: Option<usize>,
    /// What the command or backend sees when the client vanishes without `close_notify`.
    pub on_truncation: OnTruncation,
}

/// Command or backends that the clients of a host are connected to.
pub enum Destination {
    /// A command, started once per client.
    Command {
        /// The program and its arguments.
        program: Box<Program>,
        /// User that the command runs as.
        run_as: RunAs,
    },
    /// Servers that listen elsewhere.
    Backends(Backends),
}

/// What the command or backend sees when the client vanishes without `close_notify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTruncation {
    /// End-of-file.
    Eof,
    /// SIGKILL for a command, a connection reset for a backend.
    Kill,
}

impl Host {
    /// Whether a handshake with this host can have this outcome.
    ///
    /// With a PSK identity, the host must have the key of this identity, and the client has no
    /// certificate. Without one, the host must have a certificate, and the client has one if the host
    /// requires one, and none if the host does not request one.
    pub fn can_authenticate(&self, handshake: &HandshakeInfo) -> bool {
        let certificate = handshake.client.is_some();
        match (&handshake.psk_identity, &self.psk) {
            (Some(identity), Some(psk)) => psk.keys.contains_key(identity) && !certificate,
            (Some(_), None) => false,
            (None, _) if self.certificates.is_empty() => false,
            (None, _) => match &self.client_auth {
                Some(policy) => certificate || policy.takes_anonymous(),
                None => !certificate,
            },
        }
    }
}

/// Pre-shared keys of a host, and the key exchanges that they allow.
#[derive(Clone, Debug)]
pub struct Psk {
    /// Keys by identity. There is at least one.
    pub keys: Arc<Keys>,
    /// Key exchanges without forward secrecy that the host allows.
    pub modes: Modes,
}
