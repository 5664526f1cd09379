//! Choice of key, suite and key exchange from a client's offers (RFC 8446 §4.1.1).
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use rustls::crypto::SupportedKxGroup;
use rustls::{AlertDescription, ProtocolVersion};

use super::error::{Error, handshake_failure, illegal_parameter};
use super::hello::{ClientHello, KeyShare};
use super::schedule::EarlySecret;
use super::suites::{self, Aead, Suite};
use super::transcript::Transcript;
use super::{Config, Hash, Key, number};
use crate::types::PskIdentity;

// PskKeyExchangeMode (RFC 8446 §4.2.9)
const PSK_KE: u8 = 0;
const PSK_DHE_KE: u8 = 1;

/// The key exchange of a handshake.
pub(super) enum Exchange<'a> {
    /// With this share of the client.
    Share(&'static dyn SupportedKxGroup, &'a [u8]),
    /// With a share that the client is still to send.
    Retry(&'static dyn SupportedKxGroup),
    /// None: `psk_ke`.
    None,
}

pub(super) fn choose_exchange<'a>(
    hello: &ClientHello<'a>,
    config: &Config,
) -> Result<Exchange<'a>, Error> {
    // "If clients offer "pre_shared_key" without a "psk_key_exchange_modes" extension, servers MUST
    // abort the handshake." (RFC 8446 §4.2.9)
    let modes = match (hello.offered, hello.psk_modes) {
        (None, _) => return Err(handshake_failure("no pre-shared key offered")),
        (_, None) => return Err(missing_extension("no psk_key_exchange_modes")),
        (_, Some(modes)) => modes,
    };
    let psk_ke = modes.contains(&PSK_KE) && config.modes.psk_ke;
    if modes.contains(&PSK_DHE_KE) {
        match &hello.shares {
            Some(shares) if !hello.groups.is_empty() => {
                check_shares(shares, &hello.groups)?;
                let groups = || config.groups(ProtocolVersion::TLSv1_3);
                let shared = groups().find_map(|group| {
                    let share = shares.iter().find(|share| share.group == number(group))?;
                    Some(Exchange::Share(group, share.key_exchange))
                });
                let offered = || groups().find(|group| hello.groups.contains(&number(*group)));
                if let Some(exchange) = shared.or_else(|| offered().map(Exchange::Retry)) {
                    return Ok(exchange);
                }
            }
            _ if psk_ke => {}
            _ => return Err(missing_extension("psk_dhe_ke without groups or key shares")),
        }
    }
    match psk_ke {
        true => Ok(Exchange::None),
        false if modes.contains(&PSK_DHE_KE) => Err(handshake_failure("no group in common")),
        false => Err(handshake_failure("no PSK key exchange mode in common")),
    }
}

/// "Clients MUST NOT offer multiple KeyShareEntry values for the same group. Clients MUST NOT offer any
/// KeyShareEntry values for groups not listed in the client's `supported_groups` extension." (RFC 8446
/// §4.2.8)
fn check_shares(shares: &[KeyShare<'_>], groups: &[u16]) -> Result<(), Error> {
    let mut left: BTreeSet<u16> = groups.iter().copied().collect();
    match shares.iter().all(|share| left.remove(&share.group)) {
        true => Ok(()),
        false => {
            let what = "a key share for a group that is not offered, or for one twice";
            Err(illegal_parameter(what))
        }
    }
}

/// The suite for each hash of a key.
#[derive(Clone, Copy)]
pub(super) struct Suites {
    sha256: Option<&'static Suite>,
    sha384: Option<&'static Suite>,
}

impl Suites {
    /// Chooses the client's first suite with each hash. A client with AES in hardware puts an AES suite first, and
    /// should not get ChaCha20 because the key has another hash.
    pub(super) fn of(offered: &(impl Iterator<Item = u16> + Clone)) -> Self {
        let offered = || offered.clone().filter_map(suites::tls13);
        let sha256 = || offered().filter(|suite| suite.hash == Hash::Sha256);
        let is_aes = |suite: &&Suite| suite.aead != Aead::ChaCha20Poly1305;
        let aes = || sha256().find(is_aes);
        let sha384 = offered().find(|suite| suite.hash == Hash::Sha384);
        let prefers_aes = offered().next().as_ref().is_some_and(is_aes);
        Self {
            sha256: aes().filter(|_| prefers_aes).or_else(|| sha256().next()),
            sha384,
        }
    }

    /// Keeps the suite that was chosen before, if the client still offers it.
    pub(super) fn only(suite: &'static Suite, hello: &ClientHello<'_>) -> Self {
        let suite = Some(suite).filter(|suite| hello.suites.contains(&suite.id));
        let with = |hash| suite.filter(|suite| suite.hash == hash);
        Self {
            sha256: with(Hash::Sha256),
            sha384: with(Hash::Sha384),
        }
    }

    /// The suite for keys of this hash.
    pub(super) fn with(self, hash: Hash) -> Option<&'static Suite> {
        match hash {
            Hash::Sha256 => self.sha256,
            Hash::Sha384 => self.sha384,
        }
    }
}

/// The key that the client has to prove.
pub(super) struct Offer<'a> {
    pub(super) suite: &'static Suite,
    key: &'a Key,
    /// `None`: no identity of the client is known, and the key is a substitute.
    pub(super) identity: Option<&'a PskIdentity>,
    /// Index in the client's list: `selected_identity`.
    pub(super) place: usize,
}

/// Chooses the first known identity, and a suite with its hash.
pub(super) fn choose_key<'a>(
    hello: &ClientHello<'_>,
    config: &'a Config,
    suites: Suites,
) -> Result<Offer<'a>, Error> {
    let offered = (hello.offered).ok_or(handshake_failure("no pre-shared key offered"))?;
    // There is one binder for each identity (RFC 8446 §4.2.11).
    if offered.identities().count() != offered.binders().count() {
        return Err(illegal_parameter("not as many binders as identities"));
    }
    let any = suites.sha256.or(suites.sha384);
    let any = any.ok_or(handshake_failure("no cipher suite in common"))?;
    let mut identities = offered.identities().enumerate();
    let known = identities.find_map(|(place, identity)| {
        let (identity, key) = config.keys.get_key_value(identity)?;
        Some(Offer {
            suite: suites.with(key.hash)?,
            key,
            identity: Some(identity),
            place,
        })
    });
    Ok(known.unwrap_or(Offer {
        suite: any,
        key: config.substitute_key(any.hash),
        identity: None,
        place: 0,
    }))
}

impl Offer<'_> {
    /// "Prior to accepting PSK key establishment, the server MUST validate the corresponding binder
    /// value […]. If this value is not present or does not validate, the server MUST abort the
    /// handshake." (RFC 8446 §4.2.11)
    ///
    /// `before`: the transcript before this hello.
    pub(super) fn verify(
        &self,
        hello: &ClientHello<'_>,
        before: &Transcript,
    ) -> Result<&EarlySecret, Error> {
        let mut truncated = before.clone();
        truncated.add(hello.truncated);
        let early = &self.key.early;
        let binder = early.binder(&truncated)?;
        let sent = hello
            .offered
            .and_then(|offered| offered.binders().nth(self.place));
        match binder.is(sent.unwrap_or_default()) && self.identity.is_some() {
            true => Ok(early),
            false => Err(Error::Unauthenticated),
        }
    }
}

fn missing_extension(what: &'static str) -> Error {
    Error::Misbehaved(AlertDescription::MissingExtension, what)
}
