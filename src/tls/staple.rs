//! OCSP responses (RFC 6960) for the server's certificates: their contents, and the time until which they are
//! stapled.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, IntRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Enumerated, Sequence};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;

/// A server certificate, with or without an OCSP response stapled to it.
#[derive(Clone, Debug)]
pub struct StapledCertificate {
    /// The certificate without a response.
    pub certified: Arc<CertifiedKey>,
    /// The certificate with a response, if one is stapled.
    stapled: Option<Stapled>,
}

/// A certificate with an OCSP response, and the time until which clients accept the response.
#[derive(Clone, Debug)]
struct Stapled {
    certified: Arc<CertifiedKey>,
    until: SystemTime,
}

impl StapledCertificate {
    /// The certificate to send at `now`: with the response until its `nextUpdate`, without it afterwards.
    pub fn at(&self, now: SystemTime) -> &Arc<CertifiedKey> {
        let stapled = self.stapled.as_ref().filter(|stapled| now < stapled.until);
        stapled.map_or(&self.certified, |stapled| &stapled.certified)
    }

    /// The time until which a response is stapled; `None`: no response is stapled.
    pub fn until(&self) -> Option<SystemTime> {
        self.stapled.as_ref().map(|stapled| stapled.until)
    }

    /// Staples a response to the certificate until its `nextUpdate`, `until`.
    pub fn staple(&mut self, response: &Response<'_>, until: SystemTime) {
        let mut certified = CertifiedKey::clone(&self.certified);
        certified.ocsp = Some(response.der.to_vec());
        let certified = Arc::new(certified);
        self.stapled = Some(Stapled { certified, until });
    }
}

impl From<Arc<CertifiedKey>> for StapledCertificate {
    fn from(certified: Arc<CertifiedKey>) -> Self {
        Self {
            certified,
            stapled: None,
        }
    }
}

/// A response of the type `id-pkix-ocsp-basic`. Clients verify its signature: an attacker who can write it to our
/// files could as well remove it.
pub struct Response<'a> {
    der: &'a [u8],
    about: Vec<SingleResponse<'a>>,
}

/// The reason why a response can never be stapled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidResponse {
    /// It is not DER of a response.
    Malformed,
    /// The responder returned an error: its status (RFC 6960 §4.2.1).
    Unsuccessful(&'static str),
    /// It is of another type than `id-pkix-ocsp-basic`.
    Type,
}

/// The status of one certificate, from a response: the fields of a `SingleResponse` (RFC 6960 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// Whether the certificate is good.
    pub status: Status,
    /// "The most recent time at which the status being indicated is known by the responder to have been
    /// correct" (RFC 6960 §2.4).
    pub this_update: SystemTime,
    /// "The time at or before which newer information will be available about the status of the
    /// certificate" (§2.4), if the responder says so.
    pub next_update: Option<SystemTime>,
}

/// `CertStatus` (RFC 6960 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The certificate is not revoked.
    Good,
    /// The certificate is revoked.
    Revoked,
    /// The responder does not know the certificate.
    Unknown,
}

impl<'a> Response<'a> {
    /// Reads the DER of an `OCSPResponse`, as `openssl ocsp -respout` writes it.
    pub fn parse(der: &'a [u8]) -> Result<Self, InvalidResponse> {
        let malformed = |_| InvalidResponse::Malformed;
        let outer = OcspResponse::from_der(der).map_err(malformed)?;
        let bytes = match (outer.status, outer.bytes) {
            (ResponseStatus::Successful, Some(bytes)) => bytes,
            (ResponseStatus::Successful, None) => return Err(InvalidResponse::Malformed),
            (status, _) => return Err(InvalidResponse::Unsuccessful(status.name())),
        };
        if bytes.kind != BASIC {
            return Err(InvalidResponse::Type);
        }
        let basic = BasicOcspResponse::from_der(bytes.response.as_bytes()).map_err(malformed)?;
        Ok(Self {
            der,
            about: basic.data.responses,
        })
    }

