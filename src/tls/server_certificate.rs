//! Certificate chains and keys from PEM: whether they match, their dates, and the names they cover.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{CertificateError, InconsistentKeys};
use webpki::EndEntityCert;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use zeroize::Zeroizing;

use super::chain;
use super::contents::{Contents, certificates_and_keys};
use super::pem::Section;
use super::private_key;
use super::words;
use crate::types::NamePattern;

/// A certificate chain and the private key of its leaf.
#[derive(Debug)]
pub struct ServerCertificate {
    /// Chain and signing key for rustls.
    pub certified: Arc<CertifiedKey>,
    /// Validity of the leaf; `None`: its dates cannot be read.
    pub validity: Option<Validity>,
    /// Whether the key was encrypted.
    pub decrypted: bool,
    /// Doubts about the files.
    pub doubts: Vec<(Part, String)>,
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

/// The file that a doubt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file of the chain.
    Chain,
    /// The file of the key, which may be that of the chain.
    Key,
}

/// Error in the PEM text of a [`ServerCertificate`]. It is always the operator's.
#[derive(Debug, PartialEq, Eq)]
pub enum InvalidCertificate {
    /// The chain's text has no certificate, or one that cannot be used.
    Certificate(String),
    /// The key's text has no private key, or one that cannot be used.
    Key(String),
    /// The key does not belong to the chain's first certificate, but perhaps to another one, which is named with its
    /// line.
    Mismatch(Option<String>),
    /// The chain's text has the key, and the key's text the certificate.
    Exchanged,
}

impl ServerCertificate {
    /// Reads a chain, leaf first, and its key from `key_pem`; without `key_pem`, from `chain_pem`.
    ///
    /// Keys may be PKCS #8, PKCS #1 or SEC 1; encrypted ones of PKCS #8 need one of the passwords.
    pub fn from_pem(
        chain_pem: &[u8],
        key_pem: Option<&[u8]>,
        passwords: &[Zeroizing<Vec<u8>>],
    ) -> Result<Self, InvalidCertificate> {
        let of_chain = certificates_and_keys(chain_pem).map_err(InvalidCertificate::Certificate)?;
        let of_key = key_pem.map(certificates_and_keys).transpose();
        let of_key = of_key.map_err(InvalidCertificate::Key)?;
        if of_chain.certificates.is_empty() {
            let has_certificate =
                |file: &Contents| file.keys.is_empty() && !file.certificates.is_empty();
            let exchanged =
                !of_chain.keys.is_empty() && of_key.as_ref().is_some_and(has_certificate);
            return Err(match exchanged {
                true => InvalidCertificate::Exchanged,
                false => InvalidCertificate::Certificate("no certificate in it".into()),
            });
        }
        let keys = &of_key.as_ref().unwrap_or(&of_chain).keys;
        let (section, key) = matching(&of_chain.certificates, keys, passwords)?;
        let chain = of_chain.certificates.iter().map(|(_, der)| der.clone());
        let mut certificate = Self::new(chain.collect(), key)?;
        certificate.decrypted = private_key::is_encrypted(section);
        certificate.doubts = unused(&of_chain, of_key.as_ref(), section);
        let doubts = chain::doubts(&of_chain.certificates);
        let doubts = doubts.into_iter().map(|doubt| (Part::Chain, doubt));
        certificate.doubts.extend(doubts);
        Ok(certificate)
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
        let key = any_supported_type(&key).map_err(|e| e.to_string())?;
        Self::new(vec![certificate.der().clone()], key).map_err(|e| e.to_string())
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
        key: Arc<dyn SigningKey>,
    ) -> Result<Self, InvalidCertificate> {
        let certified = CertifiedKey::new(chain, key);
        match keys_match(&certified)? {
            true => {}
            false => return Err(InvalidCertificate::Mismatch(None)),
        }
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
            decrypted: false,
            doubts: Vec::new(),
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
            Self::Mismatch(_) => f.write_str("the private key is not that of the certificate"),
            Self::Exchanged => f.write_str("the private key is in the place of the certificate"),
        }
    }
}

