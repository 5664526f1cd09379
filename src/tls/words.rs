//! Errors of rustls and webpki in plain English, for the log and for messages. The libraries show most of their
//! errors as the names that these have in Rust.
//!
//! The enums of both libraries may grow: a name that is unknown here gets a general sentence, never the name.
#![forbid(unsafe_code)]

use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// An error of a session, for the log. The client is the peer.
pub fn session(error: &Error) -> String {
    let received = |what: String| format!("peer misbehaved: {what}");
    match error {
        Error::InappropriateMessage { got_type, .. } => {
            let name = rfc_name(got_type.as_str(), "type", (*got_type).into());
            received(format!("{name} record at the wrong time"))
        }
        Error::InappropriateHandshakeMessage { got_type, .. } => {
            let name = rfc_name(got_type.as_str(), "type", (*got_type).into());
            received(format!("{name} message at the wrong time"))
        }
        Error::InvalidMessage(invalid) => received(message(*invalid).to_owned()),
        Error::PeerMisbehaved(how) => received(misbehaved(how).to_owned()),
        Error::PeerIncompatible(why) => format!("peer is incompatible: {}", incompatible(why)),
        Error::AlertReceived(alert) => {
            let name = rfc_name(alert.as_str(), "alert", (*alert).into());
            format!("client sent alert {name}")
        }
        Error::InvalidCertificate(invalid) => {
            format!(
                "the certificate of the client is refused: {}",
                certificate_error(invalid)
            )
        }
        Error::General(reason) => reason.clone(),
        other => plain(other).to_owned(),
    }
}

/// Errors without further facts.
fn plain(error: &Error) -> &'static str {
    match error {
        Error::NoCertificatesPresented => "peer sent no certificates",
        Error::DecryptError => "cannot decrypt peer's message",
        Error::EncryptError => "cannot encrypt: the keys are used up",
        Error::PeerSentOversizedRecord => "peer sent a record that is too long",
        Error::HandshakeNotComplete => "the handshake is not complete",
        Error::NoApplicationProtocol => "the client offers no application protocol of the host",
        Error::FailedToGetCurrentTime => "unable to read the clock",
        Error::FailedToGetRandomBytes => "unable to get random bytes",
        Error::BadMaxFragmentSize => "the length of records is too small or too large",
        Error::InconsistentKeys(_) => "the private key is not that of the certificate",
        _ => "the TLS library failed",
    }
}

/// What the client did wrong, of the errors that a server can find.
fn misbehaved(how: &PeerMisbehaved) -> &'static str {
    use PeerMisbehaved as P;
    match how {
        P::CipherSuiteDifferedOnRetry => "its second hello leads to another cipher suite",
        P::HandshakeHashVariedAfterRetry => "its second hello leads to another hash",
        P::RefusedToFollowHelloRetryRequest => {
            "its second hello lacks the key share that it was asked for"
        }
        P::ServerNameDifferedOnRetry => "its second hello has another server name",
        P::MissingPskExtensionInSecondClientHello => "its second hello lacks pre_shared_key",
        P::EarlyDataAttemptedInSecondClientHello => "its second hello announces early data",
        P::ServerNameMustContainOneHostName => "server_name is not one host name",
        P::ResumptionAttemptedWithVariedEms => {
            "it resumes a session, but not with the same extended_master_secret"
        }
        P::OfferedIncorrectCompressions => "compression in TLS 1.3",
        P::OfferedDuplicateKeyShares => "two key shares of one group",
        P::InvalidKeyShare | P::MissingKeyShare | P::WrongGroupForKeyShare => {
            "a key share that is none of its group"
        }
        P::OfferedDuplicateCertificateCompressions => "compress_certificate has an algorithm twice",
        P::SelectedUnofferedCertCompression | P::InvalidCertCompression => {
            "its certificate is compressed wrongly"
        }
        P::UnsolicitedCertExtension | P::BadCertChainExtensions => {
            "its certificate has an extension that it was not asked for"
        }
        P::MissingPskModesExtension => "pre_shared_key without psk_key_exchange_modes",
        P::MissingBinderInPskExtension | P::PskExtensionWithMismatchedIdsAndBinders => {
            "not as many binders as identities"
        }
        P::IncorrectBinder => "a wrong binder: it does not have the secret of the session",
        P::PskExtensionMustBeLast => "pre_shared_key is not last",
        P::DuplicateClientHelloExtensions => "an extension is there twice",
        P::OfferedEmptyApplicationProtocol => "an application protocol without a name",
        P::TooMuchEarlyDataReceived => "more early data than is skipped",
        P::MessageInterleavedWithHandshakeMessage
        | P::RejectedEarlyDataInterleavedWithHandshakeMessage => {
            "another record inside a handshake message"
        }
        P::KeyEpochWithPendingFragment => "a handshake message with other keys at its end",
        P::IllegalMiddleboxChangeCipherSpec => "change_cipher_spec at the wrong time, or again",
        P::IllegalTlsInnerPlaintext => "a record without a content type",
        P::TooManyEmptyFragments => "too many empty records",
        P::TooManyKeyUpdateRequests => "too many key updates",
        P::TooManyRenegotiationRequests => "it asks for renegotiation again and again",
        P::TooManyWarningAlertsReceived => "too many warning alerts",
        P::SignedHandshakeWithUnadvertisedSigScheme | P::SignedKxWithWrongAlgorithm => {
            "its signature has a scheme that was not offered"
        }
        _ => "it broke the TLS protocol",
    }
}

