//! Certificate chains and keys from PEM: whether they match, their dates, and the names they cover.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys};
use webpki::EndEntityCert;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use super::words;
use crate::types::NamePattern;

/// A certificate chain and the private key of its leaf.
#[derive(Debug)]
pub struct ServerCertificate {
    /// Chain and signing key for rustls.
    pub certified: Arc<CertifiedKey>,
    /// Validity of the leaf; `None`: its dates cannot be read.
    pub validity: Option<Validity>,
    /// The leaf's dNSName entries, in lower case.
    dns_names: HashSet<String>,
}

/// Validity of a certificate, both ends included (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: SystemTime,
    /// The last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// Reads the validity of a certificate; `None`: its dates cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        // x509-cert is stricter than TLS needs (on the size of serial numbers, for example).
        let certificate = Certificate::from_der(certificate).ok()?;
        let validity = certificate.tbs_certificate().validity();
        Some(Self {
            not_before: validity.not_before.to_system_time(),
            not_after: validity.not_after.to_system_time(),
        })
    }
}

/// Error in the PEM text of a [`ServerCertificate`]. It is always the operator's.
#[derive(Debug, PartialEq, Eq)]
pub enum InvalidCertificate {
    /// The chain's text has no certificate, or one that cannot be used.
    Certificate(String),
    /// The key's text has no private key, or one that cannot be used.
    Key(String),
    /// The key does not belong to the chain's first certificate.
    Mismatch,
}

impl ServerCertificate {
    /// Reads a chain, leaf first, and its key from `key_pem`; without `key_pem`, from `chain_pem`.
    ///
    /// Keys may be PKCS #8, PKCS #1 or SEC 1; encrypted ones are refused.
    pub fn from_pem(chain_pem: &[u8], key_pem: Option<&[u8]>) -> Result<Self, InvalidCertificate> {
        let (chain, key_beside_chain) =
            sections(chain_pem).map_err(InvalidCertificate::Certificate)?;
        if chain.is_empty() {
            return Err(InvalidCertificate::Certificate(
                "no certificate in it".into(),
            ));
        }
        let key = match key_pem {
            Some(key_pem) => sections(key_pem).map_err(InvalidCertificate::Key)?.1,
            None => key_beside_chain,
        };
        let Some(key) = key else {
            let encrypted = is_encrypted(key_pem.unwrap_or(chain_pem));
            let reason = if encrypted {
                "its private key is encrypted"
            } else {
                "no private key in it"
            };
            return Err(InvalidCertificate::Key(reason.into()));
        };
        Self::new(chain, &key)
    }

    /// Makes a throw-away certificate for one DNS name or IP address: a new ECDSA P-256 key and a self-signed
    /// certificate, valid for a week.
    ///
    /// Errors: a certificate cannot carry the name.
    pub fn self_signed(name: &str) -> Result<Self, String> {
        let now = SystemTime::now();
        let mut params = CertificateParams::new([name.to_owned()]).map_err(|e| e.to_string())?;
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + SELF_SIGNED_LIFETIME).into();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "tlssrv throw-away certificate");

        let key_pair = KeyPair::generate().map_err(|e| e.to_string())?;
        let certificate = params.self_signed(&key_pair).map_err(|e| e.to_string())?;
        let key = PrivatePkcs8KeyDer::from(key_pair.serialize_der());
        let key = Zeroizing::new(PrivateKeyDer::Pkcs8(key));
        Self::new(vec![certificate.der().clone()], &key).map_err(|e| e.to_string())
    }

    /// Whether the certificate is valid for every name that the pattern matches (RFC 6125 §6.4): the common name
    /// does not count, and `*` stands for exactly the first label.
    pub fn covers(&self, pattern: &NamePattern) -> bool {
        let wildcard = |base: &str| self.dns_names.contains(&format!("*.{base}"));
        match pattern {
            NamePattern::Exact(name) => {
                let name = name.as_str();
                self.dns_names.contains(name)
                    || name.split_once('.').is_some_and(|(_, base)| wildcard(base))
            }
            NamePattern::Wildcard(base) => wildcard(base.as_str()),
        }
    }

    /// The certificate of a chain that is not empty.
    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<Self, InvalidCertificate> {
        let key = any_supported_type(key)
            .map_err(|_| InvalidCertificate::Key("not a key that TLS can use".into()))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|e| match e {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                InvalidCertificate::Mismatch
            }
            rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => {
                InvalidCertificate::Certificate("not an X.509 certificate".into())
            }
            other => InvalidCertificate::Certificate(unusable(&other)),
        })?;

        let leaf = certified
            .end_entity_cert()
            .map_err(|e| InvalidCertificate::Certificate(unusable(&e)))?;
        let dns_names = EndEntityCert::try_from(leaf)
            .map_err(|e| InvalidCertificate::Certificate(words::certificate(&e).to_owned()))?
            .valid_dns_names()
            .map(str::to_ascii_lowercase)
            .collect();
        let validity = Validity::of(leaf);
        Ok(Self {
            certified: Arc::new(certified),
            validity,
            dns_names,
        })
    }
}

/// Reason why rustls cannot use a certificate.
fn unusable(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => words::certificate_error(error).to_owned(),
        other => words::session(other),
    }
}

impl fmt::Display for InvalidCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(reason) | Self::Key(reason) => f.write_str(reason),
            Self::Mismatch => f.write_str("the private key is not that of the certificate"),
        }
    }
}

impl std::error::Error for InvalidCertificate {}

/// Reads the certificates of PEM text, in order, and its first private key.
///
/// One pass reads both, so that no key is decoded into memory that is not wiped.
fn sections(
    pem: &[u8],
) -> Result<
    (
        Vec<CertificateDer<'static>>,
        Option<Zeroizing<PrivateKeyDer<'static>>>,
    ),
    String,
> {
    let mut chain = Vec::new();
    let mut first_key = None;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        match section {
            Ok((SectionKind::Certificate, der)) => chain.push(CertificateDer::from(der)),
            Ok((kind, der)) => {
                let key = PrivateKeyDer::from_pem(kind, der).map(Zeroizing::new);
                first_key = first_key.or(key);
            }
            Err(_) if is_encrypted(pem) => return Err("its private key is encrypted".into()),
            Err(_) => return Err("not PEM text, or damaged".into()),
        }
    }
    Ok((chain, first_key))
}

/// Whether PEM text has an encrypted key: `ENCRYPTED PRIVATE KEY` (RFC 7468 §11), or the header
/// `Proc-Type: 4,ENCRYPTED` (RFC 1421 §4.6.1.1).
fn is_encrypted(pem: &[u8]) -> bool {
    pem.windows(b"ENCRYPTED".len())
        .any(|window| window == b"ENCRYPTED")
}

/// Tolerated lag of a client's clock.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);
const SELF_SIGNED_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
