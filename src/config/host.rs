//! `[[host]]`: virtual hosts, and what their clients are connected to.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::backends::Backends;
use super::run_as::RunAs;
use crate::tls::client::Policy;
use crate::tls::profile::Profile;
use crate::tls::psk::Keys;
use crate::tls::staple::Shown;
use crate::types::{HandshakeInfo, NamePattern, Program};

/// One `[[host]]`.
pub struct Host {
    /// Its first name, or `default` where it has none: what the log calls it.
    pub label: String,
    /// What it answers to; may be empty for a default host.
    pub names: Vec<NamePattern>,
    /// Certificate chains with their keys, in the order of the file; empty only where there is a `psk`.
    pub certificates: Vec<Shown>,
    /// Pre-shared keys; absent only where there are `certificates`.
    pub psk: Option<Psk>,
    /// What is asked of the certificates of clients; only where there are `certificates`.
    pub client_auth: Option<Policy>,
    /// Protocols for ALPN, most preferred first; empty: no ALPN.
    pub alpn: Vec<String>,
    /// Versions, suites and groups.
    pub profile: Profile,
    /// What its clients are connected to.
    pub destination: Destination,
    /// Its clients at a time, commands that outlive theirs included; `None`: no limit of its own.
    pub connections: Option<usize>,
    /// What the command sees when its peer vanishes without `close_notify`.
    pub on_truncation: OnTruncation,
}

/// What the clients of a host are connected to.
pub enum Destination {
    /// A command, one for each.
    Command {
        /// What is started.
        program: Box<Program>,
        /// Whom that becomes.
        run_as: RunAs,
    },
    /// A server that listens elsewhere.
    Backends(Backends),
}

/// What the command, or the backend, sees when its peer vanishes without `close_notify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTruncation {
    /// End-of-file.
    Eof,
    /// SIGKILL; a backend, that its connection is reset.
    Kill,
}

impl Host {
    /// Whether a handshake with this host can have found out these facts: that a client has the key of
    /// this identity; without one, that it was shown a certificate, and has shown one that is asked for.
    pub fn can_authenticate(&self, facts: &HandshakeInfo) -> bool {
        let certificate = facts.client.is_some();
        match (&facts.psk_identity, &self.psk) {
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

/// The pre-shared keys of a host, and what may be done with them.
#[derive(Clone, Debug)]
pub struct Psk {
    /// By the identities that clients offer; never empty.
    pub keys: Arc<Keys>,
    /// Whether TLS 1.3 may do without (EC)DHE: `psk_ke`, without forward secrecy (RFC 8446 §4.2.9).
    pub only_ke: bool,
    /// Whether TLS 1.2 may do without ECDHE: `TLS_PSK_…`, without forward secrecy (RFC 4279 §2, RFC 5487).
    pub plain: bool,
}
