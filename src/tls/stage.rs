//! Stages of a TLS session.
#![forbid(unsafe_code)]

/// Stage of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The handshake is not complete.
    Handshake,
    /// Plaintext flows.
    Traffic,
    /// The peer has sent `close_notify`; we may still send.
    PeerClosed,
}
