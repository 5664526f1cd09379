//! Reads certificate and key files. Hosts with the same files share what was read.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::config::sources::files::{NamedFile, everybody_reads};
use crate::config::sources::passwords::passwords;
use crate::config::text::problems::{Problems, cause};
use crate::tls::server_certificate::{InvalidCertificate, Part, ServerCertificate};

/// File of a chain, and that of its key, if it is another one.
pub(in crate::config) type Pair = (NamedFile, Option<NamedFile>);

/// Paths of a certificate file, its key file and its password file.
type Paths = [Option<PathBuf>; 3];

/// Certificates that were read, with their keys.
#[derive(Default)]
pub(in crate::config) struct Certificates {
    /// Certificates by their files. `None`: there is an error, which was reported when the files were read.
    certificates: HashMap<Paths, Option<Rc<ServerCertificate>>>,
}

impl Certificates {
    /// Reads the certificates of a host, with the passwords of their keys in `password`. `None` in the place of a
    /// certificate: there is an error, which is reported.
    pub(in crate::config) fn load(
        &mut self,
        pairs: &[Pair],
        password: Option<&NamedFile>,
        problems: &mut Problems,
    ) -> Vec<Option<Rc<ServerCertificate>>> {
        let passwords = match password {
            None => Some(Vec::new()),
            Some(file) => passwords(file, problems),
        };
        let Some(passwords) = passwords else {
            return vec![None; pairs.len()];
        };
        let mut load = |pair: &Pair| {
            let (cert, key) = pair;
            let files = [Some(cert), key.as_ref(), password];
            let paths = files.map(|file| file.map(|file| file.path.clone()));
            let read = || read(pair, pairs, &passwords, problems).map(Rc::new);
            self.certificates.entry(paths).or_insert_with(read).clone()
        };
        let loaded: Vec<_> = pairs.iter().map(&mut load).collect();
        let needed = |certificate: &Option<Rc<ServerCertificate>>| {
            certificate.as_ref().is_none_or(|loaded| loaded.decrypted)
        };
        if let Some(file) = password.filter(|_| !loaded.iter().any(needed)) {
            let message = "key-password is of no use: the keys are not encrypted";
            problems.warning(file.span.clone(), message);
        }
        loaded
    }

    /// Number of certificates.
    pub(in crate::config) fn len(&self) -> usize {
        self.certificates.len()
    }
}

/// Reads one of the pairs of a host, and warns of a key that everybody can read, of doubts about the files, and of a
/// certificate that is not valid now. `None`: there is an error, which is reported.
fn read(
    pair: &Pair,
    pairs: &[Pair],
    passwords: &[Zeroizing<Vec<u8>>],
    problems: &mut Problems,
) -> Option<ServerCertificate> {
    let (cert, key) = pair;
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
    let separate = key.as_ref().map(|key| open("key", key));
    let (chain_pem, chain_mode) = chain?;
    let separate = match separate {
        Some(read) => Some(read?),
        None => None,
    };

    let key_file = key.as_ref().unwrap_or(cert);
    let key_pem = separate.as_ref().map(|(pem, _)| pem.as_slice());
    let certificate = match ServerCertificate::from_pem(&chain_pem, key_pem, passwords) {
        Ok(certificate) => certificate,
        Err(error) => {
            let others = pairs.iter().map(|(other, _)| other);
            let mut others = others.filter(|other| other.path != cert.path);
            let owner = || {
                let key_pem = key_pem.unwrap_or(&chain_pem);
                others.find(|other| belongs(key_pem, other, passwords))
            };
            let (file, reason) = refusal(error, cert, key_file, owner);
            problems.error(file.span.clone(), reason);
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
    for (part, doubt) in &certificate.doubts {
        let (what, file) = match part {
            Part::Chain => ("certificate", cert),
            Part::Key => ("key", key_file),
        };
        let message = format!("{what} {}: {doubt}", file.quoted());
        problems.warning(file.span.clone(), message);
    }
    if let Some(warning) = validity_warning(&certificate) {
        problems.warning(
            cert.span.clone(),
            format!("certificate {} {warning}", cert.quoted()),
        );
    }
    Some(certificate)
}

/// Message about files that cannot be used, and the file to which it belongs. `owner` finds the certificate of the
/// host that the key belongs to.
fn refusal<'a>(
    error: InvalidCertificate,
    cert: &'a NamedFile,
    key: &'a NamedFile,
    owner: impl FnOnce() -> Option<&'a NamedFile>,
) -> (&'a NamedFile, String) {
    let (quoted_cert, quoted_key) = (cert.quoted(), key.quoted());
    match error {
        InvalidCertificate::Certificate(reason) => (
            cert,
            format!("unable to use certificate {quoted_cert}: {reason}"),
        ),
        InvalidCertificate::Key(reason) => {
            (key, format!("unable to use key {quoted_key}: {reason}"))
        }
        InvalidCertificate::Exchanged => (
            cert,
            format!(
                "unable to use certificate {quoted_cert}: it has the private key, and {quoted_key}, the key, has \
                 the certificate: exchange the two"
            ),
        ),
        InvalidCertificate::Mismatch(other) => {
            let advice = match (other, owner()) {
                (Some(other), _) => {
                    format!(", but to {other} of it, which has to be the first one")
                }
                (None, Some(owner)) => {
                    format!(
                        ", but to {}: keys have the order of their certificates",
                        owner.quoted()
                    )
                }
                (None, None) => String::new(),
            };
            let message = format!(
                "unable to use key {quoted_key}: it does not belong to certificate {quoted_cert}{advice}"
            );
            (key, message)
        }
    }
}

/// Whether a key belongs to the certificate in a file.
fn belongs(key_pem: &[u8], cert: &NamedFile, passwords: &[Zeroizing<Vec<u8>>]) -> bool {
    let chain = cert.read();
    chain.is_ok_and(|(pem, _)| ServerCertificate::from_pem(&pem, Some(key_pem), passwords).is_ok())
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
