//! Cipher suites.

use aws_lc_rs::aead;

use super::bytes::Result;
use super::codes::{TLS12, TLS13, suite};
use super::hash::Hash;

/// A suite that the test client can speak.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// Its number.
    pub code: u16,
    /// The version that it belongs to.
    pub version: u16,
    /// The hash of the key schedule.
    pub hash: Hash,
    /// The AEAD that protects records.
    pub aead: &'static aead::Algorithm,
    /// The key exchange.
    pub exchange: Exchange,
}

/// The key exchange of a TLS 1.2 suite; suites of TLS 1.3 have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// With an ephemeral (EC)DH exchange.
    Ecdhe,
    /// With the pre-shared key only.
    Plain,
}

impl Suite {
    /// The suite of this number.
    pub fn of(code: u16) -> Result<Self> {
        use Exchange::{Ecdhe, Plain};
        let (version, hash, aead, exchange) = match code {
            suite::AES_128_GCM_SHA256 => (TLS13, Hash::Sha256, &aead::AES_128_GCM, Ecdhe),
            suite::AES_256_GCM_SHA384 => (TLS13, Hash::Sha384, &aead::AES_256_GCM, Ecdhe),
            suite::CHACHA20_POLY1305_SHA256 => {
                (TLS13, Hash::Sha256, &aead::CHACHA20_POLY1305, Ecdhe)
            }
            suite::PSK_AES_128_GCM => (TLS12, Hash::Sha256, &aead::AES_128_GCM, Plain),
            suite::PSK_AES_256_GCM => (TLS12, Hash::Sha384, &aead::AES_256_GCM, Plain),
            suite::PSK_CHACHA20 => (TLS12, Hash::Sha256, &aead::CHACHA20_POLY1305, Plain),
            suite::ECDHE_PSK_AES_128_GCM => (TLS12, Hash::Sha256, &aead::AES_128_GCM, Ecdhe),
            suite::ECDHE_PSK_AES_256_GCM => (TLS12, Hash::Sha384, &aead::AES_256_GCM, Ecdhe),
            suite::ECDHE_PSK_CHACHA20 => (TLS12, Hash::Sha256, &aead::CHACHA20_POLY1305, Ecdhe),
            other => return Err(format!("suite {other:#06x}")),
        };
        Ok(Self {
            code,
            version,
            hash,
            aead,
            exchange,
        })
    }
}
