//! Files that a configuration names, each read whole: there may be secrets in them.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::problem::Place;

/// A file, and where the operator names it.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    pub(super) place: Place,
}

impl Named {
    /// Its path for a message, in quotation marks.
    pub(super) fn quoted(&self) -> String {
        format!("{:?}", self.path.display().to_string())
    }
}

/// A whole file, in memory that is wiped, and its mode.
pub(super) fn slurp(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    // All the room from the start: a vector that grew would leave a copy behind. A pipe has no length.
    let expected = match metadata.is_file() {
        true => usize::try_from(metadata.len()).unwrap_or(LARGEST),
        false => LARGEST,
    };
    let expected = expected.clamp(64 * 1024, LARGEST);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected + 1));
    file.by_ref()
        .take(LARGEST as u64 + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() > LARGEST {
        true => Err(io::Error::other("larger than a mebibyte")),
        false => Ok((bytes, metadata.permissions().mode())),
    }
}

/// Whether a file of this mode can be read by users who are neither its owner nor in its group.
pub(super) fn everybody_reads(mode: u32) -> bool {
    mode & 0o004 != 0
}

/// More than any chain of certificates has.
const LARGEST: usize = 1024 * 1024;
