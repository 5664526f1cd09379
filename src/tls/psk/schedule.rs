//! The key schedule of TLS 1.3 (RFC 8446 §7.1): each stage derives the next one and is consumed by it.
#![forbid(unsafe_code)]

use aws_lc_rs::{constant_time, hmac};
use zeroize::Zeroizing;

use super::Hash;
use super::error::Error;
use super::record::{Keys, Protection};
use super::suites::Suite;
use super::transcript::Transcript;
use crate::tls::wire::vector8;

/// Secrets derived from the Early Secret of a key, `HKDF-Extract(0, PSK)`. They are the same in all handshakes
/// with the key, so they are computed once.
pub(super) struct EarlySecret {
    hash: Hash,
    /// The `finished_key` of `binder_key`.
    finished_key: Mac,
    /// `Derive-Secret(., "derived", "")`
    derived: Mac,
}

/// The Handshake Secret.
pub(super) struct HandshakeSecret(Secret);

/// The Master Secret.
pub(super) struct MasterSecret(Secret);

/// One direction's `client_…_traffic_secret` or `server_…_traffic_secret`.
pub(super) struct TrafficSecret(Secret);

impl EarlySecret {
    /// Derives the secrets of an external key: `binder_key` is `Derive-Secret(., "ext binder", "")`.
    pub(super) fn new(psk: &[u8], hash: Hash) -> Result<Self, Error> {
        // "if a given secret is not available, then the 0-value consisting of a string of Hash.length
        // bytes set to zeros is used": HMAC pads an empty key to the same.
        let early = Secret::new(hash, &[]).extract(psk)?;
        let empty = Transcript::new(hash);
        let binder_key = early.derive(b"ext binder", &empty)?;
        Ok(Self {
            hash,
            finished_key: binder_key.output(b"finished", &[])?,
            derived: early.output(b"derived", empty.current().as_ref())?,
        })
    }

    /// A `PskBinderEntry`, "computed in the same way as the Finished message" (RFC 8446 §4.2.11.2).
    pub(super) fn binder(&self, truncated: &Transcript) -> Result<VerifyData, Error> {
        Secret::of(self.hash, &self.finished_key).verify_data(truncated)
    }

    /// `shared`: the result of the key exchange; none with `psk_ke`, which has "a 0-value" instead.
    pub(super) fn handshake(&self, shared: Option<&[u8]>) -> Result<HandshakeSecret, Error> {
        let zeros = [0; MAX_MAC];
        let nothing = zeros.get(..self.hash.len()).unwrap_or_default();
        Secret::of(self.hash, &self.derived)
            .extract(shared.unwrap_or(nothing))
            .map(HandshakeSecret)
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
        let zeros = [0; MAX_MAC];
        let nothing = zeros.get(..self.0.hash.len()).unwrap_or_default();
        let derived = self.0.derive(b"derived", &Transcript::new(self.0.hash))?;
        derived.extract(nothing).map(MasterSecret)
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
    pub(super) fn finished(&self, transcript: &Transcript) -> Result<VerifyData, Error> {
        self.0.expand(b"finished", &[])?.verify_data(transcript)
    }

    /// The secret of the next generation, after a KeyUpdate (RFC 8446 §7.2).
    pub(super) fn next(&self) -> Result<Self, Error> {
        self.0.expand(b"traffic upd", &[]).map(Self)
    }
}

#[cfg(any(test, fuzzing))]
impl TrafficSecret {
    /// A secret that repeats this byte.
    pub(super) fn of(hash: Hash, byte: u8) -> Self {
        Self(Secret::new(hash, &vec![byte; hash.len()]))
    }
}

/// A secret as long as the hash, prepared as a key of HMAC. The library clears its memory when it is dropped;
/// until then it does not move.
struct Secret {
    hash: Hash,
    key: Box<hmac::Key>,
}

/// Output of HMAC or HKDF, followed by zeros.
type Mac = Zeroizing<[u8; MAX_MAC]>;

/// Maximum length of HMAC's output, in bytes.
const MAX_MAC: usize = 48;

impl Secret {
    fn new(hash: Hash, bytes: &[u8]) -> Self {
        let key = Box::new(hmac::Key::new(hash.hmac(), bytes));
        Self { hash, key }
    }

    /// Creates a secret from the first bytes, as many as the hash has.
    fn of(hash: Hash, bytes: &Mac) -> Self {
        Self::new(hash, bytes.get(..hash.len()).unwrap_or_default())
    }

    fn mac(&self, data: &[u8]) -> Result<Mac, Error> {
        let mut mac = Zeroizing::new([0; MAX_MAC]);
        hmac::sign_to_buffer(&self.key, data, &mut *mac)?;
        Ok(mac)
    }

    /// `HKDF-Extract(salt, IKM) -> PRK = HMAC-Hash(salt, IKM)`, with this as the salt (RFC 5869 §2.2).
    fn extract(&self, ikm: &[u8]) -> Result<Self, Error> {
        Ok(Self::of(self.hash, &self.mac(ikm)?))
    }

