//! Checks `ocsp`: staples each OCSP response to the certificate that it is for.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;

use crate::config::sources::files::NamedFile;
use crate::config::text::problems::{Problems, cause};
use crate::config::text::raw_host::RawHost;
use crate::tls::contents::ocsp_responses;
use crate::tls::staple::{CertificateStatus, Response, StapledCertificate, Status};

/// Certificates of a host with their OCSP responses. `None`: there is an error, which is reported.
///
/// A response that clients would not accept now is not stapled, with a warning.
pub(in crate::config) fn staples(
    raw: &RawHost,
    base: &Path,
    certificates: Vec<Arc<CertifiedKey>>,
    problems: &mut Problems,
) -> Option<Vec<StapledCertificate>> {
    let mut certificates: Vec<_> = certificates
        .into_iter()
        .map(StapledCertificate::from)
        .collect();
    let mut correct = true;
    let files = raw.ocsp.iter().flat_map(|files| &files.get_ref().0);
    for file in files.map(|file| NamedFile::spanned(base, file)) {
        let read = file.read().map_err(|error| ("read", cause(&error)));
        let stapled = read.and_then(|(bytes, _)| {
            staple_all(&bytes, &mut certificates).map_err(|reason| ("use", reason))
        });
        let response = file.quoted();
        match stapled {
            Ok(doubts) => doubts.into_iter().for_each(|doubt| {
                let message = format!("OCSP response {response} {doubt}: it is not stapled");
                problems.warning(file.span.clone(), message);
            }),
            Err((verb, reason)) => {
                let message = format!("unable to {verb} OCSP response {response}: {reason}");
                problems.error(file.span, message);
                correct = false;
            }
        }
    }
    correct.then_some(certificates)
}

/// Staples the responses in a file. Returns the reasons why some were not stapled.
///
/// Errors: a response is unusable at any time.
fn staple_all(
    bytes: &[u8],
    certificates: &mut [StapledCertificate],
) -> Result<Vec<String>, String> {
    let responses = ocsp_responses(bytes)?;
    let doubts = responses.iter().map(|der| staple(der, certificates));
    let doubts = doubts.collect::<Result<Vec<_>, _>>()?;
    Ok(doubts.into_iter().flatten().collect())
}

/// Staples a response to the certificates that it is for. Returns the reasons why it was not stapled to
/// some of them.
///
/// Errors: the response is unusable at any time.
fn staple(der: &[u8], certificates: &mut [StapledCertificate]) -> Result<Vec<String>, String> {
    let response = Response::parse(der).map_err(|reason| reason.to_string())?;
    let (mut doubts, mut found) = (Vec::new(), false);
    for certificate in certificates {
        let Some(status) = response.status_of(&certificate.certified.cert) else {
            continue;
        };
        found = true;
        match until(&status) {
            Ok(_) if certificate.until().is_some() => {
                return Err("another one is for the same certificate".into());
            }
            Ok(until) => certificate.staple(&response, until),
            Err(doubt) => doubts.push(doubt),
        }
    }
    match found {
        true => Ok(doubts),
        false => Err("it is for none of the host's certificates".into()),
    }
}

/// Time until which clients accept a response. Errors: clients would not accept it now.
fn until(status: &CertificateStatus) -> Result<SystemTime, String> {
    let (now, date) = (SystemTime::now(), humantime::format_rfc3339_seconds);
    match status.status {
        Status::Good => {}
        Status::Revoked => return Err("says that the certificate is revoked".into()),
        Status::Unknown => return Err("says that the responder does not know it".into()),
    }
    if status.this_update > now + CLOCK_SKEW {
        return Err(format!("is not valid before {}", date(status.this_update)));
    }
    match status.next_update {
        None => Err("has no nextUpdate, after which it would be too old".into()),
        Some(until) if until <= now => Err(format!("expired at {}", date(until))),
        Some(until) => Ok(until),
    }
}

/// Time that the clock of a responder may be ahead. OpenSSL allows the same.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
