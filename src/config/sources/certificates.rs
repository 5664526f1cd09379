//! Reads certificate and key files. Hosts with the same files share what was read.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use crate::config::sources::files::{NamedFile, everybody_reads};
use crate::config::text::problems::{Problems, cause};
use crate::tls::server_certificate::{InvalidCertificate, ServerCertificate};

/// Certificates that were read, with their keys.
#[derive(Default)]
pub(in crate::config) struct Certificates {
    /// Certificates by certificate file and key file. `None`: there is an error, which was reported when
    /// the files were read.
    certificates: HashMap<(PathBuf, Option<PathBuf>), Option<Rc<ServerCertificate>>>,
}

impl Certificates {
    /// Reads the chain in `cert`, and its key in `key`, or without a `key`, in `cert` too. `None`: there
    /// is an error, which is reported.
    pub(in crate::config) fn load(
        &mut self,
        cert: &NamedFile,
        key: Option<&NamedFile>,
        problems: &mut Problems,
    ) -> Option<Rc<ServerCertificate>> {
        let pair = (cert.path.clone(), key.map(|key| key.path.clone()));
        if let Some(known) = self.certificates.get(&pair) {
            return known.clone();
        }
        let certificate = read(cert, key, problems).map(Rc::new);
        self.certificates.insert(pair, certificate.clone());
        certificate
    }

    /// Number of certificates.
    pub(in crate::config) fn len(&self) -> usize {
        self.certificates.len()
    }
}

/// Reads a chain and its key, and warns of a key that everybody can read and of a chain that is not valid
/// now. `None`: there is an error, which is reported.
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
                    named.span.clone(),
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

    let key_file = key.unwrap_or(cert);
    let key_pem = separate.as_ref().map(|(pem, _)| pem.as_slice());
    let certificate = match ServerCertificate::from_pem(&chain_pem, key_pem) {
        Ok(certificate) => certificate,
        Err(InvalidCertificate::Certificate(reason)) => {
            let message = format!("unable to use certificate {}: {reason}", cert.quoted());
            problems.error(cert.span.clone(), message);
            return None;
        }
        Err(InvalidCertificate::Key(reason)) => {
            let message = format!("unable to use key {}: {reason}", key_file.quoted());
            problems.error(key_file.span.clone(), message);
            return None;
        }
        Err(InvalidCertificate::Mismatch) => {
            let (key, cert) = (key_file.quoted(), cert.quoted());
            let message =
                format!("unable to use key {key}: it does not belong to certificate {cert}");
            problems.error(key_file.span.clone(), message);
            return None;
        }
    };

    let mode = separate.as_ref().map_or(chain_mode, |(_, mode)| *mode);
    if everybody_reads(mode) {
        let message = format!(
            "everybody can read the private key in {}",
            key_file.quoted()
        );
        problems.warning(key_file.span.clone(), message);
    }
    if let Some(warning) = validity_warning(&certificate) {
        problems.warning(
            cert.span.clone(),
            format!("certificate {} {warning}", cert.quoted()),
        );
    }
    Some(certificate)
}

/// Warning about the dates of a certificate, if it is not valid now.
fn validity_warning(certificate: &ServerCertificate) -> Option<String> {
    let Some(validity) = certificate.validity else {
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
