//! Keys of session tickets, which the monitor makes, or derives from an operator's, and sends to the engines.
#![forbid(unsafe_code)]

use std::fmt;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Length of the name of a key, in bytes.
pub(super) const NAME_LEN: usize = 16;

/// Length of an operator's key, in bytes.
pub const SECRET_LEN: usize = 32;

/// The keys of all tickets: the first seals them, and all of them open them.
///
/// They are serialized for the monitor's message to the engines only. The buffer of that message is as secret as
/// the keys.
#[derive(Clone, Serialize, Deserialize)]
pub struct TicketKeys {
    pub(super) first: TicketKey,
    pub(super) others: Vec<TicketKey>,
}

impl TicketKeys {
    /// Makes new random keys. Errors: AWS-LC has no randomness.
    pub fn generate() -> Result<Self, Unspecified> {
        Ok(Self {
            first: TicketKey::generate()?,
            others: Vec::new(),
        })
    }

    /// Creates the keys from an operator's. The first one seals tickets.
    ///
    /// Errors: AWS-LC's, or there is no key.
    pub fn shared(secrets: &[Zeroizing<[u8; SECRET_LEN]>]) -> Result<Self, Unspecified> {
        let (first, rest) = secrets.split_first().ok_or(Unspecified)?;
        // The full capacity from the start: a vector that grows would leave a copy behind.
        let mut others = Vec::with_capacity(rest.len());
        for secret in rest {
            others.push(TicketKey::shared(secret)?);
        }
        Ok(Self {
            first: TicketKey::shared(first)?,
            others,
        })
    }

    /// Adds a new key, which seals tickets from now on. The previous key still opens its tickets; the one before it
    /// is wiped. Errors: as for [`TicketKeys::generate`]; nothing has changed then.
    pub fn rotate(&mut self) -> Result<(), Unspecified> {
        let previous = std::mem::replace(&mut self.first, TicketKey::generate()?);
        self.others = vec![previous];
        Ok(())
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").finish_non_exhaustive()
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct TicketKey {
    /// Name of the key in a ticket; public.
    pub(super) name: [u8; NAME_LEN],
    pub(super) key: [u8; 32],
}

impl TicketKey {
    fn generate() -> Result<Self, Unspecified> {
        let mut new = Self {
            name: [0; NAME_LEN],
            key: [0; 32],
        };
        rand::fill(&mut new.name)?;
        rand::fill(&mut new.key)?;
        Ok(new)
    }

    /// Derives name and key from a secret with HKDF (RFC 5869), the same on every machine. The name reveals nothing
    /// of the key.
    fn shared(secret: &[u8; SECRET_LEN]) -> Result<Self, Unspecified> {
        let secret = Salt::new(HKDF_SHA256, b"tlssrv tickets").extract(secret);
        let mut new = Self {
            name: [0; NAME_LEN],
            key: [0; 32],
        };
        let name = secret.expand(&[b"name"], Bytes(NAME_LEN))?;
        name.fill(&mut new.name)?;
        let key = secret.expand(&[b"key"], Bytes(new.key.len()))?;
        key.fill(&mut new.key)?;
        Ok(new)
    }
}

/// Length of HKDF's output, in bytes.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl Drop for TicketKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_key_reveals_no_part_of_the_key() {
        let key = TicketKey::shared(&[7; 32]).unwrap();
        assert_ne!(key.name, key.key[..NAME_LEN]);
        assert_ne!(key.key, [7; 32]);
    }
}
