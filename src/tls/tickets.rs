//! Session tickets (RFC 8446 §4.6.1, RFC 5077). All engine processes can open them, but only for the host that
//! made them.
//!
//! The monitor makes the keys, or reads the operator's, and sends them to the engines. Machines with the same
//! keys of the operator open each other's tickets. A ticket is
//! `key name [16] ‖ nonce [12] ‖ sealed (time [8] ‖ state) ‖ tag [16]`.
#![forbid(unsafe_code)]

mod keys;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use keys::{NAME_LEN, TicketKey};
pub use keys::{SECRET_LEN, TicketKeys};

/// Time between two calls of [`TicketKeys::rotate`].
///
/// A key seals tickets for one such period and opens them for two, so that a ticket made just before a rotation
/// still lives its whole lifetime. An attacker who steals the keys can decrypt recorded connections of two
/// periods, because a TLS 1.2 ticket holds the master secret of the connection that carried it. So the period is
/// hours and not days.
pub const ROTATION: Duration = Duration::from_secs(6 * 60 * 60);

/// Lifetime of a ticket, as the client is told it; an older ticket is not opened, whatever its key.
const LIFETIME: Duration = ROTATION;

/// The keys with which an engine seals and opens tickets. Clones share them.
#[derive(Clone)]
pub struct TicketKeyRing {
    // rustls needs its ticketers to be `Sync`, hence the lock. A process has one thread.
    keys: Arc<RwLock<Keys>>,
}

impl TicketKeyRing {
    /// Errors: AWS-LC refuses a key.
    pub fn new(keys: &TicketKeys) -> Result<Self, Unspecified> {
        Ok(Self {
            keys: Arc::new(RwLock::new(Keys::new(keys)?)),
        })
    }

    /// Replaces the keys of all ticketers made from this ring. Errors: AWS-LC refuses a key, and nothing has
    /// changed.
    pub fn set(&self, keys: &TicketKeys) -> Result<(), Unspecified> {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Keys::new(keys)?;
        Ok(())
    }

    /// Creates the ticketer of one virtual host. `binding`: a digest that identifies the host.
    ///
    /// "the server MUST NOT accept the request to resume the session if the `server_name` extension
    /// contains a different name" (RFC 6066 §3): no other host opens this host's tickets, because
    /// the binding is authenticated with each.
    pub fn ticketer(&self, binding: [u8; 32]) -> Arc<dyn ProducesTickets> {
        Arc::new(HostTicketer {
            ring: self.clone(),
            binding,
        })
    }
}

impl fmt::Debug for TicketKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeyRing").finish_non_exhaustive()
    }
}

/// [`TicketKeys`], ready for use.
struct Keys {
    first: Key,
    others: Vec<Key>,
}

impl Keys {
    fn new(keys: &TicketKeys) -> Result<Self, Unspecified> {
        Ok(Self {
            first: Key::new(&keys.first)?,
            others: keys.others.iter().map(Key::new).collect::<Result<_, _>>()?,
        })
    }
}

/// Nonces are random, and all engines draw them for the same key. AES-GCM-SIV (RFC 8452) allows for that: a
/// repeated nonce only reveals whether two tickets are the same.
struct Key {
    name: [u8; NAME_LEN],
    aead: RandomizedNonceKey,
}

impl Key {
    fn new(key: &TicketKey) -> Result<Self, Unspecified> {
        Ok(Self {
            name: key.name,
            aead: RandomizedNonceKey::new(&AES_256_GCM_SIV, &key.key)?,
        })
    }

    fn aad(&self, binding: &[u8; 32]) -> Aad<Vec<u8>> {
        Aad::from([&self.name[..], binding].concat())
    }

    /// `now`: seconds since 1970.
    fn seal(&self, binding: &[u8; 32], now: u64, state: &[u8]) -> Option<Vec<u8>> {
        let length = TIME_LEN + state.len() + AES_256_GCM_SIV.tag_len();
        let mut sealed = Vec::with_capacity(length);
        sealed.extend_from_slice(&now.to_be_bytes());
        sealed.extend_from_slice(state);
        let nonce = self
            .aead
            .seal_in_place_append_tag(self.aad(binding), &mut sealed)
            .ok()?;
        Some([&self.name[..], nonce.as_ref(), &sealed].concat())
    }

    /// Opens a ticket. Returns the time when it was sealed, and the state.
    fn open(
        &self,
        binding: &[u8; 32],
        nonce: &[u8; NONCE_LEN],
        sealed: &[u8],
    ) -> Option<(u64, Vec<u8>)> {
        let mut opened = Zeroizing::new(sealed.to_vec());
        let opened = self
            .aead
            .open_in_place(Nonce::from(nonce), self.aad(binding), &mut opened)
            .ok()?;
        let (time, state) = opened.split_first_chunk::<TIME_LEN>()?;
        Some((u64::from_be_bytes(*time), state.to_vec()))
    }
}

#[derive(Debug)]
struct HostTicketer {
    ring: TicketKeyRing,
    binding: [u8; 32],
}

impl ProducesTickets for HostTicketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        let keys = self
            .ring
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        keys.first.seal(&self.binding, now()?, state)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk()?;
        let (nonce, sealed) = rest.split_first_chunk()?;
        let keys = self
            .ring
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let (sealed_at, state) = std::iter::once(&keys.first)
            .chain(&keys.others)
            .find(|key| key.name == *name)?
            .open(&self.binding, nonce, sealed)?;
        is_fresh(sealed_at, now()?).then_some(state)
    }
}

