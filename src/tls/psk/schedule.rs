//! The key schedule of TLS 1.3 (RFC 8446 §7.1): each stage makes the next one, and is gone.
#![forbid(unsafe_code)]

use aws_lc_rs::{constant_time, hkdf, hmac};
use zeroize::Zeroizing;

use super::error::Error;
use super::record::{Keys, Protection};
use super::suites::Suite;
use super::transcript::Transcript;
use super::{Hash, Key};
use crate::tls::wire::vector8;

/// `HKDF-Extract(0, PSK)`.
pub(super) struct EarlySecret(Secret);

/// What protects the handshake.
pub(super) struct HandshakeSecret(Secret);

/// What everything later comes from.
pub(super) struct MasterSecret(Secret);

/// One direction's `client_…_traffic_secret` or `server_…_traffic_secret`.
pub(super) struct TrafficSecret(Secret);

impl EarlySecret {
    /// The Early Secret of a pre-shared key.
    pub(super) fn new(key: &Key) -> Result<Self, Error> {
        Secret::extract(key.hash, &[], &key.secret).map(Self)
    }

    /// A `PskBinderEntry` for an external key: `binder_key` is `Derive-Secret(., "ext binder", "")`, and
    /// the rest "is computed in the same way as the Finished message" (RFC 8446 §4.2.11.2).
    pub(super) fn binder(&self, truncated: &Transcript) -> Result<Secret, Error> {
        let empty = Transcript::new(self.0.hash);
        TrafficSecret(self.0.derive(b"ext binder", &empty)?).finished(truncated)
    }

    /// `shared`: the result of the key exchange; none with `psk_ke`, which has "a 0-value" instead.
    pub(super) fn handshake(&self, shared: Option<&[u8]>) -> Result<HandshakeSecret, Error> {
        let zeros = [0; 48];
        let nothing = zeros.get(..self.0.hash.len()).unwrap_or_default();
        self.0.next(shared.unwrap_or(nothing)).map(HandshakeSecret)
    }
}

impl HandshakeSecret {
    /// `client_handshake_traffic_secret`; the transcript ends with ServerHello.
    pub(super) fn client(&self, transcript: &Transcript) -> Result<TrafficSecret, Error> {
        self.0
            .derive(b"c hs traffic", transcript)
            .map(TrafficSecret)
    }

    /// `server_handshake_traffic_secret`; the transcript ends with ServerHello.
    pub(super) fn server(&self, transcript: &Transcript) -> Result<TrafficSecret, Error> {
        self.0
            .derive(b"s hs traffic", transcript)
            .map(TrafficSecret)
    }

    pub(super) fn master(&self) -> Result<MasterSecret, Error> {
        let zeros = [0; 48];
        let nothing = zeros.get(..self.0.hash.len()).unwrap_or_default();
        self.0.next(nothing).map(MasterSecret)
    }
}

impl MasterSecret {
    /// `client_application_traffic_secret_0`; the transcript ends with our Finished.
    pub(super) fn client(&self, transcript: &Transcript) -> Result<TrafficSecret, Error> {
        self.0
            .derive(b"c ap traffic", transcript)
            .map(TrafficSecret)
    }

    /// `server_application_traffic_secret_0`; the transcript ends with our Finished.
    pub(super) fn server(&self, transcript: &Transcript) -> Result<TrafficSecret, Error> {
        self.0
            .derive(b"s ap traffic", transcript)
            .map(TrafficSecret)
    }
}

impl TrafficSecret {
    /// The traffic keys (RFC 8446 §7.3).
    pub(super) fn keys(&self, suite: &Suite) -> Result<Keys, Error> {
        let mut key = Zeroizing::new(vec![0; suite.aead.algorithm().key_len()]);
        let mut iv = Zeroizing::new([0; 12]);
        self.0.expand_label(b"key", &[], &mut key)?;
        self.0.expand_label(b"iv", &[], &mut *iv)?;
        Keys::new(suite.aead, Protection::Tls13, &key, *iv)
    }

