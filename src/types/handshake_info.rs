//! Facts that a TLS handshake establishes about a connection.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::client_certificate::ClientCertificate;
use super::psk_identity::PskIdentity;
use super::server_name::ServerName;

/// Facts about a connection that its handshake established so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeInfo {
    /// Server name that the client asked for (RFC 6066 §3).
    pub server_name: Option<ServerName>,
    /// The protocol agreed on (RFC 7301).
    pub alpn: Option<String>,
    /// `ProtocolVersion` (RFC 8446 §4.2.1).
    pub version: Option<u16>,
    /// `CipherSuite` (RFC 8446 §B.4).
    pub suite: Option<u16>,
    /// `NamedGroup` (RFC 8446 §4.2.7).
    pub group: Option<u16>,
    /// Whether a session was resumed.
    pub resumed: Option<bool>,
    /// Identity of the pre-shared key that the client has proved to have (RFC 8446 §4.2.11, RFC 4279).
    pub psk_identity: Option<PskIdentity>,
    /// Certificate of the client, of this session or of the one that is resumed.
    pub client: Option<Box<ClientCertificate>>,
}
