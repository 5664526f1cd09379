//! The cryptography of rustls, which also watches the alerts that go out.
//!
//! rustls does not report which alert it sends, and ends some connections without one. Alerts are encrypted by
//! the cipher suites of a [`CryptoProvider`]: those of [`provider`] are AWS-LC's, but they record each alert, and
//! can send another in its place ([`super::alert`]).
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use rustls::crypto::cipher::{
    AeadKey, Iv, KeyBlockShape, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundOpaqueMessage, OutboundPlainMessage, Tls12AeadAlgorithm, Tls13AeadAlgorithm,
    UnsupportedOperationError,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{
    AlertDescription, CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error,
    SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};

use super::hmac::hkdf;
use super::transcript;

/// The provider of every server configuration: created once, and never freed.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let mut provider = aws_lc_rs::default_provider();
        for suite in &mut provider.cipher_suites {
            *suite = watched(*suite);
        }
        Arc::new(provider)
    };
    PROVIDER.get_or_init(make).clone()
}

/// Takes the alert that was encrypted last on this thread.
pub(super) fn take_sent() -> Option<AlertDescription> {
    SENT.take()
}

/// Has the next alert on this thread replaced by a fatal one of this description.
pub(super) fn replace_next(description: AlertDescription) {
    REPLACEMENT.set(Some(description));
}

/// Cancels the replacement. Returns it if no alert has been replaced.
pub(super) fn take_replacement() -> Option<AlertDescription> {
    REPLACEMENT.take()
}

// An encrypter does not know its connection, so these are kept per thread. The session reads them before another
// session runs.
thread_local! {
    static SENT: Cell<Option<AlertDescription>> = const { Cell::new(None) };
    static REPLACEMENT: Cell<Option<AlertDescription>> = const { Cell::new(None) };
}

/// The same suite with an AEAD that records alerts, [a quicker HKDF](super::hmac) and [the transcript hash of what the
/// client has sent](super::transcript).
fn watched(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: transcript::hash(common.hash_provider),
        confidentiality_limit: common.confidentiality_limit,
    };
    match suite {
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: hkdf(suite.common.hash_provider.algorithm())
                    .unwrap_or(suite.hkdf_provider),
                aead_alg: Box::leak(Box::new(Tls13Aead(suite.aead_alg))),
                quic: suite.quic,
            })))
        }
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: Box::leak(Box::new(Tls12Aead(suite.aead_alg))),
            })))
        }
    }
}

struct Tls13Aead(&'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for Tls13Aead {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Encrypter(self.0.encrypter(key, iv)))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Tls12Aead(&'static dyn Tls12AeadAlgorithm);

impl Tls12AeadAlgorithm for Tls12Aead {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(Encrypter(self.0.encrypter(key, iv, extra)))
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv, explicit)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Encrypter(Box<dyn MessageEncrypter>);

impl MessageEncrypter for Encrypter {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        if message.typ != ContentType::Alert {
            return self.0.encrypt(message, seq);
        }
        let mut payload = message.payload.to_vec();
        if let Some(description) = REPLACEMENT.take() {
            payload = vec![FATAL, description.into()];
        }
        SENT.set(payload.last().copied().map(AlertDescription::from));
        let alert = OutboundPlainMessage {
            payload: OutboundChunks::Single(&payload),
            ..message
        };
        self.0.encrypt(alert, seq)
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        self.0.encrypted_payload_len(payload_len)
    }
}

/// `AlertLevel` (RFC 8446 §6)
const FATAL: u8 = 2;
