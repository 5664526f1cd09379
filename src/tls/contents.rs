//! Files with certificates, private keys, CRLs and OCSP responses: nothing in them is left out in silence.
#![forbid(unsafe_code)]

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef, Utf8StringRef};
use der::{Decode, Reader, Sequence, SliceReader, Tag, Tagged};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::encoding::{hint, is_der};
use super::pem::{self, Section};

/// Certificates and private keys of a file, with the lines where they begin.
pub(super) struct Contents {
    /// Certificates, in the order of the file.
    pub(super) certificates: Vec<(usize, CertificateDer<'static>)>,
    /// Sections with private keys, in the order of the file.
    pub(super) keys: Vec<Section>,
    /// Lines of DH parameters.
    pub(super) dh_parameters: Vec<usize>,
}

/// Reads a file of certificates and private keys. Errors: it has anything else, or something is damaged.
pub(super) fn certificates_and_keys(bytes: &[u8]) -> Result<Contents, String> {
    let mut contents = Contents {
        certificates: Vec::new(),
        keys: Vec::new(),
        dh_parameters: Vec::new(),
    };
    for (line, item) in items(bytes)? {
        match item {
            Item::Certificate(der, _) => contents.certificates.push((line, der)),
            Item::Key(section) => contents.keys.push(section),
            // `openssl ecparam -genkey` writes them before the key, which has them, too.
            Item::EcParameters => {}
            // Other servers read them from the file of the certificate.
            Item::DhParameters => contents.dh_parameters.push(line),
            other => return Err(misplaced(line, &other)),
        }
    }
    Ok(contents)
}

/// Reads the certificates of CAs for client certificates from PEM. Errors: the file has anything else, a certificate
/// that OpenSSL would not trust for clients, or something damaged.
pub fn authorities(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let authority = |(line, item)| match item {
        Item::Certificate(der, trust) if trust.as_ref().is_none_or(Trust::has_clients) => Ok(der),
        Item::Certificate(..) => Err(format!(
            "line {line}: the trust settings of this TRUSTED CERTIFICATE do not allow TLS clients: \
             \"openssl x509 -in FILE -out NEW\" writes it without them"
        )),
        other => Err(misplaced(line, &other)),
    };
    items(bytes)?.into_iter().map(authority).collect()
}

/// Reads CRLs from PEM, or one from DER. Errors: the file has anything else, or something is damaged.
pub fn crls(bytes: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    if is_der(bytes) {
        return Ok(vec![bytes.to_vec().into()]);
    }
    let crl = |(line, item)| match item {
        Item::Crl(der) => Ok(der.into()),
        other => Err(misplaced(line, &other)),
    };
    items(bytes)?.into_iter().map(crl).collect()
}

/// Reads OCSP responses from PEM, or one from DER. Errors: the file has anything else, or something is damaged.
pub fn ocsp_responses(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let response = |(line, item)| match item {
        Item::OcspResponse(der) => Ok(der),
        other => Err(misplaced(line, &other)),
    };
    if pem::sections(bytes)?.is_empty() {
        return Ok(vec![bytes.to_vec()]);
    }
    items(bytes)?.into_iter().map(response).collect()
}

/// Item of a file.
enum Item {
    /// Certificate, and for a TRUSTED CERTIFICATE of OpenSSL, what it is trusted for.
    Certificate(CertificateDer<'static>, Option<Trust>),
    Key(Section),
    Crl(Vec<u8>),
    OcspResponse(Vec<u8>),
    EcParameters,
    DhParameters,
}

/// All items of a file with their lines. There may be none.
fn items(bytes: &[u8]) -> Result<Vec<(usize, Item)>, String> {
    let sections = pem::sections(bytes)?;
    if sections.is_empty()
        && let Some(hint) = hint(bytes)
    {
        return Err(hint);
    }
    let item = |section: Section| {
        let line = section.line;
        let item = Item::from_section(section);
        item.map(|item| (line, item))
            .map_err(|reason| format!("line {line}: {reason}"))
    };
    sections.into_iter().map(item).collect()
}

/// Message about an item in the file of another key of the configuration.
fn misplaced(line: usize, item: &Item) -> String {
    let what = match item {
        Item::Certificate(..) => "a certificate, which belongs in cert or client-ca",
        Item::Key(_) => "a private key, which belongs in key or cert",
        Item::Crl(_) => "a CRL, which belongs in client-crl",
        Item::OcspResponse(_) => "an OCSP response, which belongs in ocsp",
        Item::EcParameters | Item::DhParameters => "parameters, which belong to a key",
    };
    format!("line {line}: {what}")
}

impl Item {
    /// Makes the item of a section. Errors: why it is of no use.
    fn from_section(section: Section) -> Result<Self, String> {
        let der = || section.der.as_slice().to_vec();
        Ok(match section.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                check_certificate(&section.der)?;
                Self::Certificate(der().into(), None)
            }
            "TRUSTED CERTIFICATE" => {
                let (certificate, trust) = trusted(&section.der)?;
                Self::Certificate(certificate.to_vec().into(), Some(trust))
            }
            "PRIVATE KEY"
            | "RSA PRIVATE KEY"
            | "EC PRIVATE KEY"
            | "DSA PRIVATE KEY"
            | "ENCRYPTED PRIVATE KEY" => Self::Key(section),
            "X509 CRL" => Self::Crl(der()),
            "OCSP RESPONSE" => Self::OcspResponse(der()),
            "EC PARAMETERS" => Self::EcParameters,
            "DH PARAMETERS" | "X9.42 DH PARAMETERS" => Self::DhParameters,
            label => return Err(foreign(label)),
        })
    }
}

