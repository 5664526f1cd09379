//! The cipher suites: AEAD only.
#![forbid(unsafe_code)]

use aws_lc_rs::{aead, digest, hmac, tls_prf};

use super::{Hash, Modes};
use crate::tls::profile::Version;

/// A cipher suite of TLS 1.3, or one of TLS 1.2 for pre-shared keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suite {
    /// Its `CipherSuite` value.
    pub(super) id: u16,
    /// IANA's name.
    pub(super) name: &'static str,
    pub(super) aead: Aead,
    pub(super) hash: Hash,
    pub(super) exchange: Exchange,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aead {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

/// Key exchange of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// Extensions choose it (TLS 1.3).
    Apart,
    /// `ECDHE_PSK` (RFC 5489).
    EcdhePsk,
    /// `PSK`, without forward secrecy (RFC 4279 §2).
    Psk,
}

/// RFC 8446 §B.4.
pub(super) static TLS13: [Suite; 3] = [
    Suite {
        id: 0x1301,
        name: "TLS_AES_128_GCM_SHA256",
        aead: Aead::Aes128Gcm,
        hash: Hash::Sha256,
        exchange: Exchange::Apart,
    },
    Suite {
        id: 0x1302,
        name: "TLS_AES_256_GCM_SHA384",
        aead: Aead::Aes256Gcm,
        hash: Hash::Sha384,
        exchange: Exchange::Apart,
    },
    Suite {
        id: 0x1303,
        name: "TLS_CHACHA20_POLY1305_SHA256",
        aead: Aead::ChaCha20Poly1305,
        hash: Hash::Sha256,
        exchange: Exchange::Apart,
    },
];

/// RFC 7905 §2, RFC 8442 §3, RFC 5487 §2.
pub(super) static TLS12: [Suite; 6] = [
    Suite {
        id: 0xccac,
        name: "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256",
        aead: Aead::ChaCha20Poly1305,
        hash: Hash::Sha256,
        exchange: Exchange::EcdhePsk,
    },
    Suite {
        id: 0xd001,
        name: "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256",
        aead: Aead::Aes128Gcm,
        hash: Hash::Sha256,
        exchange: Exchange::EcdhePsk,
    },
    Suite {
        id: 0xd002,
        name: "TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384",
        aead: Aead::Aes256Gcm,
        hash: Hash::Sha384,
        exchange: Exchange::EcdhePsk,
    },
    Suite {
        id: 0xccab,
        name: "TLS_PSK_WITH_CHACHA20_POLY1305_SHA256",
        aead: Aead::ChaCha20Poly1305,
        hash: Hash::Sha256,
        exchange: Exchange::Psk,
    },
    Suite {
        id: 0x00a8,
        name: "TLS_PSK_WITH_AES_128_GCM_SHA256",
        aead: Aead::Aes128Gcm,
        hash: Hash::Sha256,
        exchange: Exchange::Psk,
    },
    Suite {
        id: 0x00a9,
        name: "TLS_PSK_WITH_AES_256_GCM_SHA384",
        aead: Aead::Aes256Gcm,
        hash: Hash::Sha384,
        exchange: Exchange::Psk,
    },
];

/// The suite of TLS 1.3 that has this id.
pub(super) fn tls13(id: u16) -> Option<&'static Suite> {
    TLS13.iter().find(|suite| suite.id == id)
}

/// The suite of TLS 1.2 that has this id.
pub(super) fn tls12(id: u16) -> Option<&'static Suite> {
    TLS12.iter().find(|suite| suite.id == id)
}

/// The suites of both versions that a host with these modes allows.
pub fn suites(modes: Modes) -> impl Iterator<Item = (u16, Version)> {
    let tls13 = TLS13.iter().map(|suite| (suite.id, Version::Tls13));
    let tls12 = TLS12.iter().filter(move |suite| suite.is_of(modes));
    tls13.chain(tls12.map(|suite| (suite.id, Version::Tls12)))
}

/// IANA's name of a suite of this engine.
pub fn suite_name(id: u16) -> Option<&'static str> {
    tls13(id).or_else(|| tls12(id)).map(|suite| suite.name)
}

impl Suite {
    /// Whether a host with these modes allows the suite.
    pub(super) fn is_of(&self, modes: Modes) -> bool {
        self.exchange != Exchange::Psk || modes.plain_psk
    }
}

impl Aead {
    pub(super) fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    /// Maximum number of records for one key: "up to 2^24.5 full-size records" for AES-GCM, as many as there are
    /// sequence numbers for ChaCha20 (RFC 8446 §5.5).
    pub(super) fn confidentiality_limit(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 24,
            Self::ChaCha20Poly1305 => u64::MAX,
        }
    }
}

impl Hash {
    pub(super) fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
        }
    }

    pub(super) fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
        }
    }

    pub(super) fn prf(self) -> &'static tls_prf::Algorithm {
        match self {
            Self::Sha256 => &tls_prf::P_SHA256,
            Self::Sha384 => &tls_prf::P_SHA384,
        }
    }

    /// Length of its output in bytes: `Hash.length`.
    pub(super) fn len(self) -> usize {
        self.digest().output_len
    }
}
