//! Certificate revocation lists (RFC 5280 §5): which is the newest, which key has signed it, and which certificates
//! it is about.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::fmt;
use std::time::SystemTime;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use der::{Decode, Encode, Sequence};
use rustls::pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::{OwnedCertRevocationList, RawPublicKeyEntity};
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::crl::{CrlNumber, IssuingDistributionPoint};
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlDistributionPoints};
use x509_cert::time::Time;

use crate::tls::words;

/// A complete and direct CRL of version 2, of one CA.
pub struct Crl {
    list: webpki::CertRevocationList<'static>,
    /// `cRLNumber` (RFC 5280 §5.2.3), big-endian, without leading zeros.
    number: Option<Vec<u8>>,
    this_update: SystemTime,
    next_update: SystemTime,
    /// The key identifier of the CA (§5.2.1).
    pub(super) key_id: Option<Vec<u8>>,
    scope: Scope,
    /// What the CA has signed, and how: `tbsCertList`, `signatureAlgorithm` (without its header), `signatureValue`.
    signed: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

/// A part of the certificates of a CA: all of them, or those of an `issuingDistributionPoint` (RFC 5280 §5.2.5).
///
/// A CA numbers the CRLs of each scope for themselves (§5.2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    point: Option<Point>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    users_only: bool,
    authorities_only: bool,
    uris: Vec<String>,
}

/// A certificate as a [`Scope`] sees it.
#[derive(Clone, Debug)]
pub(super) struct Scoped {
    /// Whether it is that of a CA, in its place in the chain.
    pub(super) is_authority: bool,
    /// The URIs of its `cRLDistributionPoints`; `None`: it has none.
    pub(super) points: Option<Vec<String>>,
}

impl Crl {
    /// Parses DER. `algorithms`: the signatures that are supported. Errors: why the CRL cannot be used, and what to
    /// do.
    pub fn parse(
        der: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<Self, &'static str> {
        let list = OwnedCertRevocationList::from_der(der).map_err(|error| words::crl(&error))?;
        let damaged = || words::crl(&webpki::Error::BadDer);
        let outer = CertificateList::from_der(der).map_err(|_| damaged())?;
        let signed = outer.tbs.to_der().map_err(|_| damaged())?;
        let tbs = TbsCertList::from_der(&signed).map_err(|_| damaged())?;
        let algorithm = outer.algorithm.value().to_vec();
        if !algorithms
            .iter()
            .any(|known| known.signature_alg_id().as_ref() == algorithm)
        {
            return Err("its signature has an algorithm that is not supported, as SHA-1");
        }
        let number = extension::<CrlNumber>(&tbs.extensions, CRL_NUMBER);
        let key = extension::<AuthorityKeyIdentifier>(&tbs.extensions, AUTHORITY_KEY_IDENTIFIER);
        let point = match has(&tbs.extensions, ISSUING_DISTRIBUTION_POINT) {
            false => None,
            true => {
                extension::<IssuingDistributionPoint>(&tbs.extensions, ISSUING_DISTRIBUTION_POINT)
                    .map(|point| {
                        Some(Point {
                            users_only: point.only_contains_user_certs,
                            authorities_only: point.only_contains_ca_certs,
                            uris: uris(point.distribution_point.as_ref()),
                        })
                    })
                    .ok_or_else(damaged)?
            }
        };
        Ok(Self {
            list: list.into(),
            number: number.map(|number| significant(number.0.as_bytes()).to_vec()),
            this_update: tbs.this_update.to_system_time(),
            next_update: tbs.next_update.to_system_time(),
            key_id: key
                .and_then(|key| key.key_identifier)
                .map(|id| id.as_bytes().to_vec()),
            scope: Scope { point },
            signature: outer.signature.as_bytes().ok_or_else(damaged)?.to_vec(),
            algorithm,
            signed,
        })
    }

    /// The name of the CA: the content of its DER.
    pub(super) fn issuer(&self) -> &[u8] {
        self.list.issuer()
    }

    /// Its scope.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The time from which on it says nothing any more.
    pub fn next_update(&self) -> SystemTime {
        self.next_update
    }

    /// Whether it has this serial number, the content of the INTEGER.
    pub(super) fn revokes(&self, serial: &[u8]) -> Result<bool, webpki::Error> {
        Ok(self.list.find_serial(serial)?.is_some())
    }

