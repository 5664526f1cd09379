//! Server names: DNS names as SNI carries them.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::Ipv4Addr;

/// A DNS host name in A-labels: lower case, without a trailing dot (RFC 6066 §3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerName(String);

/// Bytes that are no DNS host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidName;

impl ServerName {
    /// The name in `bytes`, with or without its trailing dot.
    ///
    /// Errors: [`InvalidName`] unless it has 1 to 253 bytes in labels of 1 to 63 letters, digits,
    /// `-` and `_`; or when it is an IP address, which is no host name (RFC 6066 §3).
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidName> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        let name = str::from_utf8(bytes).map_err(|_| InvalidName)?;
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(label) || name.parse::<Ipv4Addr>().is_ok() {
            return Err(InvalidName);
        }
        Ok(Self(name.to_ascii_lowercase()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a host name")
    }
}

impl std::error::Error for InvalidName {}