    /// `HMAC(finished_key, Transcript-Hash(…))`, with this as the `finished_key`.
    fn verify_data(&self, transcript: &Transcript) -> Result<VerifyData, Error> {
        let mac = self.mac(transcript.current().as_ref())?;
        let hash = self.hash;
        Ok(VerifyData { hash, mac })
    }

    /// `Derive-Secret(Secret, Label, Messages) =
    /// HKDF-Expand-Label(Secret, Label, Transcript-Hash(Messages), Hash.length)`.
    fn derive(&self, label: &[u8], transcript: &Transcript) -> Result<Self, Error> {
        self.expand(label, transcript.current().as_ref())
    }

    /// `HKDF-Expand-Label(Secret, Label, Context, Hash.length)`
    fn expand(&self, label: &[u8], context: &[u8]) -> Result<Self, Error> {
        Ok(Self::of(self.hash, &self.output(label, context)?))
    }

    /// The bytes of [`Secret::expand`].
    fn output(&self, label: &[u8], context: &[u8]) -> Result<Mac, Error> {
        let mut bytes = Zeroizing::new([0; MAX_MAC]);
        let out = bytes.get_mut(..self.hash.len()).unwrap_or_default();
        self.expand_label(label, context, out)?;
        Ok(bytes)
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
    ///
    /// TLS 1.3 needs no output longer than the hash, so one step of HKDF-Expand is enough: `T(1) = HMAC-Hash(PRK,
    /// T(0) | info | 0x01)` (RFC 5869 §2.3).
    fn expand_label(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let length = u16::try_from(out.len()).unwrap_or_default();
        let mut info = Vec::with_capacity(128);
        info.extend_from_slice(&length.to_be_bytes());
        vector8(&mut info, |out| {
            out.extend_from_slice(b"tls13 ");
            out.extend_from_slice(label);
        });
        vector8(&mut info, |out| out.extend_from_slice(context));
        info.push(1);
        let mac = self.mac(&info)?;
        let okm = mac.get(..self.hash.len()).unwrap_or_default();
        let okm = okm.get(..out.len());
        out.copy_from_slice(okm.ok_or(Error::Internal("a key longer than its hash"))?);
        Ok(())
    }
}

/// `verify_data` of a Finished, or a `PskBinderEntry`.
pub(super) struct VerifyData {
    hash: Hash,
    mac: Mac,
}

impl VerifyData {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.mac.get(..self.hash.len()).unwrap_or_default()
    }

    /// Whether the peer has sent the same bytes. The comparison takes constant time.
    pub(super) fn is(&self, sent: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(self.as_bytes(), sent).is_ok()
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

    fn secret(bytes: &[u8]) -> Secret {
        Secret::new(Hash::Sha256, bytes)
    }

    fn same(one: &Secret, other: &str) -> bool {
        expand(one, b"any", &[], 32) == expand(&secret(&rfc8448(other)), b"any", &[], 32)
    }

    fn expand(secret: &Secret, label: &[u8], context: &[u8], length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        secret.expand_label(label, context, &mut out).unwrap();
        out
    }

    #[test]
    fn secrets_are_derived_as_in_rfc_8448() {
        // Without a key: "a string of Hash.length bytes set to zeros".
        let early = EarlySecret::new(&[0; 32], Hash::Sha256).unwrap();
        let handshake = early.handshake(Some(&rfc8448("ecdhe"))).unwrap();
        assert!(same(&handshake.0, "handshake_secret"));
        let master = handshake.master().unwrap();
        assert!(same(&master.0, "master_secret"));
        let early = secret(&[]).extract(&rfc8448("psk")).unwrap();
        assert!(same(&early, "early_secret_of_psk"));
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
            let from = secret(&rfc8448(from));
            assert_eq!(
                expand(&from, label.as_bytes(), &context, expected.len()),
                expected,
                "{to}"
            );
        }
    }

    #[test]
    fn a_record_is_opened_as_in_rfc_8448() {
        let client = TrafficSecret(secret(&rfc8448("client_handshake_traffic_secret")));
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
    fn a_binder_matches_that_of_openssl() {
        let record = hex(OPENSSL, "record");
        let hello = ClientHello::read(&record[5..]).unwrap();
        let early = EarlySecret::new(&hex(OPENSSL, "key"), Hash::Sha256).unwrap();
        let mut truncated = Transcript::new(Hash::Sha256);
        truncated.add(hello.truncated);
        let binder = early.binder(&truncated).unwrap();
        let offered = hello.offered.unwrap();
        assert_eq!(offered.identities().collect::<Vec<_>>(), [b"alice"]);
        assert_eq!(offered.binders().collect::<Vec<_>>(), [binder.as_bytes()]);
        assert!(binder.is(&record[record.len() - 32..]));
    }
}
