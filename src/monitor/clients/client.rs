//! A client: what the monitor knows of it, from accept to the end of its connection and of its command.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::limits::Source;
use super::stderr::StderrLog;
use crate::config::{BackendAddress, Host, OnTruncation};
use crate::environment::{ConnectionInfo, variables};
use crate::message::Summary;
use crate::monitor::generation::Generation;
use crate::process::{Ended, LaunchError, address_text};
use crate::proxy;
use crate::tls::names::{suite_name, version_name};
use crate::types::{EngineId, HandshakeInfo, HostId, ListenerId};

/// A client and its connection.
pub(in crate::monitor) struct Client {
    /// Name of the connection in the log and in `TLSSRV_ID`.
    pub(super) name: String,
    /// The generation that accepted the client. The connection ends in it.
    pub(super) generation: Arc<Generation>,
    /// The engine that serves the client.
    pub(super) engine: EngineId,
    pub(super) listener: ListenerId,
    /// Addresses of the client and of this end; `None` for a Unix-domain socket. Until the PROXY header
    /// has come, the first one is that of the load balancer.
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
    pub(super) accepted: Instant,
    /// Whether a PROXY header is still to come.
    pub(super) awaits_header: bool,
    /// Address of the load balancer that sent the PROXY header.
    pub(super) load_balancer: Option<SocketAddr>,
    /// The source that limits count the client for.
    pub(super) source: Option<Source>,
    /// The host whose own limit counts the client.
    pub(super) admitted_to: Option<HostId>,
    pub(super) host: Option<HostId>,
    pub(super) handshake: HandshakeInfo,
    /// Time from accept to the end of the handshake; `None`: it is not complete.
    pub(super) handshake_ms: Option<u32>,
    pub(super) plaintext: PlaintextSide,
    pub(super) output: Output,
    pub(super) stderr: Option<StderrLog>,
    pub(super) side: ClientSide,
    /// Plaintext bytes from the client and to it, as far as they are counted.
    pub(super) traffic: (u64, u64),
}

/// State of the plaintext side of a connection: a command or a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::monitor) enum PlaintextSide {
    /// The engine has not requested it yet.
    NotRequested,
    /// The command could not be started.
    LaunchFailed(LaunchError),
    /// The client's identity has no user for the command.
    NoUser,
    /// The command runs.
    Running(Pid),
    /// The command has ended.
    Exited(Pid, Ended),
    /// No backend has accepted yet.
    Dialling,
    /// No backend has accepted; the reason.
    NoBackend(String),
    /// This backend has accepted.
    Connected(BackendAddress),
}

/// What an engine has asked about the output of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Nothing: the output has not ended.
    Open,
    /// How it ended. The engine waits.
    Asked,
    /// How it ended. The engine has the answer.
    Answered,
}

/// State of the client's side of a connection.
#[derive(Debug)]
pub(super) enum ClientSide {
    /// An engine serves the client.
    Open,
    /// The connection has ended at this time.
    Ended(Summary, Instant),
}

impl Client {
    /// Name of the connection in the log and in `TLSSRV_ID`.
    pub(in crate::monitor) fn name(&self) -> &str {
        &self.name
    }

    /// The engine that serves the client.
    pub(in crate::monitor) fn engine(&self) -> EngineId {
        self.engine
    }

    /// The generation that accepted the client.
    pub(in crate::monitor) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Facts that the handshake has established so far.
    pub(in crate::monitor) fn handshake(&self) -> &HandshakeInfo {
        &self.handshake
    }

    /// State of the plaintext side.
    pub(in crate::monitor) fn plaintext(&self) -> &PlaintextSide {
        &self.plaintext
    }

    /// Time of accept.
    pub(in crate::monitor) fn accepted(&self) -> Instant {
        self.accepted
    }

    /// Plaintext bytes from the client and to it, as far as they are counted.
    pub(in crate::monitor) fn traffic(&self) -> (u64, u64) {
        self.traffic
    }

