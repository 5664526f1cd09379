//! The external-PSK engine: TLS 1.3 and TLS 1.2 with pre-shared keys, the server's side.
//!
//! What it does:
//!
//! - TLS 1.3 (RFC 8446) with external keys after RFC 9257, without importers (RFC 9258): `psk_dhe_ke`, and
//!   `psk_ke` where the host allows it; HelloRetryRequest; KeyUpdate.
//! - TLS 1.2 (RFC 5246) with `ECDHE_PSK` (RFC 5489, 7905, 8442), and `PSK` (RFC 4279, 5487) where the
//!   host allows it; AEADs only; the extended master secret (RFC 7627).
//! - SNI, ALPN (RFC 7301), `record_size_limit` (RFC 8449).
//!
//! What it does not do, and why that is safe:
//!
//! - Certificates: rustls has them. A hello comes here only if it offers a key, or if the host has
//!   nothing else; the client proves that it has the key, and we prove it by our Finished.
//! - Resumption and tickets: the key itself authenticates each connection, and a full handshake costs little
//!   more. No session is kept, so none can be stolen or used at another host.
//! - Early data: it can be replayed (RFC 8446 §8), and a command could not tell. It is skipped.
//! - Renegotiation: it is refused, and the client is told so (RFC 5746).
//! - CBC suites, static or finite-field Diffie-Hellman, compression, client authentication by certificate,
//!   post-handshake authentication, heartbeats: never offered, so a client that sends them breaks the protocol.
//! - Descriptors, time and randomness: the caller has them. Random numbers and key exchanges come from the
//!   [`CryptoProvider`] in the [`Config`], so a test can fix both.
//!
//! The modules: `connection` gives each record to the current state. `tls13`, `traffic` and `tls12` are the
//! states; each consumes the message that it waits for. `offer` chooses from the client's offers.
//! `record`, `message` and `hello` are the wire format. `schedule` and `prf` derive the secrets.
#![forbid(unsafe_code)]

mod connection;
mod context;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hash;
mod hello;
mod keys;
mod message;
mod offer;
mod prf;
mod record;
mod schedule;
mod suites;
mod tls12;
mod tls13;
mod traffic;
mod transcript;
#[cfg(any(test, fuzzing))]
mod vectors;

use std::sync::Arc;

use rustls::NamedGroup;
use rustls::ProtocolVersion;
use rustls::crypto::{CryptoProvider, GetRandomFailed, SupportedKxGroup};
use zeroize::Zeroizing;

pub use connection::ServerConnection;
pub use error::Error;
pub use hash::Hash;
pub use keys::{InvalidKey, Key, Keys};
pub use suites::{suite_name, suites};

use super::hello::ClientHello;
use super::profile::{Profile, Version};

/// Configuration of a host.
pub struct Config {
    keys: Arc<Keys>,
    /// Most preferred first; empty: no ALPN.
    alpn: Vec<Vec<u8>>,
    modes: Modes,
    provider: Arc<CryptoProvider>,
    profile: Profile,
    /// Random keys used for unknown identities, one for each hash, so that a client with an unknown
    /// identity sees the same answer after the same time as a client with a wrong key.
    substitute_keys: [Key; 2],
}

/// Modes without (EC)DHE, and so without forward secrecy, that a host allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// `psk_ke` (RFC 8446 §4.2.9).
    pub psk_ke: bool,
    /// The suites `TLS_PSK_WITH_…` of TLS 1.2.
    pub plain_psk: bool,
}

impl Config {
    /// Creates the configuration of a host. `provider` has the randomness, and the key exchange groups in order of
    /// preference; its cipher suites are not used.
    ///
    /// Errors: the provider has no randomness.
    pub fn new(
        keys: Arc<Keys>,
        alpn: Vec<Vec<u8>>,
        modes: Modes,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, GetRandomFailed> {
        let substitute_key = |hash| {
            let mut secret = Zeroizing::new(vec![0; 32]);
            provider.secure_random.fill(&mut secret)?;
            Key::new(secret, hash).map_err(|_| GetRandomFailed)
        };
        let substitute_keys = [substitute_key(Hash::Sha256)?, substitute_key(Hash::Sha384)?];
        Ok(Self {
            keys,
            alpn,
            modes,
            provider,
            profile: Profile::default(),
            substitute_keys,
        })
    }

    /// The same configuration with a host's versions, suites and length of records. The groups stay those of the
    /// provider.
    #[must_use]
    pub fn with_profile(self, profile: Profile) -> Self {
        Self { profile, ..self }
    }

    /// Whether this engine handles a client at a host that also has certificates: if the client offers an identity
    /// that the host knows, or in TLS 1.2, where identities come later, a PSK suite.
    pub fn accepts(&self, hello: &ClientHello) -> bool {
        let mut offered = hello.cipher_suites.iter().map(|suite| u16::from(*suite));
        if hello.supported_versions.contains(&ProtocolVersion::TLSv1_3)
            && self.speaks(Version::Tls13)
        {
            let suites = self.suites(offered);
            let mut keys = hello
                .psk_identities
                .iter()
                .filter_map(|id| self.keys.get(id));
            keys.any(|key| suites.with(key.hash).is_some())
        } else {
            self.speaks(Version::Tls12)
                && offered.any(|id| suites::tls12(id).is_some_and(|suite| self.allows(suite)))
        }
    }

    /// Whether the host allows a suite.
    fn allows(&self, suite: &suites::Suite) -> bool {
        suite.is_of(self.modes) && self.profile.has_suite(suite.id)
    }

    /// Whether the host allows a version and a suite of it.
    fn speaks(&self, version: Version) -> bool {
        let suites: &[_] = match version {
            Version::Tls12 => &suites::TLS12,
            Version::Tls13 => &suites::TLS13,
        };
        version >= self.profile.min_version && suites.iter().any(|suite| self.allows(suite))
    }

    /// The suites of TLS 1.3 for a client with this offer.
    fn suites(&self, offered: impl Iterator<Item = u16> + Clone) -> offer::Suites {
        offer::Suites::of(&offered.filter(|id| self.profile.has_suite(*id)))
    }

    fn substitute_key(&self, hash: Hash) -> &Key {
        match (hash, &self.substitute_keys) {
            (Hash::Sha256, [key, _]) | (Hash::Sha384, [_, key]) => key,
        }
    }

    /// Our groups for a version, most preferred first.
    fn groups(
        &self,
        version: ProtocolVersion,
    ) -> impl Iterator<Item = &'static dyn SupportedKxGroup> {
        let groups = self.provider.kx_groups.iter().copied();
        groups.filter(move |group| group.usable_for_version(version))
    }

    /// `Random`
    fn random(&self) -> Result<[u8; 32], Error> {
        let mut random = [0; 32];
        let no_randomness = |_| Error::Internal("no randomness");
        self.provider
            .secure_random
            .fill(&mut random)
            .map_err(no_randomness)?;
        Ok(random)
    }
}

/// A group's `NamedGroup` value.
fn number(group: &dyn SupportedKxGroup) -> u16 {
    NamedGroup::into(group.name())
}
