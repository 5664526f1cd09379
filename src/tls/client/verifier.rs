//! Verifies client certificates: webpki checks chains and their dates, `revocation` the CRLs, and the host's policy
//! the subject. Certificates and keys that the host trusts themselves need no chain.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme, crypto,
};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity, VerifiedPath};

use super::authority::vouches;
use super::certificate::Certificate;
use super::policy::{Pin, Policy};
use super::revocation::{Crls, Issuer, spki};
use crate::tls::{transcript, words};
use crate::types::ClientCertificate;

/// Verifier of the client certificates of one host.
pub struct Verifier {
    policy: Policy,
    anchors: Vec<TrustAnchor<'static>>,
    /// The CAs of the anchors, in the same order.
    issuers: Vec<Issuer>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Errors: what is wrong with a CA's certificate.
    pub fn new(policy: &Policy, provider: &Arc<CryptoProvider>) -> Result<Arc<Self>, String> {
        let (mut anchors, mut issuers, mut hints) = (Vec::new(), Vec::new(), Vec::new());
        for authority in &policy.authorities {
            if !vouches(authority) {
                // Clients choose a certificate by its issuer.
                let certificate = Certificate::parse(authority).map_err(|e| e.to_string())?;
                hints.push(DistinguishedName::in_sequence(&certificate.issuer));
                continue;
            }
            let anchor = webpki::anchor_from_trusted_cert(authority);
            let anchor = anchor
                .map_err(|error| words::certificate(&error))?
                .to_owned();
            let key = spki(&anchor.subject_public_key_info);
            issuers.push(Issuer::new(authority, key.ok_or("its key is malformed")?));
            hints.push(DistinguishedName::in_sequence(&anchor.subject));
            anchors.push(anchor);
        }
        Ok(Arc::new(Self {
            policy: policy.clone(),
            hints,
            anchors,
            issuers,
            algorithms: provider.signature_verification_algorithms,
        }))
    }