    /// The address of the client, as the log shows it; `unix` for a Unix-domain socket.
    pub(in crate::monitor) fn peer(&self) -> String {
        let peer = self.addresses.map(|(peer, _)| address_text(peer));
        peer.unwrap_or_else(|| "unix".to_owned())
    }

    /// Whether the client is connected.
    pub(in crate::monitor) fn is_open(&self) -> bool {
        matches!(self.side, ClientSide::Open)
    }

    /// Whether the command runs.
    pub(in crate::monitor) fn runs(&self) -> bool {
        matches!(self.plaintext, PlaintextSide::Running(_))
    }

    /// The host, once it is chosen.
    pub(in crate::monitor) fn host(&self) -> Option<&Host> {
        self.host.and_then(|host| self.generation.host(host))
    }

    /// The label of the host; empty while none is chosen.
    pub(in crate::monitor) fn host_label(&self) -> &str {
        self.host().map_or("", |host| host.label.as_str())
    }

    /// Whether the command is killed when the client vanishes.
    pub(super) fn kills_command(&self) -> bool {
        let host = self.host();
        host.is_some_and(|host| host.on_truncation == OnTruncation::Kill)
    }

    /// Kills the command, if that is to happen when the client vanishes.
    pub(super) fn kill_command(&self) {
        if let (true, PlaintextSide::Running(pid)) = (self.kills_command(), &self.plaintext) {
            // The process group is the command's own. It may have ended meanwhile.
            let _ = killpg(*pid, Signal::SIGKILL);
        }
    }

    /// The time until which the command may go on if the client ends now.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let linger = self.generation.config.limits.linger;
        now.checked_add(linger).unwrap_or(now)
    }

    /// How client and server have authenticated each other; `None` before the handshake is complete.
    pub(in crate::monitor) fn auth(&self) -> Option<&'static str> {
        self.handshake_ms?;
        Some(
            match (&self.handshake.psk_identity, &self.handshake.client) {
                (Some(_), _) => "psk",
                (None, Some(_)) => "mtls",
                (None, None) => "cert",
            },
        )
    }

    /// The identity that the client has proved, as the log shows it; `None` before the handshake is complete.
    pub(in crate::monitor) fn identity(&self) -> Option<String> {
        self.handshake_ms?;
        let psk = self.handshake.psk_identity.as_ref();
        let certificate = self.handshake.client.as_ref();
        psk.map(ToString::to_string)
            .or_else(|| certificate.map(|certificate| certificate.identity()))
    }

    /// The variables of the connection for its command.
    pub(in crate::monitor) fn variables(&self) -> Vec<CString> {
        let first_name = self.host().and_then(|host| host.names.first());
        let first_name = first_name.map(ToString::to_string);
        variables(&ConnectionInfo {
            id: &self.name,
            host: first_name.as_deref(),
            addresses: self.addresses,
            remote_name: self.generation.config.remote_name.as_deref(),
            handshake: &self.handshake,
        })
    }

    /// The PROXY header for a backend.
    pub(in crate::monitor) fn proxy_header(&self, version: proxy::Version) -> Vec<u8> {
        let handshake = &self.handshake;
        let cipher = handshake.suite.and_then(suite_name);
        let proved = match (&handshake.psk_identity, handshake.client.as_deref()) {
            (Some(identity), _) => proxy::Proved::PskIdentity(identity.text()),
            (None, Some(certificate)) => proxy::Proved::Certificate {
                shown: match handshake.resumed {
                    Some(true) => proxy::Shown::Earlier,
                    _ => proxy::Shown::Now,
                },
                common_name: certificate.common_name.as_ref().map(|name| name.as_str()),
            },
            (None, None) => proxy::Proved::Nothing,
        };
        let about = proxy::About {
            addresses: self.addresses,
            alpn: handshake.alpn.as_deref(),
            authority: handshake.server_name.as_ref().map(|name| name.as_str()),
            unique_id: &self.name,
            version: handshake.version.and_then(version_name),
            cipher: cipher.as_deref(),
            proved,
        };
        proxy::header(version, &about)
    }
}
