//! The files of a host's OCSP responses → each stapled to the certificate that it is for.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::sign::CertifiedKey;

use crate::config::sources::files::NamedFile;
use crate::config::text::problems::{Problems, cause};
use crate::config::text::raw_host::RawHost;
use crate::tls::staple::{Response, Said, Shown, Status};

/// The certificates of a host as clients are shown them; `None`: a response is wrong, which is
/// reported. One that is merely of no use to clients is not stapled, with a warning.
pub(in crate::config) fn staples(
    raw: &RawHost,
    base: &Path,
    identities: Vec<Arc<CertifiedKey>>,
    problems: &mut Problems,
) -> Option<Vec<Shown>> {
    let mut shown: Vec<_> = identities.into_iter().map(Shown::from).collect();
    let mut right = true;
    let files = raw.ocsp.iter().flat_map(|files| &files.get_ref().0);
    for file in files.map(|file| NamedFile::spanned(base, file)) {
        let read = file.read().map_err(|error| ("read", cause(&error)));
        let stapled =
            read.and_then(|(der, _)| staple(&der, &mut shown).map_err(|why| ("use", why)));
        let response = file.quoted();
        match stapled {
            Ok(doubts) => doubts.into_iter().for_each(|doubt| {
                let message = format!("OCSP response {response} {doubt}: it is not stapled");
                problems.warning(file.place.clone(), message);
            }),
            Err((verb, why)) => {
                let message = format!("unable to {verb} OCSP response {response}: {why}");
                problems.error(file.place, message);
                right = false;
            }
        }
    }
    right.then_some(shown)
}

/// Staples a response to the certificates that it is for; what makes it useless to clients, if anything.
///
/// Errors: what is wrong with it, whatever the time is.
fn staple(der: &[u8], certificates: &mut [Shown]) -> Result<Vec<String>, String> {
    let response = Response::parse(der).map_err(|reason| reason.to_string())?;
    let (mut doubts, mut found) = (Vec::new(), false);
    for certificate in certificates {
        let Some(said) = response.says_of(&certificate.certified.cert) else {
            continue;
        };
        found = true;
        match until(&said) {
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

/// Until when clients believe what a response says. Errors: why they would not now.
fn until(said: &Said) -> Result<SystemTime, String> {
    let (now, date) = (SystemTime::now(), humantime::format_rfc3339_seconds);
    match said.status {
        Status::Good => {}
        Status::Revoked => return Err("says that the certificate is revoked".into()),
        Status::Unknown => return Err("says that the responder does not know it".into()),
    }
    if said.this_update > now + CLOCK_SKEW {
        return Err(format!("is not valid before {}", date(said.this_update)));
    }
    match said.next_update {
        None => Err("has no nextUpdate, after which it would be too old".into()),
        Some(until) if until <= now => Err(format!("expired at {}", date(until))),
        Some(until) => Ok(until),
    }
}

/// How far the clock of a responder may be ahead of ours; openssl allows the same.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
