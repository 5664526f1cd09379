//! The policy of a host on client certificates: whether one is required, from which CA, and which subjects are
//! admitted.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256};
use rustls::pki_types::CertificateDer;

use super::certificate::Certificate;
use super::crl::Crl;
use super::uri::UriPattern;
use crate::types::{NamePattern, ServerName};

/// The policy of a host on client certificates.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether a client needs a certificate.
    pub demand: Demand,
    /// Certificates of the CAs that may have issued it, and certificates that are trusted themselves. Empty: the keys
    /// in `allow` are trusted, and nothing else.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Certificate revocation lists; empty: revocation is not checked.
    pub crls: Vec<Arc<Crl>>,
    /// Entries of which a certificate must match one; `None`: every verified certificate is admitted.
    pub allow: Option<Vec<Allowed>>,
    /// With a `run-as` that maps common names to users: the names that have one.
    pub users: Option<BTreeSet<String>>,
}

/// Whether a client needs a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A client may have none, unless there are rules; a certificate that it sends must verify.
    Request,
    /// A client without one is refused.
    Require,
}

/// A rule that admits certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Certificates with a dNSName that the pattern matches.
    Dns(NamePattern),
    /// Certificates whose subject has this one common name.
    CommonName(String),
    /// Certificates with a uniformResourceIdentifier that the pattern matches.
    Uri(UriPattern),
    /// Certificates with this rfc822Name; case does not count in the part after the `@`.
    Email(String),
    /// Certificates whose `SubjectPublicKeyInfo` has this SHA-256 hash.
    Spki([u8; 32]),
}

/// What is trusted without a CA. A client with it still has to prove that it has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    /// This very certificate.
    Certificate,
    /// Its key. Nobody vouches for the names in the certificate, which anybody with the key can make.
    Key,
}

impl Policy {
    /// Whether a client needs no certificate. Where there is a list of rules it needs one, because one of the rules
    /// must match.
    pub fn takes_anonymous(&self) -> bool {
        self.demand == Demand::Request && self.allow.is_none()
    }

    /// What about a certificate is trusted without a CA; `None`: nothing.
    ///
    /// A key in `allow` is, only if there are no CAs. Where there are, it is one more condition: a client whose
    /// certificate is revoked or expired could sign itself another one.
    pub(super) fn pin(&self, der: &CertificateDer<'_>, certificate: &Certificate) -> Option<Pin> {
        if self.authorities.iter().any(|trusted| trusted == der) {
            return Some(Pin::Certificate);
        }
        let key = Allowed::Spki(certificate.spki);
        let has_key = self.allow.iter().flatten().any(|allowed| *allowed == key);
        (self.authorities.is_empty() && has_key).then_some(Pin::Key)
    }

    /// Checks a verified certificate against the rules. Errors: why it is not admitted.
    pub(super) fn admits(&self, certificate: &Certificate) -> Result<(), &'static str> {
        let listed = self.allow.as_ref().is_none_or(|allow| {
            let mut entries = allow.iter();
            entries.any(|entry| entry.is(certificate))
        });
        if !listed {
            return Err("it is not in allow");
        }
        let has_user = self.users.as_ref().is_none_or(|users| {
            let name = certificate.common_name.as_ref();
            name.is_some_and(|name| users.contains(name))
        });
        match has_user {
            true => Ok(()),
            false => Err("its common name has no user"),
        }
    }

    /// A digest of the policy: a session that began under one policy is not resumed under another. CRLs are no part
    /// of it, because they are renewed often and are checked again for each resumed session.
    pub fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&SHA256);
        let mut add = |kind: u8, bytes: &[u8]| {
            context.update(&[kind]);
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        add(0, &[u8::from(self.demand == Demand::Require)]);
        self.authorities.iter().for_each(|der| add(1, der));
        add(3, &[u8::from(self.allow.is_some())]);
        for entry in self.allow.iter().flatten() {
            match entry {
                Allowed::Dns(pattern) => add(4, pattern.to_string().as_bytes()),
                Allowed::CommonName(name) => add(5, name.as_bytes()),
                Allowed::Uri(pattern) => add(6, pattern.to_string().as_bytes()),
                Allowed::Email(email) => add(7, email.as_bytes()),
                Allowed::Spki(hash) => add(8, hash),
            }
        }
        add(9, &[u8::from(self.users.is_some())]);
        let names = self.users.iter().flatten();
        names.for_each(|name| add(10, name.as_bytes()));
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}

impl Allowed {
    /// Whether the rule matches a certificate.
    fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Dns(pattern) => {
                let mut names = certificate.dns_names.iter();
                names.any(|name| stands_for(pattern, name))
            }
            Self::CommonName(name) => certificate.common_name.as_ref() == Some(name),
            Self::Uri(pattern) => certificate.uris.iter().any(|uri| pattern.matches(uri)),
            Self::Email(email) => certificate.emails.iter().any(|other| same(email, other)),
            Self::Spki(hash) => certificate.spki == *hash,
        }
    }
}

