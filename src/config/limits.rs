//! `[limits]`: limits per source and for all connections.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Limits per source and for all connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of open connections, plus commands that outlive their connections.
    pub connections: usize,
    /// The same per source, which is an IPv4 address or an IPv6 /64.
    pub per_source: PerSource,
    /// Maximum number of new connections per second and source; `None`: no limit.
    pub per_source_rate: Option<u32>,
    /// Maximum time from accept to the end of the handshake.
    pub handshake: Duration,
    /// Maximum time without a byte in either direction; `None`: no limit.
    pub idle: Option<Duration>,
    /// Maximum time after one side has ended. It starts again whenever the other side sends a byte.
    pub linger: Duration,
    /// When TCP probes an idle client.
    pub keep_alive: KeepAlive,
    /// Send buffer of a client's socket in bytes (`SO_SNDBUF`); `None`: sized by the kernel.
    pub send_buffer: Option<usize>,
    /// Receive buffer of a client's socket in bytes (`SO_RCVBUF`); `None`: sized by the kernel.
    pub receive_buffer: Option<usize>,
}

/// Maximum number of open connections of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerSource {
    /// A quarter of those of all sources: no source shuts out the others, and an application server with a pool
    /// of connections is not cut.
    Quarter,
    /// This number.
    AtMost(usize),
    /// No limit.
    Unlimited,
}

impl PerSource {
    /// The number, where all sources together have `connections`; `None`: no limit.
    pub fn most(self, connections: usize) -> Option<usize> {
        match self {
            Self::Quarter => Some((connections / 4).max(1)),
            Self::AtMost(most) => Some(most),
            Self::Unlimited => None,
        }
    }
}

/// When TCP probes an idle client (keep-alive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// After the time that the system has set (`net.ipv4.tcp_keepalive_time`, by default two hours).
    System,
    /// Never.
    Off,
    /// After this time, in whole seconds.
    After(Duration),
}

impl Limits {
    /// Default limits, without the one per source, because no option could raise it.
    pub(super) fn without_table() -> Self {
        Self {
            per_source: PerSource::Unlimited,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            per_source: PerSource::Quarter,
            per_source_rate: None,
            handshake: Duration::from_secs(10),
            idle: None,
            linger: Duration::from_secs(60),
            keep_alive: KeepAlive::System,
            send_buffer: None,
            receive_buffer: None,
        }
    }
}