/// Whether a ticket may still be used. A ticket from the future comes from a machine whose clock is ahead of
/// ours; the difference is limited, too.
fn is_fresh(sealed_at: u64, now: u64) -> bool {
    now.abs_diff(sealed_at) < LIFETIME.as_secs()
}

/// Seconds since 1970.
fn now() -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.as_secs())
}

const TIME_LEN: usize = 8;
const NONCE_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: [u8; 32] = [1; 32];
    const OTHER_HOST: [u8; 32] = [2; 32];

    fn ring(keys: &TicketKeys) -> TicketKeyRing {
        TicketKeyRing::new(keys).unwrap()
    }

    #[test]
    fn a_ticket_opens_on_another_engine() {
        let keys = TicketKeys::generate().unwrap();
        let sent = postcard::to_allocvec(&keys).unwrap();
        let received: TicketKeys = postcard::from_bytes(&sent).unwrap();
        let ticket = ring(&keys).ticketer(HOST).encrypt(b"state").unwrap();
        let opened = ring(&received).ticketer(HOST).decrypt(&ticket);
        assert_eq!(opened.unwrap(), b"state");
    }

    #[test]
    fn a_ticket_does_not_open_at_another_host() {
        let ring = ring(&TicketKeys::generate().unwrap());
        let ticket = ring.ticketer(HOST).encrypt(b"state").unwrap();
        assert_eq!(ring.ticketer(OTHER_HOST).decrypt(&ticket), None);
    }

    #[test]
    fn a_ticket_outlives_one_rotation_and_not_two() {
        let mut keys = TicketKeys::generate().unwrap();
        let ring = ring(&keys);
        let ticketer = ring.ticketer(HOST);
        let ticket = ticketer.encrypt(b"state").unwrap();

        keys.rotate().unwrap();
        ring.set(&keys).unwrap();
        assert_eq!(ticketer.decrypt(&ticket).unwrap(), b"state");
        let newer = ticketer.encrypt(b"newer").unwrap();

        keys.rotate().unwrap();
        ring.set(&keys).unwrap();
        assert_eq!(ticketer.decrypt(&ticket), None);
        assert_eq!(ticketer.decrypt(&newer).unwrap(), b"newer");
    }

    #[test]
    fn a_damaged_ticket_does_not_open() {
        let ticketer = ring(&TicketKeys::generate().unwrap()).ticketer(HOST);
        let ticket = ticketer.encrypt(b"state").unwrap();
        assert_eq!(ticket.len(), 16 + 12 + 8 + 5 + 16);
        for end in 0..ticket.len() {
            assert_eq!(ticketer.decrypt(&ticket[..end]), None);
        }
        for bit in 0..8 * ticket.len() {
            let mut flipped = ticket.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ticketer.decrypt(&flipped), None);
        }
    }

    #[test]
    fn two_tickets_of_one_session_share_only_the_name_of_their_key() {
        let ticketer = ring(&TicketKeys::generate().unwrap()).ticketer(HOST);
        let [one, two] = [(); 2].map(|()| ticketer.encrypt(b"state").unwrap());
        assert_eq!(one[..16], two[..16]);
        assert_ne!(one[16..28], two[16..28]);
        assert_ne!(one[28..], two[28..]);
    }

    fn secrets(bytes: &[u8]) -> Vec<Zeroizing<[u8; SECRET_LEN]>> {
        let secret = |byte| Zeroizing::new([byte; SECRET_LEN]);
        bytes.iter().copied().map(secret).collect()
    }

    #[test]
    fn the_first_of_the_operator_s_keys_seals_and_all_of_them_open() {
        let keys = |bytes: &[u8]| ring(&TicketKeys::shared(&secrets(bytes)).unwrap());
        let seals = |bytes: &[u8]| keys(bytes).ticketer(HOST).encrypt(b"state").unwrap();
        let opens = |bytes: &[u8], ticket: &[u8]| keys(bytes).ticketer(HOST).decrypt(ticket);
        let state = Some(b"state".to_vec());
        assert_eq!(opens(&[1], &seals(&[1])), state);
        assert_eq!(opens(&[2, 1], &seals(&[1])), state);
        assert_eq!(opens(&[2, 3, 1], &seals(&[1, 2])), state);
        assert_eq!(opens(&[2], &seals(&[1, 2])), None);
        assert!(TicketKeys::shared(&[]).is_err());
    }

    #[test]
    fn a_ticket_is_not_opened_after_its_time() {
        let now = now().unwrap();
        let ring = ring(&TicketKeys::generate().unwrap());
        let ticket = |sealed_at| {
            let keys = ring.keys.read().unwrap();
            keys.first.seal(&HOST, sealed_at, b"state").unwrap()
        };
        let opens = |sealed_at| ring.ticketer(HOST).decrypt(&ticket(sealed_at)).is_some();
        let lifetime = LIFETIME.as_secs();
        assert!(opens(now) && opens(now - lifetime + 60) && opens(now + 60));
        assert!(!opens(now - lifetime) && !opens(now + lifetime + 60) && !opens(u64::MAX));
    }

    #[test]
    fn keys_are_not_shown() {
        let keys = TicketKeys::generate().unwrap();
        let ring = ring(&keys);
        assert_eq!(format!("{keys:?}"), "TicketKeys { .. }");
        assert_eq!(format!("{ring:?}"), "TicketKeyRing { .. }");
    }
}