    /// Whether it is signed with this key.
    pub(super) fn is_signed_with(
        &self,
        key: &SubjectPublicKeyInfoDer<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let Ok(key) = RawPublicKeyEntity::try_from(key) else {
            return false;
        };
        // Several algorithms have the same identifier: one for each type of key.
        let mut fitting = algorithms
            .iter()
            .filter(|known| known.signature_alg_id().as_ref() == self.algorithm);
        fitting.any(|known| {
            let verified = key.verify_signature(*known, &self.signed, &self.signature);
            verified.is_ok()
        })
    }

    /// Compares by age: a newer one is greater. "CRL numbers allow users to easily determine when a particular CRL
    /// supersedes another CRL" (RFC 5280 §5.2.3); where they are equal or absent, `thisUpdate` decides.
    pub(super) fn compare_age(&self, other: &Self) -> Ordering {
        let number = |crl: &Self| {
            crl.number
                .as_ref()
                .map(|number| (number.len(), number.clone()))
        };
        number(self)
            .cmp(&number(other))
            .then(self.this_update.cmp(&other.this_update))
    }

    /// Whether the number says that it is newer than another, and `thisUpdate` that it is older.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        self.compare_age(other) == Ordering::Greater && self.this_update < other.this_update
    }
}

impl Scope {
    /// Whether it includes a certificate of its CA (RFC 5280 §6.3.3 (b)).
    pub(super) fn includes(&self, certificate: &Scoped) -> bool {
        let Some(point) = &self.point else {
            return true;
        };
        let of_its_kind = match certificate.is_authority {
            true => !point.users_only,
            false => !point.authorities_only,
        };
        let at_its_point = certificate
            .points
            .as_ref()
            .is_none_or(|uris| uris.iter().any(|uri| point.uris.contains(uri)));
        of_its_kind && at_its_point
    }
}

impl Scoped {
    /// The URIs of the distribution points in these extensions. Points for some reasons only, and those of other
    /// issuers, are about CRLs that are not taken.
    pub(super) fn points(extensions: Option<&Extensions>) -> Option<Vec<String>> {
        let extensions = extensions?;
        if !has(extensions, DISTRIBUTION_POINTS) {
            return None;
        }
        let points = extension::<CrlDistributionPoints>(extensions, DISTRIBUTION_POINTS);
        let points = points.map_or_else(Vec::new, |points| points.0);
        let plain = points
            .iter()
            .filter(|point| point.reasons.is_none() && point.crl_issuer.is_none());
        Some(
            plain
                .flat_map(|point| uris(point.distribution_point.as_ref()))
                .collect(),
        )
    }
}

impl fmt::Display for Crl {
    /// `number 12, of 2026-11-28T00:00:00Z`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = humantime::format_rfc3339_seconds(self.this_update);
        match &self.number {
            None => write!(f, "of {date}"),
            Some(number) => match <[u8; 8]>::try_from(padded(number)) {
                Ok(bytes) => write!(f, "number {}, of {date}", u64::from_be_bytes(bytes)),
                Err(_) => {
                    let digits = base16ct::upper::encode_string(number);
                    write!(f, "number 0x{digits}, of {date}")
                }
            },
        }
    }
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crl({self})")
    }
}

/// A number with at least eight bytes.
fn padded(number: &[u8]) -> Vec<u8> {
    let zeros = 8_usize.saturating_sub(number.len());
    [&vec![0; zeros][..], number].concat()
}

fn significant(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

fn uris(name: Option<&DistributionPointName>) -> Vec<String> {
    let Some(DistributionPointName::FullName(names)) = name else {
        return Vec::new();
    };
    let uri = |name: &GeneralName| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    };
    names.iter().filter_map(uri).collect()
}

fn has(extensions: &Extensions, id: ObjectIdentifier) -> bool {
    extensions.iter().any(|extension| extension.extn_id == id)
}

/// The content of an extension; `None`: it is absent or malformed.
pub(super) fn extension<'a, T: Decode<'a>>(
    extensions: &'a Extensions,
    id: ObjectIdentifier,
) -> Option<T> {
    let mut all = extensions.iter();
    let found = all.find(|extension| extension.extn_id == id)?;
    T::from_der(found.extn_value.as_bytes()).ok()
}

// The fields of RFC 5280 §5.1; webpki has checked their syntax.

#[derive(Sequence)]
struct CertificateList<'a> {
    tbs: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
}

#[derive(Sequence)]
struct TbsCertList<'a> {
    version: u8,
    algorithm: AnyRef<'a>,
    issuer: AnyRef<'a>,
    this_update: Time,
    next_update: Time,
    #[asn1(optional = "true")]
    revoked: Option<Vec<AnyRef<'a>>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    extensions: Extensions,
}

const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");
const DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
