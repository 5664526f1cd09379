//! `[limits]`: what one client, and all of them, may use.
#![forbid(unsafe_code)]

use std::time::Duration;

/// What one client, and all of them, may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at a time, commands that outlive theirs included.
    pub connections: usize,
    /// Those of one IPv4 address, or of one /64 of IPv6; `None`: no limit.
    pub per_source: Option<usize>,
    /// New ones in a second from there; `None`: no limit.
    pub per_source_rate: Option<u32>,
    /// From accept to the end of the handshake.
    pub handshake: Duration,
    /// Without a byte either way; `None`: no limit.
    pub idle: Option<Duration>,
    /// After one side has ended; starts anew whenever the other side still moves.
    pub linger: Duration,
    /// When a client that says nothing is asked whether it is still there.
    pub keep_alive: KeepAlive,
    /// Bytes that the kernel keeps for a client (`SO_SNDBUF`); `None`: as many as it finds good.
    pub send_buffer: Option<usize>,
    /// Bytes that it keeps of a client (`SO_RCVBUF`); `None`: as many as it finds good.
    pub receive_buffer: Option<usize>,
}

/// When TCP asks a client that says nothing whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// As the system does (`net.ipv4.tcp_keepalive_time`, two hours).
    System,
    /// Never.
    Off,
    /// After so long a time, in whole seconds.
    After(Duration),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            per_source: Some(64),
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
