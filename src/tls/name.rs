//! Server names: DNS names as SNI carries them.
#![forbid(unsafe_code)]

/// A DNS host name in A-labels: lower case, without a trailing dot (RFC 6066 §3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(String);

impl ServerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
