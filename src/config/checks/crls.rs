//! Checks `client-crl`: which CRLs count, and what is wrong with them.
#![forbid(unsafe_code)]

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::client_files::{open, past};
use crate::config::sources::files::NamedFile;
use crate::config::text::problems::Problems;
use crate::tls::client::{Crl, Finding, findings};
use crate::tls::contents;
use crate::tls::provider::provider;

/// A CRL and its file.
pub(super) type FileCrl = (Arc<Crl>, NamedFile);

/// CRLs of a PEM file, or the CRL of a DER file. `None`: there is an error, which is reported.
pub(super) fn read(file: &NamedFile, problems: &mut Problems) -> Option<Vec<FileCrl>> {
    open("client-crl", file, problems, |bytes| {
        let crls = contents::crls(bytes)?;
        if crls.is_empty() {
            return Err("no CRL in it".into());
        }
        let algorithms = provider().signature_verification_algorithms;
        let parsed = crls.iter().map(|der| {
            let crl = Crl::parse(der, algorithms.all)?;
            Ok((Arc::new(crl), file.clone()))
        });
        parsed.collect::<Result<_, &str>>().map_err(str::to_owned)
    })
}

/// The CRLs of a host, after a look at each beside the others and the CAs. `None`: there is an error, which is
/// reported.
pub(super) fn check(
    crls: Vec<FileCrl>,
    authorities: &[CertificateDer<'static>],
    problems: &mut Problems,
) -> Option<Vec<Arc<Crl>>> {
    let (crls, files): (Vec<_>, Vec<_>) = crls.into_iter().unzip();
    let describe = |place: usize| {
        let file = files.get(place).map(NamedFile::quoted).unwrap_or_default();
        let crl = crls.get(place).map(|crl| format!(" ({crl})"));
        file + &crl.unwrap_or_default()
    };
    let span = |place: usize| files.get(place).and_then(|file| file.span.clone());
    let algorithms = provider().signature_verification_algorithms;
    let (mut left_out, mut is_wrong) = (Vec::new(), false);
    for finding in findings(&crls, authorities, algorithms.all) {
        match finding {
            Finding::LeftOut(older, newer) => {
                left_out.push(older);
                let (older, newer) = (describe(older), describe(newer));
                problems.notice(format!(
                    "client-crl {older} is left out: {newer} of the same CA is newer"
                ));
            }
            Finding::NumberedLower(older, newer) => {
                left_out.push(older);
                let message = format!(
                    "client-crl {} is left out, although it was made later: {} of the same CA has the higher \
                     number. Name the one that counts only",
                    describe(older),
                    describe(newer)
                );
                problems.warning(span(older), message);
            }
            Finding::WrongSignature(place) => {
                is_wrong = true;
                let message = format!(
                    "unable to use client-crl {}: its signature is wrong, so it is damaged",
                    describe(place)
                );
                problems.error(span(place), message);
            }
            Finding::OtherKey(place) => {
                let message = format!(
                    "client-crl {} has the name of a CA in client-ca, but not its signature: it counts only for \
                     certificates of that CA's other key",
                    describe(place)
                );
                problems.warning(span(place), message);
            }
        }
    }
    for (place, crl) in crls.iter().enumerate() {
        let expired = past(crl.next_update()).filter(|_| !left_out.contains(&place));
        if let Some(date) = expired {
            let file = files.get(place).map(NamedFile::quoted).unwrap_or_default();
            let message =
                format!("client-crl {file} expired at {date}: clients of its issuer are refused");
            problems.warning(span(place), message);
        }
    }
    (!is_wrong).then_some(crls)
}
