//! Encrypted private keys: PKCS #8 with PBES2, PBKDF2 and AES or Triple DES in CBC mode (RFC 8018 §6.2).
//!
//! The primitives are AWS-LC's, which wipes its keys.
#![forbid(unsafe_code)]

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2::{
    PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA384, PBKDF2_HMAC_SHA512, derive,
};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Sequence};
use x509_cert::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::pem::ENCRYPT_ANEW;

/// Decrypts an `EncryptedPrivateKeyInfo` with the first of the passwords that fits. Returns the DER of a
/// `PrivateKeyInfo`.
///
/// Errors: no password fits, or the encryption is of another kind.
pub(super) fn decrypt(
    der: &[u8],
    passwords: &[Zeroizing<Vec<u8>>],
) -> Result<Zeroizing<Vec<u8>>, String> {
    let encrypted = EncryptedPrivateKeyInfo::from_der(der)
        .map_err(|_| "it is encrypted, and damaged".to_owned())?;
    if passwords.is_empty() {
        return Err("it is encrypted: key-password names a file with its password".into());
    }
    let scheme = Scheme::new(&encrypted.algorithm)?;
    passwords
        .iter()
        .find_map(|password| scheme.decrypt(password, encrypted.data.as_bytes()))
        .ok_or_else(|| "it is encrypted, with another password than that in key-password".into())
}

/// Encryption of a key, with its parameters.
struct Scheme<'a> {
    prf: aws_lc_rs::pbkdf2::Algorithm,
    salt: &'a [u8],
    iterations: NonZeroU32,
    cipher: &'static Algorithm,
    key_length: usize,
    iv: &'a [u8],
}

impl<'a> Scheme<'a> {
    /// Reads parameters. Errors: they are damaged, or of an encryption that is not known here, or it would take too
    /// long.
    fn new(algorithm: &AlgorithmIdentifierRef<'a>) -> Result<Self, String> {
        let foreign = |what: &str| {
            format!(
                "its encryption is of a kind that tlssrv does not know ({what}): {ENCRYPT_ANEW}"
            )
        };
        let damaged = |_| "it is encrypted, and damaged".to_owned();
        if algorithm.oid != PBES2 {
            return Err(foreign(&algorithm.oid.to_string()));
        }
        let parameters: Pbes2 = fields(algorithm.parameters).map_err(damaged)?;
        if parameters.derivation.oid == SCRYPT {
            return Err(foreign("scrypt"));
        }
        if parameters.derivation.oid != PBKDF2 {
            return Err(foreign(&parameters.derivation.oid.to_string()));
        }
        let derivation: Pbkdf2 = fields(parameters.derivation.parameters).map_err(damaged)?;
        // "prf AlgorithmIdentifier {{PBKDF2-PRFs}} DEFAULT algid-hmacWithSHA1" (RFC 8018 §A.2)
        let prf = derivation.prf.map_or(HMAC_WITH_SHA1, |prf| prf.oid);
        let mut known = PRFS.into_iter();
        let Some((_, prf)) = known.find(|(oid, _)| *oid == prf) else {
            return Err(foreign(&prf.to_string()));
        };
        let cipher = parameters.cipher.oid;
        let mut known = CIPHERS.into_iter();
        let Some((_, cipher, key_length)) = known.find(|(oid, ..)| *oid == cipher) else {
            return Err(foreign(&cipher.to_string()));
        };
        let iv: &OctetStringRef = fields(parameters.cipher.parameters).map_err(damaged)?;
        let iterations = NonZeroU32::new(derivation.iterations)
            .filter(|iterations| iterations.get() <= MOST_ITERATIONS);
        let iterations = iterations.ok_or_else(|| {
            let iterations = derivation.iterations;
            format!(
                "its encryption takes {iterations} iterations, and 1 to {MOST_ITERATIONS} are \
                 allowed: {ENCRYPT_ANEW}"
            )
        })?;
        Ok(Self {
            prf,
            salt: derivation.salt.as_bytes(),
            iterations,
            cipher,
            key_length,
            iv: iv.as_bytes(),
        })
    }

