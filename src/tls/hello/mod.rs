//! Parser of the ClientHello: its fields choose a host, and the host chooses a TLS implementation.
//!
//! The parser only reads the bytes. The caller keeps them, and gives them unchanged to rustls or to the PSK
//! engine.
#![forbid(unsafe_code)]

mod error;
pub(in crate::tls) mod message;
mod reader;
mod version;

pub use error::HelloError;
pub use reader::{HelloReader, MAX_RECORD_BYTES, Progress};

use rustls::{CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme};

use crate::types::{ServerName, UnfitName};

/// Fields of a ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2) for routing, log and trace.
///
/// The lists keep the client's order and unknown values (GREASE, RFC 8701). A list is empty if its extension is
/// absent. Together they are no larger than the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The `host_name` of `server_name` (RFC 6066 §3); an IP address there counts as none.
    pub server_name: Option<ServerName>,
    /// The `host_name` of `server_name`, if it is no DNS name: no host can have it.
    pub unfit_name: Option<UnfitName>,
    /// `application_layer_protocol_negotiation` (RFC 7301 §3.1).
    pub alpn: ProtocolNames,
    /// The highest version, for clients without `supported_versions`.
    pub legacy_version: ProtocolVersion,
    /// `supported_versions` (RFC 8446 §4.2.1).
    pub supported_versions: Vec<ProtocolVersion>,
    /// `cipher_suites`.
    pub cipher_suites: Vec<CipherSuite>,
    /// `supported_groups` (RFC 8446 §4.2.7).
    pub groups: Vec<NamedGroup>,
    /// The groups that `key_share` has a share for (RFC 8446 §4.2.8).
    pub key_shares: Vec<NamedGroup>,
    /// `signature_algorithms` (RFC 8446 §4.2.3).
    pub signature_schemes: Vec<SignatureScheme>,
    /// The identities that `pre_shared_key` offers (RFC 8446 §4.2.11): tickets or external PSKs.
    pub psk_identities: PskIdentities,
    /// Whether `session_ticket` holds a ticket (RFC 5077 §3.2).
    pub session_ticket: bool,
}

/// Protocol names of ALPN (RFC 7301 §3.1): any bytes, never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtocolNames {
    // The well-formed ProtocolNameList itself: one allocation, however many names there are.
    list: Vec<u8>,
}

impl ProtocolNames {
    /// The names, most preferred first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut left = super::wire::Input::new(&self.list);
        std::iter::from_fn(move || left.vector8().map(super::wire::Input::rest))
    }

    /// Whether the client offers this protocol.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.iter().any(|offered| offered == name)
    }

    /// Whether the client did not use ALPN.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Creates a list from names of 1 to 255 bytes, most preferred first. Other names are left out.
impl<'a> FromIterator<&'a [u8]> for ProtocolNames {
    fn from_iter<T: IntoIterator<Item = &'a [u8]>>(names: T) -> Self {
        let mut list = Vec::new();
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            if let Ok(length) = u8::try_from(name.len()) {
                list.push(length);
                list.extend_from_slice(name);
            }
        }
        Self { list }
    }
}

/// Identities of `pre_shared_key` (RFC 8446 §4.2.11): any bytes, never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PskIdentities {
    // The well-formed PskIdentity list itself, as in ProtocolNames.
    list: Vec<u8>,
}

impl PskIdentities {
    /// The identities, in the client's order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut left = super::wire::Input::new(&self.list);
        std::iter::from_fn(move || message::next_identity(&mut left))
    }

    /// Whether the client offers none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
