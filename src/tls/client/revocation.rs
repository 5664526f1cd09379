//! Revocation: which CRL decides about a certificate (RFC 5280 §6.3).
//!
//! webpki takes the first CRL with the name of the issuer. An operator may have several: an older one beside the
//! newest, or one for each key of a CA that has renewed its key under its name. So this module chooses, per chain, the
//! newest CRL that is signed with the key of the issuer in that chain.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use webpki::{Cert, Error, VerifiedPath};
use x509_cert::Certificate as X509;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{KeyUsage, SubjectKeyIdentifier};

use super::certificate::Certificate;
use super::crl::{Crl, Scoped, extension};

/// The CRLs of a host.
pub(super) struct Crls<'a> {
    pub(super) list: &'a [Arc<Crl>],
    pub(super) algorithms: &'a [&'static dyn SignatureVerificationAlgorithm],
}

/// A CA with its key.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    pub(super) key: SubjectPublicKeyInfoDer<'static>,
    /// `subjectKeyIdentifier`; `None`: it has none, or it is unknown.
    key_id: Option<Vec<u8>>,
    /// Whether its key usage allows it to sign CRLs (RFC 5280 §4.2.1.3).
    signs_crls: bool,
}

impl Issuer {
    /// A CA with this certificate and this key.
    pub(super) fn new(der: &[u8], key: SubjectPublicKeyInfoDer<'static>) -> Self {
        let certificate = X509::from_der(der).ok();
        let extensions = certificate
            .as_ref()
            .and_then(|certificate| certificate.tbs_certificate().extensions());
        let key_id = extensions
            .and_then(|list| extension::<SubjectKeyIdentifier>(list, SUBJECT_KEY_IDENTIFIER));
        let usage = extensions.and_then(|list| extension::<KeyUsage>(list, KEY_USAGE));
        Self {
            key,
            key_id: key_id.map(|id| id.0.as_bytes().to_vec()),
            signs_crls: usage.is_none_or(|usage| usage.crl_sign()),
        }
    }
}

impl Crls<'_> {
    /// Checks each certificate of a chain but its anchor: it needs a CRL of its issuer that has not expired and does
    /// not have it. `anchor`: the anchor's certificate.
    ///
    /// Errors: those of webpki, with the place in the chain of the certificate that is meant; 0 is the client's.
    pub(super) fn check(
        &self,
        path: &VerifiedPath<'_>,
        anchor: &Issuer,
        now: UnixTime,
    ) -> Result<(), (usize, Error)> {
        let leaf: &Cert<'_> = path.end_entity();
        let chain: Vec<&Cert<'_>> = std::iter::once(leaf)
            .chain(path.intermediate_certificates())
            .collect();
        for (place, certificate) in chain.iter().enumerate() {
            let issuer = chain
                .get(place + 1)
                .map(|issuer| Issuer::new(&issuer.der(), issuer.subject_public_key_info()));
            let issuer = issuer.as_ref().unwrap_or(anchor);
            let Ok(parsed) = X509::from_der(&certificate.der()) else {
                return Err((place, Error::BadDer));
            };
            let scoped = Scoped {
                is_authority: place > 0,
                points: Scoped::points(parsed.tbs_certificate().extensions()),
            };
            self.check_one(certificate, &scoped, issuer, now)
                .map_err(|error| (place, error))?;
        }
        Ok(())
    }

    /// Checks one certificate: each scope that includes it counts, with its newest CRL of the issuer's key.
    fn check_one(
        &self,
        certificate: &Cert<'_>,
        scoped: &Scoped,
        issuer: &Issuer,
        now: UnixTime,
    ) -> Result<(), Error> {
        let mut decided: Vec<&Crl> = Vec::new();
        let mut without = Error::UnknownRevocationStatus;
        for crl in self.newest_first(certificate.issuer(), scoped) {
            if decided.iter().any(|newer| supersedes(newer, crl)) {
                continue;
            }
            if !crl.is_signed_with(&issuer.key, self.algorithms) {
                // It is of another key of this name, unless it says that it is of this one.
                if crl.key_id.is_some() && crl.key_id == issuer.key_id {
                    return Err(Error::InvalidCrlSignatureForPublicKey);
                }
                without = Error::InvalidCrlSignatureForPublicKey;
                continue;
            }
            if !issuer.signs_crls {
                return Err(Error::IssuerNotCrlSigner);
            }
            if crl.revokes(certificate.serial())? {
                return Err(Error::CertRevoked);
            }
            let next_update = seconds(crl.next_update());
            if now >= next_update {
                return Err(Error::CrlExpired {
                    time: now,
                    next_update,
                });
            }
            decided.push(crl);
        }
        match decided.is_empty() {
            true => Err(without),
            false => Ok(()),
        }
    }

    /// Whether the newest CRL of a scope and of a key has a certificate that is trusted for itself. Its issuer may be
    /// unknown, so the signatures are not verified: here a CRL of the operator can only refuse.
    pub(super) fn have(&self, certificate: &Certificate) -> Result<bool, Error> {
        let scoped = Scoped {
            is_authority: false,
            points: certificate.points.clone(),
        };
        let mut decided: Vec<&Crl> = Vec::new();
        for crl in self.newest_first(&certificate.issuer, &scoped) {
            let newer = |newer: &&Crl| newer.key_id == crl.key_id && supersedes(newer, crl);
            if decided.iter().any(newer) {
                continue;
            }
            if crl.revokes(&certificate.serial)? {
                return Ok(true);
            }
            decided.push(crl);
        }
        Ok(false)
    }

    /// The CRLs of this issuer that include a certificate, the newest first.
    fn newest_first(&self, issuer: &[u8], certificate: &Scoped) -> Vec<&Crl> {
        let crls = self.list.iter().map(|crl| &**crl);
        let mut crls: Vec<&Crl> = crls
            .filter(|crl| crl.issuer() == issuer && crl.scope().includes(certificate))
            .collect();
        crls.sort_by(|one, other| other.compare_age(one));
        crls
    }
}