/// Whether a pattern matches a name in a certificate. A wildcard in the certificate matches nothing.
fn stands_for(pattern: &NamePattern, name: &str) -> bool {
    let Ok(name) = ServerName::parse(name.as_bytes()) else {
        return false;
    };
    match pattern {
        NamePattern::Exact(exact) => *exact == name,
        NamePattern::Wildcard(base) => name.parent() == Some(base.as_str()),
    }
}

/// "the local-part … is case-sensitive", the host part is not (RFC 5280 §7.5).
fn same(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local, host)), Some((other_local, other_host))) => {
            local == other_local && host.eq_ignore_ascii_case(other_host)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;
    use crate::tls::provider::provider;

    fn alice() -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "alice@example.com");
        params.subject_alt_names = vec![
            SanType::DnsName("Alice.Example".try_into().unwrap()),
            SanType::DnsName("*.evil.example".try_into().unwrap()),
            SanType::URI("spiffe://example/alice".try_into().unwrap()),
            SanType::Rfc822Name("Alice@Example.com".try_into().unwrap()),
        ];
        let key = KeyPair::generate().unwrap();
        Certificate::parse(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn crl() -> Crl {
        let mut params = CertificateParams::default();
        params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
        let issuer =
            rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let list = rcgen::CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 11, 1),
            next_update: date_time_ymd(2026, 12, 1),
            crl_number: vec![1].into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let algorithms = provider().signature_verification_algorithms;
        Crl::parse(list.signed_by(&issuer).unwrap().der(), algorithms.all).unwrap()
    }

    fn policy(allow: Option<Vec<Allowed>>) -> Policy {
        Policy {
            demand: Demand::Require,
            authorities: Vec::new(),
            crls: Vec::new(),
            allow,
            users: None,
        }
    }

    #[test]
    fn each_kind_of_rule_admits_only_the_certificates_that_it_names() {
        let alice = alice();
        let dns = |text| Allowed::Dns(NamePattern::parse(text).unwrap());
        let uri = |text| Allowed::Uri(UriPattern::parse(text).unwrap());
        for right in [
            dns("alice.example"),
            dns("*.example"),
            Allowed::CommonName("alice@example.com".into()),
            uri("spiffe://example/alice"),
            uri("spiffe://example/*"),
            Allowed::Email("Alice@example.COM".into()),
            Allowed::Spki(alice.spki),
        ] {
            assert_eq!(policy(Some(vec![right])).admits(&alice), Ok(()));
        }
        for wrong in [
            dns("lice.example"),
            dns("*.alice.example"),
            dns("x.evil.example"),
            dns("*.evil.example"),
            Allowed::CommonName("Alice@example.com".into()),
            Allowed::CommonName("alice".into()),
            uri("spiffe://example/alice/"),
            uri("spiffe://example/alice/*"),
            Allowed::Email("alice@example.com".into()),
            Allowed::Email("example.com".into()),
            Allowed::Spki([0; 32]),
        ] {
            let admitted = policy(Some(vec![wrong.clone()])).admits(&alice);
            assert_eq!(admitted, Err("it is not in allow"), "{wrong:?}");
        }
        assert_eq!(policy(None).admits(&alice), Ok(()));
        assert!(policy(Some(Vec::new())).admits(&alice).is_err());
    }

    #[test]
    fn a_common_name_without_a_user_is_not_admitted_with_run_as() {
        let mut policy = policy(None);
        policy.users = Some(BTreeSet::from(["bob".to_owned()]));
        assert!(policy.admits(&alice()).is_err());
        policy.users = Some(BTreeSet::from(["alice@example.com".to_owned()]));
        assert_eq!(policy.admits(&alice()), Ok(()));
    }

    #[test]
    fn each_change_of_a_policy_changes_its_digest() {
        let policies = [
            policy(None),
            policy(Some(Vec::new())),
            policy(Some(vec![Allowed::Uri(UriPattern::Exact("a:/*".into()))])),
            policy(Some(vec![Allowed::Uri(UriPattern::Exact("a:/".into()))])),
            policy(Some(vec![Allowed::CommonName("a".into())])),
            Policy {
                demand: Demand::Request,
                ..policy(None)
            },
            Policy {
                authorities: vec![vec![1].into()],
                ..policy(None)
            },
            Policy {
                users: Some(BTreeSet::new()),
                ..policy(None)
            },
        ];
        let digests: BTreeSet<[u8; 32]> = policies.iter().map(Policy::digest).collect();
        assert_eq!(digests.len(), policies.len());

        let renewed = Policy {
            crls: vec![Arc::new(crl())],
            ..policy(None)
        };
        assert_eq!(renewed.digest(), policy(None).digest());
    }
}