/// What the client and the host have not in common.
fn incompatible(why: &PeerIncompatible) -> &'static str {
    use PeerIncompatible as P;
    match why {
        P::NoCipherSuitesInCommon => "no cipher suite in common",
        P::NoKxGroupsInCommon => "no group in common",
        P::NoSignatureSchemesInCommon => {
            "no signature scheme in common: the host needs a certificate with another key"
        }
        P::SignatureAlgorithmsExtensionRequired => "its hello lacks signature_algorithms",
        P::NamedGroupsExtensionRequired => "its hello lacks supported_groups",
        P::KeyShareExtensionRequired => "its hello lacks key_share",
        P::ExtendedMasterSecretExtensionRequired => "its hello lacks extended_master_secret",
        P::EcPointsExtensionRequired
        | P::NoEcPointFormatsInCommon
        | P::UncompressedEcPointsRequired => "it does not take uncompressed points",
        P::NullCompressionRequired => "it offers compression only",
        P::IncorrectCertificateTypeExtension | P::UnsolicitedCertificateTypeExtension => {
            "it wants another type of certificate than X.509"
        }
        P::SupportedVersionsExtensionRequired
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig => "no version in common",
        _ => "it offers nothing that the host takes",
    }
}

/// Why a message cannot be parsed.
fn message(invalid: InvalidMessage) -> &'static str {
    use InvalidMessage as M;
    match invalid {
        M::MissingData(_) | M::MessageTooShort => "a message ends too early",
        M::TrailingData(_) => "a message has data after its end",
        M::MessageTooLarge | M::HandshakePayloadTooLarge => "a message is too long",
        M::CertificatePayloadTooLarge => "its certificates are too long",
        M::IllegalEmptyList(_) | M::IllegalEmptyValue | M::NoSignatureSchemes => {
            "a list or a value in a message is empty"
        }
        M::DuplicateExtension(_) => "an extension is there twice",
        M::PreSharedKeyIsNotFinalExtension => "pre_shared_key is not last",
        M::InvalidServerName => "server_name is malformed",
        M::InvalidKeyUpdate => "key_update is malformed",
        M::InvalidCcs => "change_cipher_spec is malformed",
        M::InvalidContentType => "a record of an unknown type",
        M::InvalidEmptyPayload => "an empty record",
        M::UnknownProtocolVersion => "a record of no version of TLS",
        M::MissingKeyExchange | M::UnsupportedKeyExchangeAlgorithm(_) => {
            "client_key_exchange is malformed"
        }
        M::UnknownCertificateExtension => "its certificate has an unknown extension",
        _ => "a message is malformed",
    }
}

