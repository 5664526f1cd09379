//! Pre-shared keys, by the identities that clients offer.
#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::schedule::EarlySecret;

/// The name of a key (RFC 4279 §2, RFC 8446 §4.2.11): 1 to 256 bytes, any bytes.
///
/// `Display` is for logs: what is not printable ASCII, is escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Identity(Vec<u8>);

/// No identity of 1 to 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidIdentity;

impl Identity {
    /// The longest identity that a table can have, in bytes.
    pub const MAX: usize = 256;

    /// As a variable may have it: text without control characters.
    pub fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        (!text.contains(char::is_control)).then_some(text)
    }
}

impl TryFrom<Vec<u8>> for Identity {
    type Error = InvalidIdentity;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidIdentity> {
        match bytes.len() {
            1..=Self::MAX => Ok(Self(bytes)),
            _ => Err(InvalidIdentity),
        }
    }
}

impl From<Identity> for Vec<u8> {
    fn from(identity: Identity) -> Self {
        identity.0
    }
}

impl Borrow<[u8]> for Identity {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Display for InvalidIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an identity has 1 to 256 bytes")
    }
}

impl std::error::Error for InvalidIdentity {}

/// A pre-shared key, and the one hash that it is used with: "a PSK is associated with a […] Hash
/// algorithm" (RFC 8446 §4.2.11).
pub struct Key {
    pub(super) secret: Zeroizing<Vec<u8>>,
    pub(super) hash: Hash,
    pub(super) early: EarlySecret,
}

/// The hash that a key is used with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256: "If no hash is defined, SHA-256 MUST be used" (RFC 8446 §4.2.11).
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
}

/// A secret that has not 16 to 1024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl Key {
    /// A key of 16 to 1024 bytes. Errors: it has more, or fewer.
    pub fn new(secret: Zeroizing<Vec<u8>>, hash: Hash) -> Result<Self, InvalidKey> {
        if !(16..=1024).contains(&secret.len()) {
            return Err(InvalidKey);
        }
        let early = EarlySecret::new(&secret, hash).map_err(|_| InvalidKey)?;
        Ok(Self {
            secret,
            hash,
            early,
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key has 16 to 1024 bytes")
    }
}

impl std::error::Error for InvalidKey {}

/// The keys of one host.
pub type Keys = HashMap<Identity, Key>;