    /// Verifies the chain of a resumed session, leaf first, at the present time.
    ///
    /// Errors: as in a full handshake; [`Verifier::take_refusal_reason`] says more.
    pub fn verify_resumed(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return match self.policy.takes_anonymous() {
                true => Ok(()),
                false => Err(Error::NoCertificatesPresented),
            };
        };
        self.verify_client_cert(leaf, intermediates, UnixTime::now())
            .map(drop)
    }

    /// Takes the reason of the last refusal on this thread, with the subject of the refused certificate.
    pub fn take_refusal_reason() -> Option<String> {
        REFUSAL.take()
    }

    /// The facts about the certificate of a client that has proved to have its key. `None`: it cannot be parsed, so
    /// it has not been verified either.
    pub fn facts(&self, leaf: &CertificateDer<'_>) -> Option<ClientCertificate> {
        let certificate = Certificate::parse(leaf).ok()?;
        Some(match self.policy.pin(leaf, &certificate) {
            Some(Pin::Key) => certificate.info.without_names(certificate.spki),
            Some(Pin::Certificate) | None => certificate.info,
        })
    }

    /// Verifies a certificate that needs no CA: it has to be for clients, not expired, and in none of the CRLs.
    fn verify_pinned(&self, certificate: &Certificate, now: UnixTime) -> Result<(), Refusal> {
        let crls = self.crls();
        let refused = |error: webpki::Error| Refusal {
            why: words::certificate(&error).to_owned(),
            error: for_alert(error),
        };
        let refusal = |error: CertificateError| Refusal {
            why: words::certificate_error(&error).to_owned(),
            error,
        };
        match now.as_secs() {
            now if now < *certificate.valid.start() => Err(refusal(CertificateError::NotValidYet)),
            now if now > *certificate.valid.end() => Err(refusal(CertificateError::Expired)),
            _ if !certificate.for_clients => Err(refusal(CertificateError::InvalidPurpose)),
            _ if crls.have(certificate).map_err(refused)? => {
                Err(refusal(CertificateError::Revoked))
            }
            _ => Ok(()),
        }
    }

    /// The key of a certificate that is trusted without a CA. webpki cannot read all of these, not those of X.509
    /// version 1, for example.
    fn pinned_key(&self, der: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
        let certificate = Certificate::parse(der).ok()?;
        self.policy.pin(der, &certificate)?;
        Some(certificate.key)
    }

    /// Verifies the signature of a `CertificateVerify` of TLS 1.2, whose scheme fits several types of keys, as rustls
    /// does it with the key of a certificate.
    fn verify_tls12_with_key(
        &self,
        message: &[u8],
        key: &SubjectPublicKeyInfoDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let wrong = || Error::InvalidCertificate(CertificateError::BadSignature);
        let key = RawPublicKeyEntity::try_from(key).map_err(|_| wrong())?;
        let offered = self.algorithms.mapping.iter();
        let mut offered = offered.filter(|(scheme, _)| *scheme == dss.scheme);
        let Some((_, algorithms)) = offered.next() else {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        };
        let mut verified = algorithms
            .iter()
            .map(|algorithm| key.verify_signature(*algorithm, message, dss.signature()));
        match verified.any(|verified| verified.is_ok()) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(wrong()),
        }
    }

    fn crls(&self) -> Crls<'_> {
        Crls {
            list: &self.policy.crls,
            algorithms: self.algorithms.all,
        }
    }

    /// Verifies that a CA of the host has issued the certificate, for clients, and that no certificate of the chain
    /// has expired or is revoked.
    fn verify_chain(
        &self,
        certificate: &Certificate,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        // The certificate of the chain that the CRLs are against.
        let revoked = Cell::new(0);
        let check = |path: &VerifiedPath<'_>| {
            let mut anchors = self.anchors.iter().zip(&self.issuers);
            let same = |(anchor, _): &(&TrustAnchor<'_>, _)| {
                anchor.subject == path.anchor().subject
                    && anchor.subject_public_key_info == path.anchor().subject_public_key_info
            };
            let (_, issuer) = anchors.find(same).ok_or(webpki::Error::UnknownIssuer)?;
            self.crls()
                .check(path, issuer, now)
                .map_err(|(place, error)| {
                    revoked.set(place);
                    error
                })
        };
        // If there are CRLs, every certificate of a chain needs one that is not past its nextUpdate.
        let check: Option<&CheckPath<'_>> = match self.policy.crls.is_empty() {
            true => None,
            false => Some(&check),
        };
        let verified = EndEntityCert::try_from(leaf).and_then(|leaf| {
            leaf.verify_for_usage(
                self.algorithms.all,
                &self.anchors,
                intermediates,
                now,
                KeyUsage::client_auth(),
                None,
                check,
            )
            .map(drop)
        });
        verified.map_err(|error| {
            let of_leaf = match &error {
                webpki::Error::CertExpired {
                    not_after: date, ..
                } => *certificate.valid.end() == date.as_secs(),
                webpki::Error::CertNotValidYet {
                    not_before: date, ..
                } => *certificate.valid.start() == date.as_secs(),
                _ => revoked.get() == 0,
            };
            let why = match error {
                webpki::Error::CaUsedAsEndEntity => {
                    "it is the certificate of a CA, which counts for a client only if it is itself in client-ca"
                }
                _ => words::certificate(&error),
            };
            Refusal {
                why: match of_leaf {
                    true => why.to_owned(),
                    false => format!("a CA between it and client-ca is refused: {why}"),
                },
                error: for_alert(error),
            }
        })
    }
}

type CheckPath<'a> = dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error> + 'a;

/// Why a certificate is refused.
struct Refusal {
    /// With "it" for the certificate.
    why: String,
    /// Decides the alert.
    error: CertificateError,
}

