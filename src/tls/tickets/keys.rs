//! Keys of session tickets, as the monitor makes them and sends them to the engines.
#![forbid(unsafe_code)]

use std::fmt;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Length of the name of a key, in bytes.
pub(super) const NAME_LEN: usize = 16;

/// Bytes of a key that an operator gives.
pub const SECRET_LEN: usize = 32;

/// The keys of all tickets: the first seals them, and all of them open them.
///
/// They can be serialized, for the monitor's message to its engines and for nothing else; the
/// buffer of that message is as secret as the keys.
#[derive(Clone, Serialize, Deserialize)]
pub struct TicketKeys {
    pub(super) first: TicketKey,
    pub(super) others: Vec<TicketKey>,
}

impl TicketKeys {
    /// New random keys. Errors: AWS-LC has no randomness to give.
    pub fn generate() -> Result<Self, Unspecified> {
        Ok(Self {
            first: TicketKey::generate()?,
            others: Vec::new(),
        })
    }

    /// Keys that an operator gives, the one that seals tickets first.
    ///
    /// Errors: AWS-LC's, or there is no key at all.
    pub fn shared(secrets: &[Zeroizing<[u8; SECRET_LEN]>]) -> Result<Self, Unspecified> {
        let (first, rest) = secrets.split_first().ok_or(Unspecified)?;
        // All the room from the start: a vector that grew would leave a copy behind.
        let mut others = Vec::with_capacity(rest.len());
        for secret in rest {
            others.push(TicketKey::shared(secret)?);
        }
        Ok(Self {
            first: TicketKey::shared(first)?,
            others,
        })
    }

    /// Makes tickets with a new key from now on. The last key still opens its tickets, the one
    /// before it is wiped. Errors: as for [`TicketKeys::generate`], and nothing has changed.
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
    /// Tells the keys apart; public.
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

    /// The same from the same secret everywhere (RFC 5869); the name says nothing of the key.
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

/// How much of HKDF's output is wanted.
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
