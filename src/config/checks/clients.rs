//! Checks `client-auth` and the other keys about client certificates.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use toml::Spanned;
use x509_cert::der::Decode;

use super::client_files::{open, past, read_all};
use super::crls;
use crate::config::sources::files::NamedFile;
use crate::config::text::problems::Problems;
use crate::config::text::raw_clients::{Kind, RawAllowed};
use crate::config::text::raw_host::RawHost;
use crate::tls::client::{Allowed, Demand, Policy, UriPattern, Verifier, vouches};
use crate::tls::contents;
use crate::tls::provider::provider;
use crate::types::{NamePattern, PskIdentity};

/// Requirements of a host on client certificates, if there are any. `None`: there is an error, which is
/// reported.
pub(in crate::config) fn policy(
    raw: &RawHost,
    base: &Path,
    problems: &mut Problems,
) -> Option<Option<Policy>> {
    let Some(demand) = &raw.clients.demand else {
        return Some(None);
    };
    let named = |files: &[Spanned<String>]| -> Vec<NamedFile> {
        files
            .iter()
            .map(|file| NamedFile::spanned(base, file))
            .collect()
    };
    let read = |file: NamedFile, problems: &mut Problems| authorities(&file, problems);
    let ca = raw.clients.ca.as_ref();
    let files = ca.map_or_else(Vec::new, |ca| named(&ca.get_ref().0));
    let authorities = read_all(files, problems, read);
    let files = raw.clients.crl.as_ref();
    let files = files.map_or_else(Vec::new, |crl| named(&crl.get_ref().0));
    let crls = read_all(files, problems, |file, problems| {
        crls::read(&file, problems)
    });
    let allow = allowed(raw, problems);
    let users = raw.clients.users.as_ref();
    let policy = Policy {
        demand: *demand.get_ref(),
        crls: crls::check(crls?, authorities.as_deref().unwrap_or_default(), problems)?,
        authorities: authorities?,
        allow: allow?,
        users: users.map(|users| users.get_ref().keys().cloned().collect::<BTreeSet<_>>()),
    };
    if let Some(ca) = ca.filter(|_| policy.authorities.is_empty()) {
        let message = "no certificate in client-ca: nobody could be trusted";
        problems.error(ca.span(), message);
        return None;
    }
    if let Some(crl) = raw.clients.crl.as_ref().filter(|_| policy.crls.is_empty()) {
        problems.error(
            crl.span(),
            "no CRL in client-crl: leave it out, or name one",
        );
        return None;
    }
    if policy.demand == Demand::Request && !policy.takes_anonymous() {
        let message = "with \"allow\", clients without a certificate are refused: \
                       client-auth = \"require\" says so";
        problems.warning(demand.span(), message);
    }
    match Verifier::new(&policy, &provider()) {
        Ok(_) => Some(Some(policy)),
        Err(reason) => {
            let span = ca.map_or(demand.span(), Spanned::span);
            problems.error(span, format!("unable to use client-ca: {reason}"));
            None
        }
    }
}

/// PSK identities in `allow`. `None`: the host has no `allow`, or an identity in it is invalid, which is reported.
pub(in crate::config) fn allowed_identities(
    raw: &RawHost,
    problems: &mut Problems,
) -> Option<Vec<Spanned<PskIdentity>>> {
    let entries = raw.clients.allow.as_ref()?.get_ref().iter();
    let identities: Vec<_> = entries
        .filter(|entry| entry.get_ref().kind == Kind::Psk)
        .map(|entry| {
            let identity = PskIdentity::try_from(entry.get_ref().value.clone().into_bytes());
            let identity = identity.map_err(|reason| unable_to_allow(entry, &reason, problems));
            Some(Spanned::new(entry.span(), identity.ok()?))
        })
        .collect();
    identities.into_iter().collect()
}

fn unable_to_allow(entry: &Spanned<RawAllowed>, reason: &dyn Display, problems: &mut Problems) {
    let message = format!("unable to allow {:?}: {reason}", entry.get_ref().value);
    problems.error(entry.span(), message);
}