/// Whether a CRL is newer than another one of the same scope.
fn supersedes(newer: &Crl, older: &Crl) -> bool {
    newer.scope() == older.scope() && newer.compare_age(older) == Ordering::Greater
}

/// What is to be said about the CRLs of a host before any client comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The CRL at the first place is left out, because that at the second is newer.
    LeftOut(usize, usize),
    /// As [`Finding::LeftOut`], although the first was made later.
    NumberedLower(usize, usize),
    /// The CRL at this place has the name and the key identifier of a CA of the host, but not its signature.
    WrongSignature(usize),
    /// The CRL at this place has the name of a CA of the host, but is signed with another key.
    OtherKey(usize),
}

/// Compares the CRLs of a host with each other and with its CAs.
pub fn findings(
    crls: &[Arc<Crl>],
    authorities: &[CertificateDer<'static>],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Vec<Finding> {
    let anchors: Vec<(Vec<u8>, Issuer)> = authorities
        .iter()
        .filter_map(|der| {
            let anchor = webpki::anchor_from_trusted_cert(der).ok()?;
            let key = spki(anchor.subject_public_key_info.as_ref())?;
            Some((anchor.subject.to_vec(), Issuer::new(der, key)))
        })
        .collect();
    // The key of each CRL, as far as it is known: that of a CA, or the key identifier.
    let signers: Vec<Signer<'_>> = crls
        .iter()
        .map(|crl| {
            let named = anchors.iter().filter(|(name, _)| name == crl.issuer());
            let mut keys = named.map(|(_, issuer)| &issuer.key);
            match keys.find(|key| crl.is_signed_with(key, algorithms)) {
                Some(key) => Signer::Key(key.as_ref()),
                None => Signer::KeyId(crl.key_id.as_deref()),
            }
        })
        .collect();
    let same = |one: usize, other: usize| {
        let pair = crls.get(one).zip(crls.get(other));
        pair.is_some_and(|(one, other)| one.issuer() == other.issuer())
            && signers.get(one) == signers.get(other)
    };
    let mut findings = Vec::new();
    for (place, crl) in crls.iter().enumerate() {
        let others = crls.iter().enumerate();
        let newest = others
            .filter(|(other, newer)| same(place, *other) && supersedes(newer, crl))
            .max_by(|(_, one), (_, other)| one.compare_age(other));
        match newest {
            Some((newer, crl_of_it)) if crl_of_it.contradicts(crl) => {
                findings.push(Finding::NumberedLower(place, newer));
            }
            Some((newer, _)) => findings.push(Finding::LeftOut(place, newer)),
            None => {}
        }
        let mut named = anchors
            .iter()
            .filter(|(name, _)| name == crl.issuer())
            .peekable();
        if named.peek().is_some() && matches!(signers.get(place), Some(Signer::KeyId(_))) {
            let claims = |issuer: &Issuer| crl.key_id.is_some() && issuer.key_id == crl.key_id;
            findings.push(match named.any(|(_, issuer)| claims(issuer)) {
                true => Finding::WrongSignature(place),
                false => Finding::OtherKey(place),
            });
        }
    }
    findings
}

/// Who has signed a CRL, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signer<'a> {
    Key(&'a [u8]),
    KeyId(Option<&'a [u8]>),
}

/// A `SubjectPublicKeyInfo` from its content.
pub(super) fn spki(content: &[u8]) -> Option<SubjectPublicKeyInfoDer<'static>> {
    use x509_cert::der::asn1::AnyRef;
    use x509_cert::der::{Encode, Tag};
    let der = AnyRef::new(Tag::Sequence, content).ok()?.to_der().ok()?;
    Some(der.into())
}

fn seconds(time: SystemTime) -> UnixTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    UnixTime::since_unix_epoch(since.unwrap_or_default())
}

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
