//! The identity of a pre-shared key.
#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a key (RFC 4279 §2, RFC 8446 §4.2.11): 1 to 256 bytes, any bytes.
///
/// `Display` is for logs: it escapes everything but printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct PskIdentity(Vec<u8>);

/// An identity that does not have 1 to 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPskIdentity;

impl PskIdentity {
    /// Longest identity, in bytes.
    pub const MAX: usize = 256;

    /// The identity as the value of a variable; `None`: it is not text, or has control characters.
    pub fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        (!text.contains(char::is_control)).then_some(text)
    }
}

impl TryFrom<Vec<u8>> for PskIdentity {
    type Error = InvalidPskIdentity;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidPskIdentity> {
        match bytes.len() {
            1..=Self::MAX => Ok(Self(bytes)),
            _ => Err(InvalidPskIdentity),
        }
    }
}

impl From<PskIdentity> for Vec<u8> {
    fn from(identity: PskIdentity) -> Self {
        identity.0
    }
}

impl Borrow<[u8]> for PskIdentity {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PskIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Display for InvalidPskIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an identity has 1 to 256 bytes")
    }
}

impl std::error::Error for InvalidPskIdentity {}
