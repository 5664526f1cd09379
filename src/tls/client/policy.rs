//! Which clients a host wants: whether they need a certificate, who may have issued it, whose it may be.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use aws_lc_rs::digest::{self, SHA256};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::certificate::Certificate;
use crate::types::{NamePattern, ServerName};

/// What a host asks of the certificates of its clients.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether a client needs one.
    pub demand: Demand,
    /// Who may have issued it; never empty.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Which of them are revoked; empty: nobody asks.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// Whose it may be; `None`: anybody's.
    pub allow: Option<Vec<Allowed>>,
    /// The common names that have a user, where the command becomes that user.
    pub users: Option<BTreeSet<String>>,
}

/// Whether a client needs a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// It may come without one; if it shows one, that must be right.
    Request,
    /// Without one there is no connection.
    Require,
}

/// One that may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Whose certificate has a dNSName that this stands for.
    Dns(NamePattern),
    /// Whose subject has this common name, and no other.
    CommonName(String),
    /// Whose certificate has this uniformResourceIdentifier, byte for byte.
    Uri(String),
    /// Whose certificate has this rfc822Name; the case of what is behind the `@` does not count.
    Email(String),
    /// Whose `SubjectPublicKeyInfo` has this SHA-256 hash.
    Spki([u8; 32]),
}

impl Policy {
    /// Whether a client may do without a certificate: not where there is a list, for then somebody in it
    /// must have been shown.
    pub fn takes_anonymous(&self) -> bool {
        self.demand == Demand::Request && self.allow.is_none()
    }

    /// Whether somebody may come whose certificate is verified. Errors: why not.
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

    /// What makes this policy another one. A session that was begun under one is not resumed under
    /// another. CRLs are no part of it: they are renewed often, and asked again for each resumed session.
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
                Allowed::Uri(uri) => add(6, uri.as_bytes()),
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
    /// Whether a certificate is of this one.
    fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Dns(pattern) => {
                let mut names = certificate.dns_names.iter();
                names.any(|name| stands_for(pattern, name))
            }
            Self::CommonName(name) => certificate.common_name.as_ref() == Some(name),
            Self::Uri(uri) => certificate.uris.contains(uri),
            Self::Email(email) => certificate.emails.iter().any(|other| same(email, other)),
            Self::Spki(hash) => certificate.spki == *hash,
        }
    }
}

/// Whether a pattern stands for a name in a certificate; a wildcard there is no name.
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
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

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
    fn each_kind_of_entry_admits_whom_it_names_and_nobody_else() {
        let alice = alice();
        let dns = |text| Allowed::Dns(NamePattern::parse(text).unwrap());
        for right in [
            dns("alice.example"),
            dns("*.example"),
            Allowed::CommonName("alice@example.com".into()),
            Allowed::Uri("spiffe://example/alice".into()),
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
            Allowed::Uri("spiffe://example/alice/".into()),
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
    fn who_has_no_user_is_not_admitted_where_the_command_becomes_that_user() {
        let mut policy = policy(None);
        policy.users = Some(BTreeSet::from(["bob".to_owned()]));
        assert!(policy.admits(&alice()).is_err());
        policy.users = Some(BTreeSet::from(["alice@example.com".to_owned()]));
        assert_eq!(policy.admits(&alice()), Ok(()));
    }

    #[test]
    fn whoever_changes_a_policy_changes_its_digest() {
        let policies = [
            policy(None),
            policy(Some(Vec::new())),
            policy(Some(vec![Allowed::Uri("a".into())])),
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
            crls: vec![vec![1].into()],
            ..policy(None)
        };
        assert_eq!(renewed.digest(), policy(None).digest());
    }
}
