//! Certificate and key files → identities; each file is read once, however many hosts share it.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use crate::config::sources::files::{NamedFile, everybody_reads};
use crate::config::text::problems::{Problems, cause};
use crate::tls::server_certificate::{InvalidCertificate, ServerCertificate};

/// The identities read so far, by certificate and key file. What is wrong with them is reported
/// when they are read; `None`: they are wrong.
#[derive(Default)]
pub(in crate::config) struct Certificates {
    identities: HashMap<(PathBuf, Option<PathBuf>), Option<Rc<ServerCertificate>>>,
}

impl Certificates {
    /// The chain of `cert`, with its key from `key`, or where there is none, from `cert` too.
    pub(in crate::config) fn load(
        &mut self,
        cert: &NamedFile,
        key: Option<&NamedFile>,
        problems: &mut Problems,
    ) -> Option<Rc<ServerCertificate>> {
        let pair = (cert.path.clone(), key.map(|key| key.path.clone()));
        if let Some(known) = self.identities.get(&pair) {
            return known.clone();
        }
        let identity = read(cert, key, problems).map(Rc::new);
        self.identities.insert(pair, identity.clone());
        identity
    }

    /// How many there are.
    pub(in crate::config) fn len(&self) -> usize {
        self.identities.len()
    }
}

fn read(
    cert: &NamedFile,
    key: Option<&NamedFile>,
    problems: &mut Problems,
) -> Option<ServerCertificate> {
    let mut open = |what: &str, named: &NamedFile| {
        named
            .read()
            .map_err(|error| {
                let (path, cause) = (named.quoted(), cause(&error));
                problems.error(
                    named.place.clone(),
                    format!("unable to read {what} {path}: {cause}"),
                );
            })
            .ok()
    };
    let chain = open("certificate", cert);
    let separate = key.map(|key| open("key", key));
    let (chain_pem, chain_mode) = chain?;
    let separate = match separate {
        Some(read) => Some(read?),
        None => None,
    };

    let holder = key.unwrap_or(cert);
    let key_pem = separate.as_ref().map(|(pem, _)| pem.as_slice());
    let identity = match ServerCertificate::from_pem(&chain_pem, key_pem) {
        Ok(identity) => identity,
        Err(InvalidCertificate::Certificate(reason)) => {
            let message = format!("unable to use certificate {}: {reason}", cert.quoted());
            problems.error(cert.place.clone(), message);
            return None;
        }
        Err(InvalidCertificate::Key(reason)) => {
            let message = format!("unable to use key {}: {reason}", holder.quoted());
            problems.error(holder.place.clone(), message);
            return None;
        }
        Err(InvalidCertificate::Mismatch) => {
            let (key, cert) = (holder.quoted(), cert.quoted());
            let message =
                format!("unable to use key {key}: it does not belong to certificate {cert}");
            problems.error(holder.place.clone(), message);
            return None;
        }
    };

    let mode = separate.as_ref().map_or(chain_mode, |(_, mode)| *mode);
    if everybody_reads(mode) {
        let message = format!("everybody can read the private key in {}", holder.quoted());
        problems.warning(holder.place.clone(), message);
    }
    if let Some(doubt) = doubt_validity(&identity) {
        problems.warning(
            cert.place.clone(),
            format!("certificate {} {doubt}", cert.quoted()),
        );
    }
    Some(identity)
}

/// What is wrong with a certificate's dates now.
fn doubt_validity(identity: &ServerCertificate) -> Option<String> {
    let Some(validity) = identity.validity else {
        return Some("has no dates that can be read".into());
    };
    let now = SystemTime::now();
    let date = humantime::format_rfc3339_seconds;
    if validity.not_after < now {
        return Some(format!("expired at {}", date(validity.not_after)));
    }
    if validity.not_before > now {
        return Some(format!("is not valid before {}", date(validity.not_before)));
    }
    None
}
