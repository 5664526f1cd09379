//! Messages between monitor and engine: each is one datagram, in postcard's encoding.
//!
//! The monitor treats every message of an engine as hostile: it decodes the message strictly, and ends an
//! engine that breaks the protocol.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::tls::tickets::TicketKeys;
use crate::types::{ConnectionId, HandshakeInfo, HostId, ListenerId, Severity, Stdio, UnfitName};

/// Longest text that an engine sends, in bytes: a reason or a line for the log.
pub const MAX_TEXT: usize = 4096;

/// Monitor → engine.
#[derive(Serialize, Deserialize)]
pub enum ToEngine {
    /// A client has connected. Carries its socket.
    Accepted {
        /// Id of the connection.
        id: ConnectionId,
        /// Listener that accepted the connection.
        listener: ListenerId,
    },
    /// The connection is within the limits: those of its host after [`ToMonitor::HostChosen`], those of its source
    /// after [`ToMonitor::ProxyHeader`].
    Admitted {
        /// The connection.
        id: ConnectionId,
    },
    /// The command has been started. Carries a socket, or two pipes: one to read, one to write.
    Opened {
        /// The connection.
        id: ConnectionId,
        /// Kind of the descriptors.
        stdio: Stdio,
    },
    /// A backend has accepted the connection. Carries the socket.
    Connected {
        /// The connection.
        id: ConnectionId,
        /// Kind of the socket.
        transport: Transport,
    },
    /// The answer to [`ToMonitor::OutputEnded`].
    OutputEnded {
        /// The connection.
        id: ConnectionId,
        /// How the output has ended.
        end: OutputEnd,
    },
    /// The program cannot be reached, or the connection is over a limit.
    Refused {
        /// The connection.
        id: ConnectionId,
    },
    /// New session ticket keys. Those of the present are in an engine from its start.
    TicketKeys(TicketKeys),
    /// Request for the traffic of each connection: [`ToMonitor::Traffic`], then [`ToMonitor::TrafficReported`]
    /// is the answer.
    ReportTraffic,
    /// No more connections come. The engine ends after its last one.
    Drain,
}

impl ToEngine {
    /// The answer to an engine that asks whether a client is admitted.
    pub fn decision<E>(id: ConnectionId, admitted: &Result<(), E>) -> Self {
        match admitted {
            Ok(()) => Self::Admitted { id },
            Err(_) => Self::Refused { id },
        }
    }
}

/// Engine → monitor.
#[derive(Serialize, Deserialize)]
pub enum ToMonitor {
    /// The engine has given up its privileges, and can serve.
    Ready,
    /// A connection has begun with this PROXY header.
    ProxyHeader {
        /// The connection.
        id: ConnectionId,
        /// Address of the client, and the address that the client connected to; `None`: the header has none.
        addresses: Option<(SocketAddr, SocketAddr)>,
    },
    /// A client has chosen a host that has a limit of connections: a request for admission.
    HostChosen {
        /// The connection.
        id: ConnectionId,
        /// The host.
        host: HostId,
    },
    /// A handshake is complete: a request for the host's program.
    Open {
        /// The connection.
        id: ConnectionId,
        /// The host.
        host: HostId,
        /// Facts that the handshake established.
        handshake: HandshakeInfo,
        /// Time from accept to the end of the handshake, in microseconds.
        handshake_us: u32,
    },
    /// The command has closed its output: a question how it ended, before the client is told.
    OutputEnded {
        /// The connection.
        id: ConnectionId,
    },
    /// The client has vanished, and the host's command is to be killed in this case.
    Kill {
        /// The connection.
        id: ConnectionId,
    },
    /// A connection has ended, and its socket is closed.
    Closed {
        /// The connection.
        id: ConnectionId,
        /// Summary of the connection.
        summary: Summary,
    },
    /// Traffic of at most [`TRAFFIC_PER_MESSAGE`] connections so far.
    Traffic(Vec<Traffic>),
    /// Each connection has been in a [`ToMonitor::Traffic`] since [`ToEngine::ReportTraffic`].
    TrafficReported,
    /// A line for the log.
    Log {
        /// Severity of the line.
        severity: Severity,
        /// Connection that the line is about.
        id: Option<ConnectionId>,
        /// The line.
        line: String,
    },
}

/// Traffic of a connection so far, counted as in [`Summary`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The connection.
    pub id: ConnectionId,
    /// Plaintext bytes from the client that the program has taken.
    pub received: u64,
    /// Plaintext bytes from the program that were sent to the client.
    pub sent: u64,
}

/// Largest number of [`Traffic`] in one message: a number takes up to ten bytes.
pub const TRAFFIC_PER_MESSAGE: usize = 500;

/// Summary of a connection that has ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The host, if one was chosen.
    pub host: Option<HostId>,
    /// Facts that the handshake established.
    pub handshake: Option<HandshakeInfo>,
    /// The name that the client asked for, if no host can have it, and the client was served nevertheless.
    pub unfit_name: Option<UnfitName>,
    /// Plaintext bytes from the client that the program has taken.
    pub received: u64,
    /// Plaintext bytes from the program that were sent to the client.
    pub sent: u64,
    /// Whether the client sent nothing, or a PROXY header without addresses alone.
    pub silent: bool,
    /// Reason of the end.
    pub end: End,
}

impl Summary {
    /// Summary of a connection of which nothing is known but its end.
    pub fn unknown(end: End) -> Self {
        Self {
            host: None,
            handshake: None,
            unfit_name: None,
            received: 0,
            sent: 0,
            silent: false,
            end,
        }
    }
}

/// How the output of a command has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputEnd {
    /// The command has closed its output, or has exited: it has said all that it wanted to say.
    Whole,
    /// A signal has killed the command.
    Cut,
}

/// Transport of a connection to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// Unix-domain socket.
    Unix,
}

/// Reason why a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Both sides have closed the connection.
    Closed,
    /// The client vanished without `close_notify`.
    Truncated,
    /// The client has reset the connection.
    Reset,
    /// A time limit has passed: handshake, idle or linger.
    Timeout,
    /// The connection was over a limit, or descriptors had run out.
    Refused,
    /// The handshake has failed, for this reason.
    Handshake(String),
    /// The client has broken the TLS protocol after the handshake.
    Tls(String),
    /// The backend has reset its connection.
    BackendReset,
    /// A signal has killed the command. The monitor knows which one.
    Killed,
    /// The command did not start, or no backend could be reached. The monitor knows the reason.
    NoProgram,
}

/// Shortens a text to at most [`MAX_TEXT`] bytes.
pub fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

/// Encodes a message as a datagram. It is wiped when it is dropped, because it may hold ticket keys.
pub fn encode(message: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Only types that postcard cannot represent (unsized sequences) make this fail; no message has one.
    Zeroizing::new(postcard::to_stdvec(message).unwrap_or_default())
}

/// Decodes a datagram; `None`: it is not exactly one message.
pub fn decode<T: DeserializeOwned>(datagram: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(datagram) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}
