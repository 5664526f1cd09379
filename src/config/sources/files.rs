//! Reads files that a configuration names. They may contain secrets.
#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use zeroize::Zeroizing;

use crate::config::text::problems::Span;

/// File that the configuration names.
#[derive(Clone)]
pub(in crate::config) struct NamedFile {
    /// Path, or for a credential of the service, `credential:NAME`.
    pub(in crate::config) path: PathBuf,
    /// Position of the name in the configuration.
    pub(in crate::config) span: Span,
}

impl NamedFile {
    /// Makes the file that a text names: a path relative to `base`, or a credential.
    pub(in crate::config) fn new(base: &Path, text: &str, span: Span) -> Self {
        let path = match text.starts_with(CREDENTIAL) {
            true => text.into(),
            false => base.join(text),
        };
        Self { path, span }
    }

    /// Makes the file that the command line names.
    pub(in crate::config) fn on_command_line(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path, span: None }
    }

    /// Makes the file that a value of the configuration names.
    pub(in crate::config) fn spanned(base: &Path, file: &Spanned<String>) -> Self {
        Self::new(base, file.get_ref(), Some(file.span()))
    }

    /// Reads the whole file into memory that is wiped later. Also returns the mode of the file.
    pub(in crate::config) fn read(&self) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
        match self
            .path
            .as_os_str()
            .as_bytes()
            .strip_prefix(CREDENTIAL.as_bytes())
        {
            None => slurp(&self.path),
            Some(name) => slurp(&credential(OsStr::from_bytes(name))?),
        }
    }

    /// Path in quotation marks, for a message.
    pub(in crate::config) fn quoted(&self) -> String {
        format!("{:?}", self.path.display().to_string())
    }
}

/// Path of a credential that systemd gives to this service (systemd.exec(5), `LoadCredential=`).
fn credential(name: &OsStr) -> io::Result<PathBuf> {
    if name.is_empty() || name == "." || name == ".." || name.as_bytes().contains(&b'/') {
        return Err(io::Error::other(
            "the name of a credential is that of a file",
        ));
    }
    match env::var_os("CREDENTIALS_DIRECTORY") {
        Some(directory) => Ok(Path::new(&directory).join(name)),
        None => Err(io::Error::other(
            "no credentials: systemd sets CREDENTIALS_DIRECTORY where the unit has LoadCredential=",
        )),
    }
}

/// Reads a whole file. Errors: it is unreadable, or larger than [`LARGEST`].
fn slurp(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    // The vector has its full capacity from the start, because growing would leave a copy of the secret
    // in freed memory. A pipe has no length.
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
pub(in crate::config) fn everybody_reads(mode: u32) -> bool {
    mode & 0o004 != 0
}

/// Prefix of the name of a credential.
const CREDENTIAL: &str = "credential:";

/// Maximum size of a file in bytes, which is more than any certificate chain needs.
const LARGEST: usize = 1024 * 1024;
