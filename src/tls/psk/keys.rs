//! Pre-shared keys, by the identities that clients offer.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;

use zeroize::Zeroizing;

use super::hash::Hash;
use super::schedule::EarlySecret;
use crate::types::PskIdentity;

/// A pre-shared key and its hash: "a PSK is associated with a […] Hash algorithm" (RFC 8446 §4.2.11).
pub struct Key {
    pub(super) secret: Zeroizing<Vec<u8>>,
    pub(super) hash: Hash,
    pub(super) early: EarlySecret,
}

/// Error: the secret does not have 16 to 1024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey;

impl Key {
    /// Creates a key from 16 to 1024 bytes. Errors: there are more or fewer.
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
        f.write_str(
            "a key has 16 to 1024 bytes; whoever records one handshake can find out a shorter one by trial",
        )
    }
}

impl std::error::Error for InvalidKey {}

/// The keys of one host.
pub type Keys = HashMap<PskIdentity, Key>;
