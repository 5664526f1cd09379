//! Stages of a TLS session.
#![forbid(unsafe_code)]

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The handshake goes on.
    Handshake,
    /// Plaintext flows.
    Traffic,
    /// The peer has sent `close_notify`; we may still send.
    PeerClosed,
}
