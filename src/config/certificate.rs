//! Certificate and key files → identities; each file is read once, however many hosts share it.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::problem::{Place, Problems, cause};
use crate::tls::identity::{Identity, InvalidIdentity};

/// The identities read so far, by certificate and key file. What is wrong with them is reported
/// when they are read; `None`: they are wrong.
#[derive(Default)]
pub(super) struct Certificates {
    identities: HashMap<(PathBuf, Option<PathBuf>), Option<Rc<Identity>>>,
}

/// A file, and where the operator names it.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    pub(super) place: Place,
}

impl Certificates {
    /// The chain of `cert`, with its key from `key`, or where there is none, from `cert` too.
    pub(super) fn load(
        &mut self,
        cert: &Named,
        key: Option<&Named>,
        problems: &mut Problems,
    ) -> Option<Rc<Identity>> {
        let pair = (cert.path.clone(), key.map(|key| key.path.clone()));
        if let Some(known) = self.identities.get(&pair) {
            return known.clone();
        }
        let identity = read(cert, key, problems).map(Rc::new);
        self.identities.insert(pair, identity.clone());
        identity
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.identities.len()
    }
}

fn read(cert: &Named, key: Option<&Named>, problems: &mut Problems) -> Option<Identity> {
    let mut open = |what: &str, named: &Named| {
        let (bytes, mode) = match slurp(&named.path) {
            Ok(read) => read,
            Err(error) => {
                let (path, cause) = (named.path.display().to_string(), cause(&error));
                problems.error(
                    named.place.clone(),
                    format!("unable to read {what} {path:?}: {cause}"),
                );
                return None;
            }
        };
        Some((bytes, mode))
    };
    let chain = open("certificate", cert);
    let separate = key.map(|key| open("key", key));
    let (chain_pem, chain_mode) = chain?;
    let separate = match separate {
        Some(read) => Some(read?),
        None => None,
    };

    let holder = key.unwrap_or(cert);
    let path = |named: &Named| format!("{:?}", named.path.display().to_string());
    let key_pem = separate.as_ref().map(|(pem, _)| pem.as_slice());
    let identity = match Identity::from_pem(&chain_pem, key_pem) {
        Ok(identity) => identity,
        Err(InvalidIdentity::Certificate(reason)) => {
            let message = format!("unable to use certificate {}: {reason}", path(cert));
            problems.error(cert.place.clone(), message);
            return None;
        }
        Err(InvalidIdentity::Key(reason)) => {
            let message = format!("unable to use key {}: {reason}", path(holder));
            problems.error(holder.place.clone(), message);
            return None;
        }
        Err(InvalidIdentity::Mismatch) => {
            let (key, cert) = (path(holder), path(cert));
            let message =
                format!("unable to use key {key}: it does not belong to certificate {cert}");
            problems.error(holder.place.clone(), message);
            return None;
        }
    };

    let mode = separate.as_ref().map_or(chain_mode, |(_, mode)| *mode);
    if mode & 0o004 != 0 {
        let message = format!("everybody can read the private key in {}", path(holder));
        problems.warning(holder.place.clone(), message);
    }
    if let Some(doubt) = doubt_validity(&identity) {
        problems.warning(
            cert.place.clone(),
            format!("certificate {} {doubt}", path(cert)),
        );
    }
    Some(identity)
}

/// What is wrong with a certificate's dates now.
fn doubt_validity(identity: &Identity) -> Option<String> {
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

/// A whole file, in memory that is wiped, and its mode.
fn slurp(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    // All the room from the start: a vector that grew would leave a copy behind. A pipe, which
    // has no length, gets enough for any key.
    let expected = usize::try_from(metadata.len())
        .unwrap_or(LARGEST)
        .clamp(64 * 1024, LARGEST);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected + 1));
    file.by_ref()
        .take(LARGEST as u64 + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() > LARGEST {
        true => Err(io::Error::other("larger than a mebibyte")),
        false => Ok((bytes, metadata.permissions().mode())),
    }
}

/// More than any chain of certificates has.
const LARGEST: usize = 1024 * 1024;
