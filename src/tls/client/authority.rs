//! Certificates in `client-ca`: those of CAs, which vouch for others, and those of clients, which count for
//! themselves.
#![forbid(unsafe_code)]

use rustls::pki_types::CertificateDer;
use x509_cert::certificate::Version;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::crl::extension;

/// Whether certificates that are signed with the key of this one count, as OpenSSL decides it: it is that of a CA
/// (`basicConstraints`), or without these, its key usage includes `keyCertSign`, or it is of X.509 version 1, which has
/// neither, and signs itself. A key usage without `keyCertSign` always speaks against it.
///
/// Any other certificate is one of a client or a server. It must not vouch for others, or a client whose own
/// certificate is in `client-ca` could make certificates with other names.
pub fn vouches(certificate: &CertificateDer<'_>) -> bool {
    let Ok(certificate) = x509_cert::Certificate::from_der(certificate) else {
        // Only webpki can read it, so it cannot be that of a client.
        return true;
    };
    let certificate = certificate.tbs_certificate();
    let is_old_root =
        certificate.version() == Version::V1 && certificate.issuer() == certificate.subject();
    let extensions = certificate.extensions();
    let constraints =
        extensions.and_then(|list| extension::<BasicConstraints>(list, BASIC_CONSTRAINTS));
    let usage = extensions.and_then(|list| extension::<KeyUsage>(list, KEY_USAGE));
    let signs = usage.map(|usage| usage.key_cert_sign());
    match (constraints, signs) {
        (_, Some(false)) => false,
        (Some(constraints), _) => constraints.ca,
        (None, Some(true)) => true,
        (None, None) => is_old_root,
    }
}

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};

    use super::*;

    fn vouches_with(change: impl FnOnce(&mut CertificateParams)) -> bool {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        vouches(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn certificates_of_cas_vouch_for_others_and_those_of_clients_do_not() {
        let unconstrained = IsCa::Ca(BasicConstraints::Unconstrained);
        assert!(vouches_with(|params| params.is_ca = unconstrained));
        assert!(vouches_with(|params| {
            params.is_ca = unconstrained;
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }));
        assert!(!vouches_with(|params| {
            params.is_ca = unconstrained;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }));
        assert!(vouches_with(|params| {
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }));
        assert!(!vouches_with(|_| {}));
        assert!(!vouches_with(|params| params.is_ca = IsCa::ExplicitNoCa));
        assert!(!vouches_with(|params| {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        }));
        assert!(!vouches_with(|params| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }));
    }
}