/// Certificates of a PEM file. `None`: there is an error, which is reported.
fn authorities(file: &NamedFile, problems: &mut Problems) -> Option<Vec<CertificateDer<'static>>> {
    let certificates = open("client-ca", file, problems, |pem| {
        let certificates = contents::authorities(pem)?;
        let mut each = certificates.iter();
        if each.any(|der| RootCertStore::empty().add(der.clone()).is_err()) {
            return Err("not an X.509 certificate".into());
        }
        match certificates.is_empty() {
            true => Err("no certificate in it".into()),
            false => Ok(certificates),
        }
    })?;
    for certificate in &certificates {
        let parsed = x509_cert::Certificate::from_der(certificate).ok();
        let until = parsed.map(|parsed| parsed.tbs_certificate().validity().not_after);
        let expired = until.and_then(|until| past(until.to_system_time()));
        let file_name = file.quoted();
        match (expired, vouches(certificate)) {
            (Some(date), true) => {
                let message = format!("a CA in client-ca {file_name} expired at {date}");
                problems.warning(file.span.clone(), message);
            }
            (Some(date), false) => {
                let message = format!(
                    "a client's certificate in client-ca {file_name} expired at {date}: the client is refused"
                );
                problems.warning(file.span.clone(), message);
            }
            (None, true) => {}
            (None, false) => problems.notice(format!(
                "client-ca {file_name} has a certificate that is not of a CA: it counts for the client that has its \
                 key, and for no certificate issued with it"
            )),
        }
    }
    Some(certificates)
}

/// Entries of `allow` for certificates, if there is an `allow`. `None`: one is wrong, and reported.
fn allowed(raw: &RawHost, problems: &mut Problems) -> Option<Option<Vec<Allowed>>> {
    let Some(allow) = &raw.clients.allow else {
        return Some(None);
    };
    for entry in allow.get_ref() {
        let RawAllowed { kind, value } = entry.get_ref();
        let has_patterns = matches!(kind, Kind::Dns | Kind::Uri | Kind::Spki);
        if value.contains('*') && !has_patterns {
            let message = "the `*` stands for itself: only \"dns\" and \"uri\" take patterns";
            problems.warning(entry.span(), message);
        }
    }
    let entries = allow.get_ref().iter();
    let entries: Vec<_> = entries
        .filter(|entry| entry.get_ref().kind != Kind::Psk)
        .map(|entry| {
            let RawAllowed { kind, value } = entry.get_ref();
            let allowed = one_allowed(*kind, value);
            allowed
                .map_err(|reason| unable_to_allow(entry, &reason, problems))
                .ok()
        })
        .collect();
    entries.into_iter().collect::<Option<Vec<_>>>().map(Some)
}

/// Makes one entry of `allow`. Errors: the value is invalid.
fn one_allowed(kind: Kind, value: &str) -> Result<Allowed, String> {
    if value.is_empty() {
        return Err("it is empty".into());
    }
    Ok(match kind {
        Kind::Dns => Allowed::Dns(NamePattern::parse(value).map_err(|reason| reason.to_string())?),
        Kind::Uri => Allowed::Uri(UriPattern::parse(value).map_err(|reason| reason.to_string())?),
        Kind::Email if value.contains('@') => Allowed::Email(value.into()),
        Kind::Email => return Err("not an address: write user@host".into()),
        Kind::Spki => Allowed::Spki(spki(value).ok_or("write sha256: and 64 hexadecimal digits")?),
        Kind::CommonName | Kind::Psk => Allowed::CommonName(value.into()),
    })
}

/// Parses `sha256:` and a hash in hexadecimal digits, with or without colons between the bytes.
fn spki(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:")?.replace(':', "");
    let mut hash = [0; digest::SHA256_OUTPUT_LEN];
    let decoded = base16ct::mixed::decode(digits, &mut hash).ok()?.len();
    (decoded == hash.len()).then_some(hash)
}