/// Why a certificate is wrong, with "it" for the certificate.
pub fn certificate_error(error: &CertificateError) -> &'static str {
    use CertificateError as C;
    match error {
        C::BadEncoding => DAMAGED,
        C::Expired | C::ExpiredContext { .. } => "it has expired",
        C::NotValidYet | C::NotValidYetContext { .. } => "it is not valid yet",
        C::Revoked => "it is revoked",
        C::UnhandledCriticalExtension => "it has a critical extension that is unknown",
        C::UnknownIssuer => "its issuer is unknown",
        C::BadSignature => "its signature is wrong",
        C::UnsupportedSignatureAlgorithmContext { .. } => WEAK,
        C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => OTHER_KEY,
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => "it is not for clients",
        C::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(error) => certificate(error),
            None => "it cannot be used",
        },
        _ => "it cannot be used",
    }
}

/// Why a certificate or its chain is wrong, with "it" for the certificate.
pub fn certificate(error: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => DAMAGED,
        E::CaUsedAsEndEntity => "it is the certificate of a CA",
        E::EndEntityUsedAsCa => "its issuer is not a CA",
        E::CertDistrusted => "its key, or that of its issuer, is known not to be secret",
        E::CertExpired { .. } => "it has expired",
        E::CertNotValidYet { .. } => "it is not valid yet",
        E::InvalidCertValidity => "it expires before it is valid",
        E::CertRevoked => "it is revoked",
        E::CrlExpired { .. } => "its issuer's CRL has expired",
        E::UnknownRevocationStatus => "no CRL in client-crl is of its issuer",
        E::InvalidCrlSignatureForPublicKey => {
            "no CRL in client-crl is signed with the key of its issuer"
        }
        E::IssuerNotCrlSigner => "the key usage of its issuer is not for CRLs",
        // A certificate with the name of one of the CAs but another key is not of that CA.
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => "nobody in client-ca has issued it",
        E::EmptyEkuExtension | E::RequiredEkuNotFoundContext(_) => "it is not for clients",
        E::ExtensionValueInvalid | E::MalformedExtensions => "an extension in it is malformed",
        E::InvalidSerialNumber => "its serial number is malformed",
        E::MalformedDnsIdentifier => "a DNS name in it is malformed",
        E::MalformedNameConstraint | E::InvalidNetworkMaskConstraint => {
            "a name constraint of its issuer is malformed"
        }
        E::NameConstraintViolation => "its issuer may not give out such names",
        E::PathLenConstraintViolated => {
            "there are more CAs between it and client-ca than these allow"
        }
        E::MaximumNameConstraintComparisonsExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded => "there are too many CAs with it",
        E::SignatureAlgorithmMismatch => "it has two different signature algorithms",
        E::UnsupportedCertVersion => "it is of an old version of X.509, and has to be of version 3",
        E::UnsupportedCriticalExtension => "it has a critical extension that is unknown",
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmContext(_) => WEAK,
        E::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => OTHER_KEY,
        _ => "it cannot be verified",
    }
}

/// Why a CRL cannot be used, with "it" for the CRL, and what to do.
pub fn crl(error: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match error {
        E::UnsupportedDeltaCrl => {
            "it is a delta CRL, which has only what is new since another: name the CA's complete CRL"
        }
        E::UnsupportedIndirectCrl => {
            "it is an indirect CRL, which is about certificates of others than its issuer: name each CA's own CRL"
        }
        E::UnsupportedRevocationReasonsPartitioning => {
            "it is for some of the reasons of revocation: name the CA's complete CRL"
        }
        E::UnsupportedCrlIssuingDistributionPoint => {
            "its issuing distribution point has no full name: name the CA's complete CRL"
        }
        E::UnsupportedCriticalExtension => "it has a critical extension that is unknown",
        E::UnsupportedRevocationReason => "it has a reason of revocation that is unknown",
        E::InvalidCrlNumber => "its CRL number is malformed",
        E::InvalidSerialNumber => "a serial number in it is malformed",
        E::SignatureAlgorithmMismatch => "it has two different signature algorithms",
        _ => {
            "it is damaged, or not of version 2, which \"openssl ca\" makes where its configuration has a \
             crlnumber"
        }
    }
}

const DAMAGED: &str = "it is not as RFC 5280 has it";
const WEAK: &str = "its signature has an algorithm that is not supported, as SHA-1";
const OTHER_KEY: &str =
    "its signature and its issuer's key do not go together, or the key is not supported";

