//! The secrets of TLS 1.2 (RFC 5246 §5, §6.3, §8.1; RFC 4279 §2; RFC 5489 §2; RFC 7627 §4).
#![forbid(unsafe_code)]

use aws_lc_rs::constant_time;
use aws_lc_rs::tls_prf::Secret;
use zeroize::Zeroizing;

use super::error::Error;
use super::record::{Keys, Protection};
use super::suites::{Aead, Suite};
use super::transcript::Transcript;
use super::{Hash, Key};
use crate::tls::wire::vector16;

/// `ClientHello.random` and `ServerHello.random`.
#[derive(Clone)]
pub(super) struct Randoms {
    pub(super) client: [u8; 32],
    pub(super) server: [u8; 32],
}

/// The master secret: 48 bytes, from which all keys are derived.
pub(super) struct MasterSecret {
    hash: Hash,
    bytes: Zeroizing<Vec<u8>>,
}

/// Sender of a Finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// The premaster secret.
///
/// ```text
/// struct { opaque other_secret<0..2^16-1>; opaque psk<0..2^16-1>; };
/// ```
///
/// `shared`: the result of the key exchange. Without one, "if the PSK is N octets long, concatenate a
/// uint16 with the value N, N zero octets, a second uint16 with the value N, and the PSK itself".
fn premaster_secret(key: &Key, shared: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
    let psk = &key.secret;
    let other = shared.map_or(psk.len(), <[u8]>::len);
    let mut premaster = Zeroizing::new(Vec::with_capacity(2 + other + 2 + psk.len()));
    vector16(&mut premaster, |out| match shared {
        Some(shared) => out.extend_from_slice(shared),
        None => out.resize(2 + psk.len(), 0),
    });
    vector16(&mut premaster, |out| out.extend_from_slice(psk));
    premaster
}

impl MasterSecret {
    /// `PRF(pre_master_secret, "master secret", ClientHello.random + ServerHello.random)[0..47]`
    pub(super) fn new(
        hash: Hash,
        key: &Key,
        shared: Option<&[u8]>,
        randoms: &Randoms,
    ) -> Result<Self, Error> {
        let seed = [randoms.client, randoms.server].concat();
        let premaster = premaster_secret(key, shared);
        Self::derive(hash, &premaster, b"master secret", &seed)
    }

    /// `PRF(pre_master_secret, "extended master secret", session_hash)[0..47]`; the transcript ends
    /// with ClientKeyExchange.
    pub(super) fn extended(
        hash: Hash,
        key: &Key,
        shared: Option<&[u8]>,
        transcript: &Transcript,
    ) -> Result<Self, Error> {
        let premaster = premaster_secret(key, shared);
        let session_hash = transcript.current();
        let label = b"extended master secret";
        Self::derive(hash, &premaster, label, session_hash.as_ref())
    }

    fn derive(hash: Hash, premaster: &[u8], label: &[u8], seed: &[u8]) -> Result<Self, Error> {
        let bytes = Zeroizing::new(prf(hash, premaster, label, seed, 48)?.as_ref().to_vec());
        Ok(Self { hash, bytes })
    }

    /// The write keys of client and server. `key_block = PRF(SecurityParameters. master_secret, "key expansion",
    /// server_random + client_random)`; AEADs have no MAC keys.
    pub(super) fn keys(&self, suite: &Suite, randoms: &Randoms) -> Result<(Keys, Keys), Error> {
        // GCM has "salt" of 4 bytes (RFC 5288 §3), ChaCha20 a whole nonce (RFC 7905 §2).
        let (protection, iv_len) = match suite.aead {
            Aead::Aes128Gcm | Aead::Aes256Gcm => (Protection::Tls12Explicit, 4),
            Aead::ChaCha20Poly1305 => (Protection::Tls12Implicit, 12),
        };
        let key_len = suite.aead.algorithm().key_len();
        let seed = [randoms.server, randoms.client].concat();
        let length = 2 * (key_len + iv_len);
        let block = prf(self.hash, &self.bytes, b"key expansion", &seed, length)?;
        let (keys, ivs) = block
            .as_ref()
            .split_at_checked(2 * key_len)
            .unwrap_or_default();
        let make = |key: &[u8], salt: &[u8]| {
            let mut iv = Zeroizing::new([0; 12]);
            for (byte, salt) in iv.iter_mut().zip(salt) {
                *byte = *salt;
            }
            Keys::new(suite.aead, protection, key, *iv)
        };
        let (client_key, server_key) = keys.split_at_checked(key_len).unwrap_or_default();
        let (client_iv, server_iv) = ivs.split_at_checked(iv_len).unwrap_or_default();
        Ok((make(client_key, client_iv)?, make(server_key, server_iv)?))
    }

    /// `verify_data = PRF(master_secret, finished_label, Hash(handshake_messages))[0..11]`
    pub(super) fn verify_data(
        &self,
        sender: Sender,
        transcript: &Transcript,
    ) -> Result<VerifyData, Error> {
        let label: &[u8] = match sender {
            Sender::Client => b"client finished",
            Sender::Server => b"server finished",
        };
        let seed = transcript.current();
        prf(self.hash, &self.bytes, label, seed.as_ref(), VERIFY_DATA).map(VerifyData)
    }
}

/// Content of a Finished.
pub(super) struct VerifyData(Secret);

/// Length in bytes, with all suites here.
pub(super) const VERIFY_DATA: usize = 12;

impl VerifyData {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Whether the peer has sent the same bytes. The comparison takes constant time.
    pub(super) fn is(&self, sent: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_ref(), sent).is_ok()
    }
}

/// `PRF(secret, label, seed) = P_<hash>(secret, label + seed)`
fn prf(hash: Hash, secret: &[u8], label: &[u8], seed: &[u8], len: usize) -> Result<Secret, Error> {
    Ok(Secret::new(hash.prf(), secret)?.derive(label, seed, len)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::psk::vectors::{ILLUSTRATED, hex};

    fn illustrated(name: &str) -> Vec<u8> {
        hex(ILLUSTRATED, name)
    }

    #[test]
    fn the_master_secret_matches_the_illustrated_connection() {
        let premaster = illustrated("pre_master_secret");
        let seed = [illustrated("client_random"), illustrated("server_random")].concat();
        let master =
            MasterSecret::derive(Hash::Sha256, &premaster, b"master secret", &seed).unwrap();
        assert_eq!(*master.bytes, illustrated("master_secret"));
    }

    #[test]
    fn the_key_block_matches_the_illustrated_connection() {
        let master = illustrated("master_secret");
        let seed = [illustrated("server_random"), illustrated("client_random")].concat();
        let expected = [
            illustrated("client_write_mac_key"),
            illustrated("server_write_mac_key"),
            illustrated("client_write_key"),
            illustrated("server_write_key"),
            illustrated("client_write_iv"),
            illustrated("server_write_iv"),
        ]
        .concat();
        let block = prf(
            Hash::Sha256,
            &master,
            b"key expansion",
            &seed,
            expected.len(),
        )
        .unwrap();
        assert_eq!(block.as_ref(), expected);
    }

    #[test]
    fn a_premaster_secret_without_a_key_exchange_has_zeros() {
        let key = Key::new(Zeroizing::new(vec![7; 16]), Hash::Sha256).unwrap();
        let expected = [&[0, 16], &[0; 16][..], &[0, 16], &[7; 16]].concat();
        assert_eq!(*premaster_secret(&key, None), expected);
        let expected = [&[0, 2], &[1, 2][..], &[0, 16], &[7; 16]].concat();
        assert_eq!(*premaster_secret(&key, Some(&[1, 2])), expected);
    }
}