impl std::error::Error for InvalidCertificate {}

/// The first of the keys that belongs to the first certificate, and its section.
fn matching<'a>(
    certificates: &[(usize, CertificateDer<'static>)],
    keys: &'a [Section],
    passwords: &[Zeroizing<Vec<u8>>],
) -> Result<(&'a Section, Arc<dyn SigningKey>), InvalidCertificate> {
    let (mut other, mut unusable) = (None, None);
    let belongs = |der: &CertificateDer<'static>, key: &Arc<dyn SigningKey>| {
        keys_match(&CertifiedKey::new(vec![der.clone()], Arc::clone(key)))
    };
    for section in keys {
        match private_key::load(section, passwords) {
            Ok(key) => {
                let leaf = certificates.first().map(|(_, der)| belongs(der, &key));
                if leaf.transpose()?.unwrap_or(false) {
                    return Ok((section, key));
                }
                other = other.or(Some(key));
            }
            Err(reason) => unusable = unusable.or(Some(reason)),
        }
    }
    if let Some(reason) = unusable {
        return Err(InvalidCertificate::Key(reason));
    }
    let Some(key) = other else {
        return Err(InvalidCertificate::Key("no private key in it".into()));
    };
    let mut others = certificates.iter().skip(1);
    let owner = others.find(|(_, der)| belongs(der, &key) == Ok(true));
    let owner = owner.map(|(line, der)| format!("{} in line {line}", chain::subject(der)));
    Err(InvalidCertificate::Mismatch(owner))
}

/// Whether a key belongs to the first certificate of its chain. Errors: that certificate cannot be used.
fn keys_match(certified: &CertifiedKey) -> Result<bool, InvalidCertificate> {
    match certified.keys_match() {
        Ok(()) => Ok(true),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Ok(false),
        Err(rustls::Error::InvalidCertificate(CertificateError::BadEncoding)) => Err(
            InvalidCertificate::Certificate("not an X.509 certificate".into()),
        ),
        Err(other) => Err(InvalidCertificate::Certificate(unusable(&other))),
    }
}

/// Sections of the files that are not used, beside that of the key.
fn unused(of_chain: &Contents, of_key: Option<&Contents>, key: &Section) -> Vec<(Part, String)> {
    let mut unused = Vec::new();
    let keys = |file: &Contents| -> Vec<usize> {
        let others = file.keys.iter().filter(|other| other.der != key.der);
        others.map(|other| other.line).collect()
    };
    let mut add = |part, lines: &[usize], what: &str| {
        unused.extend(
            lines
                .iter()
                .map(|line| (part, format!("line {line}: {what}"))),
        );
    };
    let another = "this private key is not used: it is not that of the certificate";
    let dh = "DH parameters are not used: tlssrv has ECDHE, and no DHE";
    add(Part::Chain, &of_chain.dh_parameters, dh);
    match of_key {
        None => add(Part::Key, &keys(of_chain), another),
        Some(of_key) => {
            let elsewhere = "this private key is not used, because \"key\" names another file";
            add(Part::Chain, &keys(of_chain), elsewhere);
            add(Part::Key, &keys(of_key), another);
            add(Part::Key, &of_key.dh_parameters, dh);
            let chain: HashSet<_> = of_chain.certificates.iter().map(|(_, der)| der).collect();
            let others = of_key.certificates.iter();
            let others = others.filter(|(_, der)| !chain.contains(der));
            let others: Vec<usize> = others.map(|(line, _)| *line).collect();
            let beside = "this certificate is not used, because \"cert\" names another file";
            add(Part::Key, &others, beside);
        }
    }
    unused
}

/// Tolerated lag of a client's clock.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);
const SELF_SIGNED_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);
