//! Verifies client certificates: webpki checks chain, dates and revocation, the host's policy checks the subject.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::certificate::Certificate;
use super::policy::Policy;
use crate::tls::{transcript, words};

/// Verifier of the client certificates of one host.
pub struct Verifier {
    chains: Arc<dyn ClientCertVerifier>,
    policy: Policy,
}

impl Verifier {
    /// Errors: what is wrong with a CA's certificate or with a CRL.
    pub fn new(policy: &Policy, provider: &Arc<CryptoProvider>) -> Result<Arc<Self>, String> {
        let mut roots = RootCertStore::empty();
        for authority in &policy.authorities {
            let added = roots.add(authority.clone());
            added.map_err(|e| e.to_string())?;
        }
        // If there are CRLs, every certificate of a chain needs one that is not past its nextUpdate.
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .with_crls(policy.crls.clone())
                .enforce_revocation_expiration();
        let builder = match policy.takes_anonymous() {
            true => builder.allow_unauthenticated(),
            false => builder,
        };
        Ok(Arc::new(Self {
            chains: builder.build().map_err(|e| e.to_string())?,
            policy: policy.clone(),
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
}

// The errors of rustls cannot carry the reason, and a verifier does not know its connection. So the reason is
// kept per thread, and the session takes it before another session runs.
thread_local! {
    static REFUSAL: RefCell<Option<String>> = const { RefCell::new(None) };
}

impl ClientCertVerifier for Verifier {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let refuse = |whose: &str, why: &str| {
            REFUSAL.set(Some(format!(
                "the certificate of the client is refused: {why}: {whose}"
            )));
        };
        let Ok(certificate) = Certificate::parse(end_entity) else {
            refuse("unreadable", "it is not as RFC 5280 has it");
            return Err(CertificateError::BadEncoding.into());
        };
        let whose = certificate.info.identity();
        let verified = self
            .chains
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(unknown_issuer)
            .inspect_err(|error| refuse(&whose, &reason(error)))?;
        // "access_denied: A valid certificate or PSK was received, but when access control was applied,
        // the sender decided not to proceed with negotiation." (RFC 8446 §6.2)
        self.policy.admits(&certificate).map_err(|why| {
            refuse(&whose, why);
            CertificateError::ApplicationVerificationFailure
        })?;
        Ok(verified)
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chains.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // "handshake_messages refers to all handshake messages sent or received, starting at client hello"
        // (RFC 5246 §7.4.8)
        let message = transcript::as_sent(message);
        self.chains.verify_tls12_signature(&message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// A certificate with the name of one of the CAs but another key counts as issued by an unknown CA: "the CA
/// certificate could not be located or could not be matched with a known trust anchor" (RFC 8446 §6.2,
/// `unknown_ca`).
fn unknown_issuer(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            CertificateError::UnknownIssuer.into()
        }
        other => other,
    }
}

/// Reason why a certificate is refused, for the log.
fn reason(error: &Error) -> String {
    let Error::InvalidCertificate(invalid) = error else {
        return words::session(error);
    };
    match invalid {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet"
        }
        CertificateError::Revoked => "it is revoked",
        CertificateError::UnknownIssuer => "nobody in client-ca has issued it",
        CertificateError::UnknownRevocationStatus => "no CRL in client-crl is of its issuer",
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => "its issuer's CRL has expired",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for clients"
        }
        other => words::certificate_error(other),
    }
    .to_owned()
}
