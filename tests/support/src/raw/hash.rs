//! Hashes, HKDF (RFC 5869, RFC 8446 §7.1) and the PRF of TLS 1.2 (RFC 5246 §5).

use aws_lc_rs::{digest, hmac};

use super::bytes::{vector8, vector16};

/// The hash of a suite, or of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl Hash {
    /// Bytes in a digest.
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// A digest.
    pub(super) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }

    /// HMAC (RFC 2104).
    pub(super) fn hmac(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), bytes)
            .as_ref()
            .to_vec()
    }

    /// HKDF-Extract.
    pub(super) fn extract(self, salt: &[u8], secret: &[u8]) -> Vec<u8> {
        self.hmac(salt, secret)
    }

    /// HKDF-Expand-Label.
    pub(super) fn expand_label(
        self,
        secret: &[u8],
        label: &str,
        context: &[u8],
        length: usize,
    ) -> Vec<u8> {
        let label = format!("tls13 {label}");
        let info = [
            u16::try_from(length).unwrap().to_be_bytes().to_vec(),
            vector8(label.as_bytes()),
            vector8(context),
        ]
        .concat();
        let mut out = Vec::new();
        let mut block = Vec::new();
        let mut counter = 0;
        while out.len() < length {
            counter += 1;
            block = self.hmac(secret, &[&block[..], &info, &[counter]].concat());
            out.extend_from_slice(&block);
        }
        out.truncate(length);
        out
    }

    /// Derive-Secret, of these messages.
    pub fn derive(self, secret: &[u8], label: &str, messages: &[u8]) -> Vec<u8> {
        self.expand_label(secret, label, &self.digest(messages), self.length())
    }

    /// The PRF of TLS 1.2.
    pub fn prf(self, secret: &[u8], label: &str, seed: &[u8], length: usize) -> Vec<u8> {
        let seed = [label.as_bytes(), seed].concat();
        let mut out = Vec::new();
        let mut a = seed.clone();
        while out.len() < length {
            a = self.hmac(secret, &a);
            out.extend_from_slice(&self.hmac(secret, &[&a[..], &seed].concat()));
        }
        out.truncate(length);
        out
    }
}

/// The premaster secret of the PSK suites (RFC 4279 §2): `other` is the (EC)DHE secret (RFC 5489 §2),
/// or as many zeros as the key is long.
pub(super) fn premaster(other: Option<&[u8]>, psk: &[u8]) -> Vec<u8> {
    let zeros = vec![0; psk.len()];
    [vector16(other.unwrap_or(&zeros)), vector16(psk)].concat()
}