    /// `verify_data` of a Finished (RFC 8446 §4.4.4).
    pub(super) fn finished(&self, transcript: &Transcript) -> Result<Secret, Error> {
        let hash = self.0.hash;
        let mut finished_key = Secret::zero(hash);
        self.0
            .expand_label(b"finished", &[], &mut finished_key.bytes)?;
        Secret::hmac(hash, &finished_key.bytes, transcript.current().as_ref())
    }

    /// The next generation's, after a KeyUpdate (RFC 8446 §7.2).
    pub(super) fn next(&self) -> Result<Self, Error> {
        let mut next = Secret::zero(self.0.hash);
        self.0.expand_label(b"traffic upd", &[], &mut next.bytes)?;
        Ok(Self(next))
    }
}

#[cfg(any(test, fuzzing))]
impl TrafficSecret {
    /// A secret of this byte, over and over.
    pub(super) fn of(hash: Hash, byte: u8) -> Self {
        let bytes = Zeroizing::new(vec![byte; hash.len()]);
        Self(Secret { hash, bytes })
    }
}

/// As many bytes as the hash has.
pub(super) struct Secret {
    hash: Hash,
    bytes: Zeroizing<Vec<u8>>,
}

impl Secret {
    fn zero(hash: Hash) -> Self {
        let bytes = Zeroizing::new(vec![0; hash.len()]);
        Self { hash, bytes }
    }

    /// `HKDF-Extract(salt, IKM) -> PRK = HMAC-Hash(salt, IKM)` (RFC 5869 §2.2). Done here, because the
    /// library keeps a salt in memory that nobody clears, and ours are secrets.
    fn extract(hash: Hash, salt: &[u8], ikm: &[u8]) -> Result<Self, Error> {
        Self::hmac(hash, salt, ikm)
    }

    fn hmac(hash: Hash, key: &[u8], data: &[u8]) -> Result<Self, Error> {
        let mut tag = Self::zero(hash);
        hmac::sign_to_buffer(&hmac::Key::new(hash.hmac(), key), data, &mut tag.bytes)?;
        Ok(tag)
    }

    /// The next stage's: `HKDF-Extract(Derive-Secret(., "derived", ""), ikm)`.
    fn next(&self, ikm: &[u8]) -> Result<Self, Error> {
        let salt = self.derive(b"derived", &Transcript::new(self.hash))?;
        Self::extract(self.hash, &salt.bytes, ikm)
    }

    /// `Derive-Secret(Secret, Label, Messages) =
    /// HKDF-Expand-Label(Secret, Label, Transcript-Hash(Messages), Hash.length)`.
    fn derive(&self, label: &[u8], transcript: &Transcript) -> Result<Self, Error> {
        let mut secret = Self::zero(self.hash);
        self.expand_label(label, transcript.current().as_ref(), &mut secret.bytes)?;
        Ok(secret)
    }

    /// `HKDF-Expand-Label(Secret, Label, Context, Length)`, where `Length` is that of `out`:
    ///
    /// ```text
    /// struct {
    ///     uint16 length = Length;
    ///     opaque label<7..255> = "tls13 " + Label;
    ///     opaque context<0..255> = Context;
    /// } HkdfLabel;
    /// ```
    fn expand_label(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let length = u16::try_from(out.len()).unwrap_or_default();
        let mut hkdf_label = Vec::with_capacity(2 + 1 + 255 + 1 + 255);
        hkdf_label.extend_from_slice(&length.to_be_bytes());
        vector8(&mut hkdf_label, |out| {
            out.extend_from_slice(b"tls13 ");
            out.extend_from_slice(label);
        });
        vector8(&mut hkdf_label, |out| out.extend_from_slice(context));
        hkdf::Prk::new_less_safe(self.hash.hkdf(), &self.bytes)
            .expand(&[&hkdf_label], Length(out.len()))?
            .fill(out)?;
        Ok(())
    }

    /// The bytes, to be sent: those of a Finished.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the peer has sent the same, in a time that does not depend on what it sent.
    pub(super) fn is(&self, sent: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.bytes, sent).is_ok()
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::psk::hello::ClientHello;
    use crate::tls::psk::suites;
    use crate::tls::psk::vectors::{OPENSSL, RFC8448, hex};

    fn rfc8448(name: &str) -> Vec<u8> {
        hex(RFC8448, name)
    }

