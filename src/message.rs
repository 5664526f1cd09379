//! What monitor and engine say to each other: one datagram a message, in postcard's encoding.
//!
//! The monitor takes every message of an engine as hostile: it is decoded strictly, and an engine
//! that breaks the protocol is ended.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::tls::tickets::TicketKeys;
use crate::types::{ConnectionId, HandshakeInfo, HostId, ListenerId, Severity, Stdio};

/// The longest text that an engine sends, in bytes: a reason, a line for the log.
pub const MAX_TEXT: usize = 4096;

/// Monitor → engine.
#[derive(Serialize, Deserialize)]
pub enum ToEngine {
    /// A client has connected. Carries its socket.
    Accepted {
        /// The connection from now on.
        id: ConnectionId,
        /// The listener that accepted it.
        listener: ListenerId,
    },
    /// A host has room for a client that has chosen it, or we for one whose PROXY header has come.
    Admitted {
        /// Which connection.
        id: ConnectionId,
    },
    /// The plaintext side is ready. Carries a socket, or two pipes: one to read, one to write.
    Opened {
        /// Which connection.
        id: ConnectionId,
        /// Which of the two it is.
        stdio: Stdio,
    },
    /// A backend has accepted. Carries the socket.
    Connected {
        /// Which connection.
        id: ConnectionId,
        /// What kind of socket.
        transport: Transport,
    },
    /// There is no plaintext side, or no room at the host.
    Refused {
        /// Which connection.
        id: ConnectionId,
    },
    /// Session ticket keys from now on. An engine is born with those of its day.
    TicketKeys(TicketKeys),
    /// Somebody wants to know how much each connection has moved: [`ToMonitor::Traffic`] and then
    /// [`ToMonitor::TrafficReported`] is the answer.
    ReportTraffic,
    /// No more connections come; leave when the last one has ended.
    Drain,
}

/// Engine → monitor.
#[derive(Serialize, Deserialize)]
pub enum ToMonitor {
    /// The engine has given up what it had to, and can serve.
    Ready,
    /// The PROXY header of a client has come.
    ProxyHeader {
        /// Which connection.
        id: ConnectionId,
        /// The client's address and the one that it connected to; `None`: it says nothing of them.
        addresses: Option<(SocketAddr, SocketAddr)>,
    },
    /// A client has chosen a host that has a limit of its own: may it have it?
    HostChosen {
        /// Which connection.
        id: ConnectionId,
        /// The host.
        host: HostId,
    },
    /// A handshake is complete: the host's program is wanted.
    Open {
        /// Which connection.
        id: ConnectionId,
        /// Its host.
        host: HostId,
        /// What the handshake found out.
        handshake: HandshakeInfo,
        /// From accept to the end of the handshake, in microseconds.
        handshake_us: u32,
    },
    /// The client has vanished, from a host that wants the command killed then.
    Kill {
        /// Which connection.
        id: ConnectionId,
    },
    /// A connection has ended, and its socket is closed.
    Closed {
        /// Which connection.
        id: ConnectionId,
        /// How it went.
        summary: Summary,
    },
    /// How much connections have moved so far; of many connections it takes several.
    Traffic(Vec<Traffic>),
    /// Each connection has been in a [`ToMonitor::Traffic`] since the monitor has asked.
    TrafficReported,
    /// Something for the log.
    Log {
        /// How much it matters.
        severity: Severity,
        /// The connection that it is about.
        id: Option<ConnectionId>,
        /// One line.
        line: String,
    },
}

/// How much a connection has moved so far, as its [`Summary`] will count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Which connection.
    pub id: ConnectionId,
    /// Plaintext bytes from the client that the command's side took.
    pub received: u64,
    /// Plaintext bytes from the command that went to the client.
    pub sent: u64,
}

/// The most of them in one message: a number takes up to ten bytes.
pub const TRAFFIC_PER_MESSAGE: usize = 500;

/// How a connection went.
#[derive(Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The host, where one was chosen.
    pub host: Option<HostId>,
    /// What is known of the client, unless [`ToMonitor::Open`] has said it.
    pub handshake: Option<HandshakeInfo>,
    /// Plaintext bytes from the client that the command's side took.
    pub received: u64,
    /// Plaintext bytes from the command that went to the client.
    pub sent: u64,
    /// How it ended.
    pub end: End,
}

impl Summary {
    /// Of a connection that nothing is known of.
    pub fn unknown(end: End) -> Self {
        Self {
            host: None,
            handshake: None,
            received: 0,
            sent: 0,
            end,
        }
    }
}

/// How a backend was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// By TCP.
    Tcp,
    /// Over a Unix-domain socket.
    Unix,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// In good order.
    Closed,
    /// The client vanished without `close_notify`.
    Truncated,
    /// The client's side broke.
    Reset,
    /// A deadline passed: handshake, idle or linger.
    Timeout,
    /// It was never served, for a reason of ours.
    Refused,
    /// The handshake failed; whose fault, and what.
    Handshake(String),
    /// The client broke the protocol after the handshake.
    Tls(String),
    /// The backend broke its connection.
    Backend,
    /// The program did not start, or there was no backend; the monitor knows why.
    Launch,
}

/// A text of at most [`MAX_TEXT`] bytes: the front of this one.
pub fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

/// A message as a datagram. It may hold ticket keys, so it is wiped in the end.
pub fn encode(message: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Only types that postcard cannot represent (unsized sequences) make it fail; there are none here.
    Zeroizing::new(postcard::to_stdvec(message).unwrap_or_default())
}

/// A datagram as a message; `None`: it is not one, wholly.
pub fn decode<T: DeserializeOwned>(datagram: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(datagram) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}