    /// The status of the first certificate of a chain; `None`: the response is not about it.
    pub fn status_of(&self, chain: &[CertificateDer<'_>]) -> Option<CertificateStatus> {
        let parse = |der: &CertificateDer<'_>| Certificate::from_der(der).ok();
        let leaf = parse(chain.first()?)?;
        // The issuer can be anywhere in a chain that is out of order; a self-signed leaf is its own issuer.
        let issued = |issuer: &Certificate| {
            issuer.tbs_certificate().subject() == leaf.tbs_certificate().issuer()
        };
        let issuer = chain.iter().filter_map(parse).find(issued);
        let mut about = self.about.iter();
        let single = about.find(|single| single.about.is(&leaf, issuer.as_ref()))?;
        Some(CertificateStatus {
            status: single.status()?,
            this_update: single.this_update.to_system_time(),
            next_update: single.next_update.map(|time| time.to_system_time()),
        })
    }
}

impl fmt::Display for InvalidResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not an OCSP response in DER"),
            Self::Unsuccessful(status) => write!(f, "the responder answered {status}"),
            Self::Type => f.write_str("not a basic OCSP response"),
        }
    }
}

impl std::error::Error for InvalidResponse {}

// The fields of RFC 6960 §4.2.1 that are needed here; the others are skipped.

#[derive(Sequence)]
struct OcspResponse<'a> {
    status: ResponseStatus,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    bytes: Option<ResponseBytes<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Enumerated)]
#[repr(u32)]
enum ResponseStatus {
    Successful = 0,
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SigRequired = 5,
    Unauthorized = 6,
}

#[derive(Sequence)]
struct ResponseBytes<'a> {
    kind: ObjectIdentifier,
    response: &'a OctetStringRef,
}

#[derive(Sequence)]
struct BasicOcspResponse<'a> {
    data: ResponseData<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certificates: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct ResponseData<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    version: Option<u8>,
    responder: AnyRef<'a>,
    produced_at: GeneralizedTime,
    responses: Vec<SingleResponse<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct SingleResponse<'a> {
    about: CertId<'a>,
    status: AnyRef<'a>,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct CertId<'a> {
    hash: AlgorithmIdentifier<'a>,
    issuer_name: &'a OctetStringRef,
    issuer_key: &'a OctetStringRef,
    serial: IntRef<'a>,
}

#[derive(Sequence)]
struct AlgorithmIdentifier<'a> {
    algorithm: ObjectIdentifier,
    parameters: Option<AnyRef<'a>>,
}

impl ResponseStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Successful => "successful",
            Self::MalformedRequest => "malformedRequest",
            Self::InternalError => "internalError",
            Self::TryLater => "tryLater",
            Self::SigRequired => "sigRequired",
            Self::Unauthorized => "unauthorized",
        }
    }
}

impl SingleResponse<'_> {
    /// `good [0] IMPLICIT NULL, revoked [1] IMPLICIT RevokedInfo, unknown [2] IMPLICIT UnknownInfo`
    fn status(&self) -> Option<Status> {
        let tag = der::Tagged::tag(&self.status);
        match (tag.is_context_specific(), tag.number().value()) {
            (true, 0) => Some(Status::Good),
            (true, 1) => Some(Status::Revoked),
            (true, 2) => Some(Status::Unknown),
            _ => None,
        }
    }
}

impl CertId<'_> {
    /// Whether the response names this certificate. Without the issuer's certificate, the issuer's name is compared
    /// and not its key.
    fn is(&self, leaf: &Certificate, issuer: Option<&Certificate>) -> bool {
        let same = |expected: &OctetStringRef, bytes: &[u8]| {
            let algorithm = self.algorithm();
            algorithm.is_some_and(|with| digest(with, bytes).as_ref() == expected.as_bytes())
        };
        let leaf = leaf.tbs_certificate();
        let name = leaf.issuer().to_der();
        let key = issuer.map(|issuer| {
            let key = issuer.tbs_certificate().subject_public_key_info();
            key.subject_public_key.raw_bytes()
        });
        leaf.serial_number().as_bytes() == self.serial.as_bytes()
            && name.is_ok_and(|name| same(self.issuer_name, &name))
            && key.is_none_or(|key| same(self.issuer_key, key))
    }

    fn algorithm(&self) -> Option<&'static Algorithm> {
        let known = [
            (SHA1_OID, &SHA1_FOR_LEGACY_USE_ONLY),
            (SHA256_OID, &SHA256),
            (SHA384_OID, &SHA384),
            (SHA512_OID, &SHA512),
        ];
        let mut known = known.into_iter();
        known.find_map(|(oid, with)| (oid == self.hash.algorithm).then_some(with))
    }
}

/// `id-pkix-ocsp-basic`
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const SHA1_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");
