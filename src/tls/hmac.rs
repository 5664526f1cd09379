//! HMAC for rustls's HKDF.
//!
//! TLS 1.3 derives several secrets from one (RFC 8446 §7.1). AWS-LC's HKDF hashes the key again for each of them,
//! which is half of the work for short outputs. A key of its HMAC is hashed once.
#![forbid(unsafe_code)]

use aws_lc_rs::hmac::{self, HMAC_SHA256, HMAC_SHA384};
use rustls::crypto::hash::HashAlgorithm;
use rustls::crypto::hmac::{Hmac, Key, Tag};
use rustls::crypto::tls13::{Hkdf, HkdfUsingHmac};

/// HKDF with this hash; `None`: no suite of TLS 1.3 uses the hash.
pub(super) fn hkdf(hash: HashAlgorithm) -> Option<&'static dyn Hkdf> {
    match hash {
        HashAlgorithm::SHA256 => Some(&HkdfUsingHmac(&AwsLc(&HMAC_SHA256))),
        HashAlgorithm::SHA384 => Some(&HkdfUsingHmac(&AwsLc(&HMAC_SHA384))),
        _ => None,
    }
}

struct AwsLc(&'static hmac::Algorithm);

impl Hmac for AwsLc {
    fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
        Box::new(AwsLcKey(hmac::Key::new(*self.0, key)))
    }

    fn hash_output_len(&self) -> usize {
        self.0.tag_len()
    }
}

/// The library clears its memory.
struct AwsLcKey(hmac::Key);

impl Key for AwsLcKey {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(first);
        for part in middle {
            context.update(part);
        }
        context.update(last);
        Tag::new(context.sign().as_ref())
    }

    fn tag_len(&self) -> usize {
        self.0.algorithm().tag_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first test case of RFC 5869 (§A.1).
    #[test]
    fn hkdf_matches_the_rfc() {
        let salt: Vec<u8> = (0x00..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let hkdf = hkdf(HashAlgorithm::SHA256).unwrap();
        let prk = hkdf.extract_from_secret(Some(&salt), &[0x0b; 22]);
        let mut okm = [0; 42];
        prk.expand_slice(&[&info[..4], &info[4..]], &mut okm)
            .unwrap();
        let expected: [&[u8]; 3] = [
            b"\x3c\xb2\x5f\x25\xfa\xac\xd5\x7a\x90\x43\x4f\x64\xd0\x36",
            b"\x2f\x2a\x2d\x2d\x0a\x90\xcf\x1a\x5a\x4c\x5d\xb0\x2d\x56",
            b"\xec\xc4\xc5\xbf\x34\x00\x72\x08\xd5\xb8\x87\x18\x58\x65",
        ];
        assert_eq!(okm[..], expected.concat());
    }

    #[test]
    fn both_hashes_match_the_hkdf_of_aws_lc() {
        let suites = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
        let suites = suites.iter().filter_map(|suite| suite.tls13());
        for suite in suites {
            let theirs = suite.hkdf_provider;
            let ours = hkdf(suite.common.hash_provider.algorithm()).unwrap();
            for salt in [None, Some(&b"salt"[..])] {
                let [a, b] = [ours, theirs].map(|hkdf| {
                    let (zero, secret) = (
                        hkdf.extract_from_zero_ikm(salt),
                        hkdf.extract_from_secret(salt, b"secret"),
                    );
                    let okm = secret.expand_block(&[b"in", b"", b"fo"]);
                    let next = hkdf.expander_for_okm(&okm);
                    let mut long = [0; 100];
                    next.expand_slice(&[b"long"], &mut long).unwrap();
                    let tag = hkdf.hmac_sign(&okm, b"message");
                    (
                        zero.expand_block(&[b"info"]).as_ref().to_vec(),
                        okm.as_ref().to_vec(),
                        long,
                        tag.as_ref().to_vec(),
                        next.hash_len(),
                    )
                });
                assert_eq!(a, b, "{:?}", suite.common.suite);
            }
        }
    }
}
