//! Private keys for certificates: read, decrypted, and where one cannot be used, why.
#![forbid(unsafe_code)]

use std::sync::Arc;

use der::Decode;
use der::asn1::{AnyRef, ObjectIdentifier};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use x509_cert::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::encrypted_key;
use super::pem::Section;

/// Whether a section has an encrypted key.
pub(super) fn is_encrypted(section: &Section) -> bool {
    section.label == "ENCRYPTED PRIVATE KEY"
}

/// Reads the key in a section. Encrypted keys need one of the passwords.
///
/// Errors: it cannot be decrypted, or TLS cannot use it.
pub(super) fn load(
    section: &Section,
    passwords: &[Zeroizing<Vec<u8>>],
) -> Result<Arc<dyn SigningKey>, String> {
    let decrypted;
    let key = match section.label.as_str() {
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(section.der.as_slice().into()),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(section.der.as_slice().into()),
        "DSA PRIVATE KEY" => return Err(unusable("a DSA key", "TLS 1.3 has none")),
        _ if is_encrypted(section) => {
            decrypted = encrypted_key::decrypt(&section.der, passwords)?;
            PrivateKeyDer::Pkcs8(decrypted.as_slice().into())
        }
        _ => PrivateKeyDer::Pkcs8(section.der.as_slice().into()),
    };
    any_supported_type(&key)
        .map_err(|_| reason(&key).unwrap_or_else(|| "not a private key, or damaged".into()))
}

/// Reason why TLS cannot use a key. `None`: it is damaged.
fn reason(key: &PrivateKeyDer<'_>) -> Option<String> {
    match key {
        PrivateKeyDer::Pkcs1(key) => rsa(key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => {
            let fields = Vec::<AnyRef<'_>>::from_der(key.secret_sec1_der()).ok()?;
            // "parameters [0] ECParameters {{ NamedCurve }} OPTIONAL" (RFC 5915 §3)
            let mut tagged = fields.iter().filter(|field| is_context_specific_0(field));
            let parameters = AnyRef::from_der(tagged.next()?.value()).ok()?;
            Some(curve(Some(parameters)))
        }
        PrivateKeyDer::Pkcs8(key) => {
            let fields = Vec::<AnyRef<'_>>::from_der(key.secret_pkcs8_der()).ok()?;
            let algorithm = fields
                .get(1)?
                .decode_as::<AlgorithmIdentifierRef<'_>>()
                .ok()?;
            match algorithm.oid {
                RSA => rsa(fields.get(2)?.value()),
                EC => Some(curve(algorithm.parameters)),
                other => Some(algorithm_reason(other)),
            }
        }
        _ => None,
    }
}

/// Reason about an `RSAPrivateKey` (RFC 8017 §A.1.2).
fn rsa(der: &[u8]) -> Option<String> {
    let fields = Vec::<AnyRef<'_>>::from_der(der).ok()?;
    let modulus = fields.get(1)?.value();
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let significant = modulus.get(first..)?;
    let bits =
        8 * significant.len() - usize::try_from(significant.first()?.leading_zeros()).ok()?;
    if (2048..=8192).contains(&bits) {
        return None;
    }
    let key = format!("an RSA key of {bits} bits");
    Some(unusable(&key, "TLS takes 2048 to 8192"))
}

/// Reason about an EC key with these parameters.
fn curve(parameters: Option<AnyRef<'_>>) -> String {
    let oid = parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
    let Some(oid) = oid else {
        let why = "the curve is given by its numbers, and has to be by its name";
        return unusable("an EC key", why);
    };
    let known = CURVES.iter().find(|(curve, _)| *curve == oid);
    let name = known.map_or_else(|| oid.to_string(), |(_, name)| (*name).to_owned());
    let key = format!("an EC key on the curve {name}");
    unusable(&key, "tlssrv has P-256, P-384 and P-521")
}

/// Reason about a key with this algorithm.
fn algorithm_reason(oid: ObjectIdentifier) -> String {
    let known = ALGORITHMS.iter().find(|(algorithm, _)| *algorithm == oid);
    let key = match known {
        Some((RSA_PSS, _)) => {
            return "an RSA-PSS key cannot be used: make a plain RSA key, with which TLS signs by RSA-PSS, too \
                    (\"openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out NEW\"), and have a \
                    certificate made for it"
                .into();
        }
        Some((_, name)) => (*name).to_owned(),
        None => format!("a key of the algorithm {oid}"),
    };
    unusable(&key, "tlssrv has RSA, ECDSA and Ed25519")
}

/// Message about a key that cannot be used, with what to make instead.
fn unusable(key: &str, why: &str) -> String {
    format!(
        "{key} cannot be used: {why}; make a new key \
         (\"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW\"), and have a \
         certificate made for it"
    )
}

fn is_context_specific_0(field: &AnyRef<'_>) -> bool {
    let tag = der::Tagged::tag(field);
    tag.is_context_specific() && tag.number().value() == 0
}

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = oid("1.2.840.10045.2.1");
const ALGORITHMS: [(ObjectIdentifier, &str); 9] = [
    (RSA_PSS, "an RSA-PSS key"),
    (oid("1.2.840.10040.4.1"), "a DSA key"),
    (oid("1.2.840.113549.1.3.1"), "a DH key"),
    (oid("1.3.101.110"), "an X25519 key"),
    (oid("1.3.101.111"), "an X448 key"),
    (oid("1.3.101.113"), "an Ed448 key"),
    (oid("2.16.840.1.101.3.4.3.17"), "an ML-DSA-44 key"),
    (oid("2.16.840.1.101.3.4.3.18"), "an ML-DSA-65 key"),
    (oid("2.16.840.1.101.3.4.3.19"), "an ML-DSA-87 key"),
];
const CURVES: [(ObjectIdentifier, &str); 10] = [
    (oid("1.2.840.10045.3.1.1"), "P-192"),
    (oid("1.3.132.0.33"), "P-224"),
    (oid("1.3.132.0.10"), "secp256k1"),
    (oid("1.3.36.3.3.2.8.1.1.7"), "brainpoolP256r1"),
    (oid("1.3.36.3.3.2.8.1.1.8"), "brainpoolP256t1"),
    (oid("1.3.36.3.3.2.8.1.1.11"), "brainpoolP384r1"),
    (oid("1.3.36.3.3.2.8.1.1.12"), "brainpoolP384t1"),
    (oid("1.3.36.3.3.2.8.1.1.13"), "brainpoolP512r1"),
    (oid("1.3.36.3.3.2.8.1.1.14"), "brainpoolP512t1"),
    (oid("1.2.156.10197.1.301"), "SM2"),
];