/// `HandshakeFailure` → `handshake_failure`; an alert without a name → `alert 77`.
pub(super) fn rfc_name(camel_case: Option<&str>, what: &str, code: u8) -> String {
    let Some(camel_case) = camel_case else {
        return format!("{what} {code}");
    };
    let mut name = String::with_capacity(camel_case.len() + 4);
    let mut before = '_';
    let mut letters = camel_case.chars().peekable();
    while let Some(letter) = letters.next() {
        let ends_an_acronym = letters.peek().is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase()
            && before != '_'
            && (before.is_ascii_lowercase() || ends_an_acronym)
        {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
        before = letter;
    }
    name
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, ContentType, HandshakeType, OtherError};

    use super::*;

    /// Fails if a text has a name as Rust writes it, such as `UnknownIssuer`.
    fn assert_plain(text: &str) {
        let mut pairs = text.as_bytes().windows(2);
        let camel = pairs.any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
        let known = text.contains("openssl");
        assert!(!text.is_empty() && (!camel || known), "{text:?}");
        assert!(!text.ends_with('.') && !text.contains("  "), "{text:?}");
    }

    #[test]
    fn errors_of_rustls_are_shown_in_plain_english() {
        use PeerIncompatible as I;
        use PeerMisbehaved as M;
        let misbehaved = [
            M::CipherSuiteDifferedOnRetry,
            M::IncorrectBinder,
            M::KeyEpochWithPendingFragment,
            M::RefusedToFollowHelloRetryRequest,
            M::SignedHandshakeWithUnadvertisedSigScheme,
            M::TooMuchEarlyDataReceived,
            M::KeyUpdateReceivedInQuicConnection,
            M::SelectedUnofferedPsk,
        ];
        let incompatible = [
            I::NoCipherSuitesInCommon,
            I::NoSignatureSchemesInCommon,
            I::SignatureAlgorithmsExtensionRequired,
            I::SupportedVersionsExtensionRequired,
            I::Tls13RequiredForQuic,
        ];
        let invalid = [
            InvalidMessage::MissingData("ProtocolVersion"),
            InvalidMessage::TrailingData("SessionID"),
            InvalidMessage::IllegalEmptyList("PskBinders"),
            InvalidMessage::InvalidDhParams,
        ];
        let other = OtherError(std::sync::Arc::new(webpki::Error::CaUsedAsEndEntity));
        let mut errors = vec![
            Error::AlertReceived(AlertDescription::UnknownCA),
            Error::AlertReceived(AlertDescription::Unknown(77)),
            Error::InappropriateMessage {
                expect_types: vec![ContentType::Handshake],
                got_type: ContentType::ApplicationData,
            },
            Error::InappropriateHandshakeMessage {
                expect_types: vec![HandshakeType::Finished],
                got_type: HandshakeType::CertificateVerify,
            },
            Error::InvalidCertificate(CertificateError::BadSignature),
            Error::InvalidCertificate(CertificateError::Other(other.clone())),
            Error::DecryptError,
            Error::NoCertificatesPresented,
            Error::FailedToGetRandomBytes,
            Error::Other(other),
        ];
        errors.extend(misbehaved.into_iter().map(Error::PeerMisbehaved));
        errors.extend(incompatible.into_iter().map(Error::PeerIncompatible));
        errors.extend(invalid.into_iter().map(Error::InvalidMessage));
        for error in &errors {
            assert_plain(&session(error));
        }
        assert_eq!(session(&errors[0]), "client sent alert unknown_ca");
        assert_eq!(session(&errors[1]), "client sent alert alert 77");
        let late = "peer misbehaved: certificate_verify message at the wrong time";
        assert_eq!(session(&errors[3]), late);
    }

    #[test]
    fn errors_of_webpki_are_shown_in_plain_english() {
        use webpki::Error as E;
        for error in [
            E::BadDer,
            E::CaUsedAsEndEntity,
            E::EndEntityUsedAsCa,
            E::UnknownIssuer,
            E::UnsupportedCertVersion,
            E::MaximumPathDepthExceeded,
            E::NameConstraintViolation,
            E::UnsupportedDeltaCrl,
            E::UnsupportedIndirectCrl,
            E::UnsupportedNameType,
        ] {
            assert_plain(certificate(&error));
            assert_plain(crl(&error));
        }
    }
}