    /// Decrypts a key. `None`: the password is not the right one.
    fn decrypt(&self, password: &[u8], data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut key = Zeroizing::new([0; LONGEST_KEY]);
        let key = key.get_mut(..self.key_length)?;
        derive(self.prf, self.iterations, self.salt, password, key);
        let key = UnboundCipherKey::new(self.cipher, key).ok()?;
        let context = match self.iv.len() {
            16 => DecryptionContext::Iv128(FixedLength::try_from(self.iv).ok()?),
            _ => DecryptionContext::Iv64(FixedLength::try_from(self.iv).ok()?),
        };
        let mut text = Zeroizing::new(data.to_vec());
        let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
        let length = cipher.decrypt(&mut text, context).ok()?.len();
        text.truncate(length);
        // The padding fits for one wrong password in 256.
        let is_key = Vec::<AnyRef<'_>>::from_der(&text).is_ok();
        is_key.then_some(text)
    }
}

/// Parameters of an algorithm.
fn fields<'a, T: Decode<'a> + der::DecodeValue<'a> + der::FixedTag>(
    parameters: Option<AnyRef<'a>>,
) -> Result<T, ()> {
    let parameters = parameters.ok_or(())?;
    parameters.decode_as().map_err(|_| ())
}

/// RFC 5208 §6
#[derive(Sequence)]
struct EncryptedPrivateKeyInfo<'a> {
    algorithm: AlgorithmIdentifierRef<'a>,
    data: &'a OctetStringRef,
}

/// `PBES2-params` (RFC 8018 §A.4)
#[derive(Sequence)]
struct Pbes2<'a> {
    derivation: AlgorithmIdentifierRef<'a>,
    cipher: AlgorithmIdentifierRef<'a>,
}

/// `PBKDF2-params` (RFC 8018 §A.2)
#[derive(Sequence)]
struct Pbkdf2<'a> {
    salt: &'a OctetStringRef,
    iterations: u32,
    key_length: Option<u32>,
    prf: Option<AlgorithmIdentifierRef<'a>>,
}

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const PBES2: ObjectIdentifier = oid("1.2.840.113549.1.5.13");
const PBKDF2: ObjectIdentifier = oid("1.2.840.113549.1.5.12");
const SCRYPT: ObjectIdentifier = oid("1.3.6.1.4.1.11591.4.11");
const HMAC_WITH_SHA1: ObjectIdentifier = oid("1.2.840.113549.2.7");
/// RFC 8018 §B.1.2
const PRFS: [(ObjectIdentifier, aws_lc_rs::pbkdf2::Algorithm); 4] = [
    (HMAC_WITH_SHA1, PBKDF2_HMAC_SHA1),
    (oid("1.2.840.113549.2.9"), PBKDF2_HMAC_SHA256),
    (oid("1.2.840.113549.2.10"), PBKDF2_HMAC_SHA384),
    (oid("1.2.840.113549.2.11"), PBKDF2_HMAC_SHA512),
];
/// RFC 8018 §B.2, with the lengths of their keys.
const CIPHERS: [(ObjectIdentifier, &Algorithm, usize); 4] = [
    (oid("2.16.840.1.101.3.4.1.2"), &AES_128, 16),
    (oid("2.16.840.1.101.3.4.1.22"), &AES_192, 24),
    (oid("2.16.840.1.101.3.4.1.42"), &AES_256, LONGEST_KEY),
    (oid("1.2.840.113549.3.7"), TRIPLE_DES, 24),
];
/// Old, and still what `openssl req -newkey` of OpenSSL 3.0 encrypts keys with.
#[expect(
    deprecated,
    reason = "it decrypts keys that exist, and encrypts nothing"
)]
const TRIPLE_DES: &Algorithm = &aws_lc_rs::cipher::DES_EDE3_FOR_LEGACY_USE_ONLY;
const LONGEST_KEY: usize = 32;
/// Maximum number of iterations, which take some seconds: the monitor waits for them in a reload.
const MOST_ITERATIONS: u32 = 5_000_000;