    fn secret(bytes: Vec<u8>) -> Secret {
        Secret {
            hash: Hash::Sha256,
            bytes: Zeroizing::new(bytes),
        }
    }

    fn expand(secret: &Secret, label: &[u8], context: &[u8], length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        secret.expand_label(label, context, &mut out).unwrap();
        out
    }

    #[test]
    fn secrets_follow_each_other_as_in_rfc_8448() {
        // Without a key: "a string of Hash.length bytes set to zeros".
        let early = EarlySecret(Secret::extract(Hash::Sha256, &[], &[0; 32]).unwrap());
        let handshake = early.handshake(Some(&rfc8448("ecdhe"))).unwrap();
        assert_eq!(handshake.0.as_bytes(), rfc8448("handshake_secret"));
        let master = handshake.master().unwrap();
        assert_eq!(master.0.as_bytes(), rfc8448("master_secret"));
        let key = Key {
            secret: Zeroizing::new(rfc8448("psk")),
            hash: Hash::Sha256,
        };
        let early = EarlySecret::new(&key).unwrap();
        assert_eq!(early.0.as_bytes(), rfc8448("early_secret_of_psk"));
    }

    #[test]
    fn labels_expand_as_in_rfc_8448() {
        for (from, label, context, to) in [
            (
                "handshake_secret",
                "c hs traffic",
                "hash_to_server_hello",
                "client_handshake_traffic_secret",
            ),
            (
                "handshake_secret",
                "s hs traffic",
                "hash_to_server_hello",
                "server_handshake_traffic_secret",
            ),
            (
                "master_secret",
                "c ap traffic",
                "hash_to_server_finished",
                "client_application_traffic_secret",
            ),
            (
                "master_secret",
                "s ap traffic",
                "hash_to_server_finished",
                "server_application_traffic_secret",
            ),
            (
                "client_handshake_traffic_secret",
                "key",
                "",
                "client_handshake_key",
            ),
            (
                "client_handshake_traffic_secret",
                "iv",
                "",
                "client_handshake_iv",
            ),
            (
                "server_handshake_traffic_secret",
                "key",
                "",
                "server_handshake_key",
            ),
            (
                "server_handshake_traffic_secret",
                "iv",
                "",
                "server_handshake_iv",
            ),
            (
                "server_handshake_traffic_secret",
                "finished",
                "",
                "server_finished_key",
            ),
            (
                "server_application_traffic_secret",
                "key",
                "",
                "server_application_key",
            ),
            (
                "server_application_traffic_secret",
                "iv",
                "",
                "server_application_iv",
            ),
        ] {
            let context = match context {
                "" => Vec::new(),
                name => rfc8448(name),
            };
            let expected = rfc8448(to);
            let from = secret(rfc8448(from));
            assert_eq!(
                expand(&from, label.as_bytes(), &context, expected.len()),
                expected,
                "{to}"
            );
        }
    }

    #[test]
    fn a_record_is_opened_as_in_rfc_8448() {
        let client = TrafficSecret(secret(rfc8448("client_handshake_traffic_secret")));
        let mut records = crate::tls::psk::record::Records::new();
        records.read_with(client.keys(suites::tls13(0x1301).unwrap()).unwrap());
        let mut record = rfc8448("client_finished_record");
        let message = rfc8448("client_finished_message");
        assert_eq!(
            records.open(&mut record).unwrap(),
            Some((22, message.as_slice()))
        );
    }

    #[test]
    fn a_binder_is_what_openssl_makes_it() {
        let record = hex(OPENSSL, "record");
        let hello = ClientHello::read(&record[5..]).unwrap();
        let key = Key::new(Zeroizing::new(hex(OPENSSL, "key")), Hash::Sha256).unwrap();
        let mut truncated = Transcript::new(Hash::Sha256);
        truncated.add(hello.truncated);
        let binder = EarlySecret::new(&key).unwrap().binder(&truncated).unwrap();
        let offered = hello.offered.unwrap();
        assert_eq!(offered.identities().collect::<Vec<_>>(), [b"alice"]);
        assert_eq!(offered.binders().collect::<Vec<_>>(), [binder.as_bytes()]);
        assert!(binder.is(&record[record.len() - 32..]));
    }
}