/// What is wrong with a section that no file for tlssrv has.
fn foreign(label: &str) -> String {
    let advice = match label {
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => "a CA makes a certificate of it",
        "PUBLIC KEY" | "RSA PUBLIC KEY" => "it is not the private key",
        "PKCS7" | "PKCS #7 SIGNED DATA" | "CMS" => {
            "\"openssl pkcs7 -print_certs -in FILE -out NEW\" takes the certificates out of it"
        }
        "OPENSSH PRIVATE KEY" => "\"ssh-keygen -p -m PKCS8 -f FILE\" converts the file",
        _ => "remove it, if it is not needed",
    };
    format!("a section \"{label}\" cannot be used: {advice}")
}

/// Checks that DER is a certificate at the outside: `SEQUENCE { SEQUENCE, SEQUENCE, BIT STRING }` (RFC 5280 §4.1).
fn check_certificate(der: &[u8]) -> Result<(), &'static str> {
    let parts = Vec::<AnyRef<'_>>::from_der(der).unwrap_or_default();
    let tags: Vec<Tag> = parts.iter().map(Tagged::tag).collect();
    match tags.as_slice() {
        [Tag::Sequence, Tag::Sequence, Tag::BitString] => Ok(()),
        _ => Err("not an X.509 certificate"),
    }
}

/// Splits a TRUSTED CERTIFICATE of OpenSSL: the certificate, and what it is trusted for (`i2d_X509_AUX`(3)).
fn trusted(der: &[u8]) -> Result<(&[u8], Trust), &'static str> {
    let damaged = |_| "not a TRUSTED CERTIFICATE as OpenSSL writes it";
    let mut reader = SliceReader::new(der).map_err(damaged)?;
    let certificate = reader.tlv_bytes().map_err(damaged)?;
    check_certificate(certificate)?;
    if reader.is_finished() {
        return Ok((certificate, Trust::default()));
    }
    let trust = CertAux::decode(&mut reader).map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    let trust = Trust {
        only: trust.trust,
        never: trust.reject.unwrap_or_default(),
    };
    Ok((certificate, trust))
}

/// Trust settings of a certificate (`openssl x509 -addtrust` and `-addreject`).
#[derive(Default)]
struct Trust {
    /// Purposes that it is trusted for; `None`: nothing is said.
    only: Option<Vec<ObjectIdentifier>>,
    /// Purposes that it is not trusted for.
    never: Vec<ObjectIdentifier>,
}

impl Trust {
    /// Whether the CA is trusted for TLS clients. OpenSSL decides in the same way: what is rejected goes first.
    fn has_clients(&self) -> bool {
        let named = |purposes: &[ObjectIdentifier]| {
            let mut purposes = purposes.iter();
            purposes.any(|purpose| [CLIENT_AUTH, ANY_PURPOSE].contains(purpose))
        };
        !named(&self.never) && self.only.as_ref().is_none_or(|only| named(only))
    }
}

/// `X509_CERT_AUX` of OpenSSL.
#[derive(Sequence)]
struct CertAux<'a> {
    trust: Option<Vec<ObjectIdentifier>>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    reject: Option<Vec<ObjectIdentifier>>,
    alias: Option<Utf8StringRef<'a>>,
    key_id: Option<&'a OctetStringRef>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    other: Option<Vec<AnyRef<'a>>>,
}

/// `id-kp-clientAuth` (RFC 5280 §4.2.1.12)
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// `anyExtendedKeyUsage`
const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