// The errors of rustls cannot carry the reason, and a verifier does not know its connection. So the reason is
// kept per thread, and the session takes it before another session runs.
thread_local! {
    static REFUSAL: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Refuses a certificate: keeps the reason, and returns the error for rustls.
fn refuse(refusal: Refusal, whose: &str) -> Error {
    let Refusal { why, error } = refusal;
    REFUSAL.set(Some(format!(
        "the certificate of the client is refused: {why}: {whose}"
    )));
    error.into()
}

impl ClientCertVerifier for Verifier {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let certificate = Certificate::parse(end_entity).map_err(|_| {
            let refusal = Refusal {
                why: "it is not as RFC 5280 has it".to_owned(),
                error: CertificateError::BadEncoding,
            };
            refuse(refusal, "unreadable")
        })?;
        // "access_denied: A valid certificate or PSK was received, but when access control was applied,
        // the sender decided not to proceed with negotiation." (RFC 8446 §6.2)
        let admitted = |certificate: &Certificate| {
            self.policy.admits(certificate).map_err(|why| Refusal {
                why: why.to_owned(),
                error: CertificateError::ApplicationVerificationFailure,
            })
        };
        let verified = match self.policy.pin(end_entity, &certificate) {
            Some(_) => self.verify_pinned(&certificate, now),
            None if self.policy.authorities.is_empty() => Err(Refusal {
                why: "its key is not in allow".to_owned(),
                error: CertificateError::ApplicationVerificationFailure,
            }),
            None if self.anchors.is_empty() => Err(Refusal {
                why: "it is not in client-ca, where there is no CA".to_owned(),
                error: CertificateError::UnknownIssuer,
            }),
            None => self.verify_chain(&certificate, end_entity, intermediates, now),
        };
        verified
            .and_then(|()| admitted(&certificate))
            .map(|()| ClientCertVerified::assertion())
            .map_err(|refusal| refuse(refusal, &certificate.info.identity()))
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.policy.takes_anonymous()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // "handshake_messages refers to all handshake messages sent or received, starting at client hello"
        // (RFC 5246 §7.4.8)
        let message = &transcript::as_sent(message);
        match self.pinned_key(cert) {
            Some(key) => self.verify_tls12_with_key(message, &key, dss),
            None => crypto::verify_tls12_signature(message, cert, dss, &self.algorithms),
        }
        .map_err(|error| not_proved(error, cert))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.algorithms;
        match self.pinned_key(cert) {
            Some(key) => {
                crypto::verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
            }
            None => crypto::verify_tls13_signature(message, cert, dss, algorithms),
        }
        .map_err(|error| not_proved(error, cert))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// Keeps the reason for a `CertificateVerify` that proves nothing.
fn not_proved(error: Error, certificate: &CertificateDer<'_>) -> Error {
    if let Error::InvalidCertificate(_) = &error {
        let parsed = Certificate::parse(certificate);
        let whose = parsed.map_or_else(|_| "unreadable".to_owned(), |c| c.info.identity());
        REFUSAL.set(Some(format!(
            "the client has not proved that it has the key of its certificate: {whose}"
        )));
    }
    error
}

/// The error of rustls with the alert for one of webpki.
fn for_alert(error: webpki::Error) -> CertificateError {
    use webpki::Error as E;
    match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertExpired { .. } | E::InvalidCertValidity => CertificateError::Expired,
        E::CertNotValidYet { .. } => CertificateError::NotValidYet,
        E::CertRevoked => CertificateError::Revoked,
        // A certificate with the name of one of the CAs but another key counts as issued by an unknown CA: "the CA
        // certificate could not be located or could not be matched with a known trust anchor" (RFC 8446 §6.2,
        // `unknown_ca`).
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => CertificateError::UnknownIssuer,
        E::UnknownRevocationStatus
        | E::CrlExpired { .. }
        | E::InvalidCrlSignatureForPublicKey
        | E::IssuerNotCrlSigner => CertificateError::UnknownRevocationStatus,
        E::EmptyEkuExtension | E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        E::UnsupportedSignatureAlgorithmContext(context) => {
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: context.signature_algorithm_id,
                supported_algorithms: context.supported_algorithms,
            }
        }
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}
