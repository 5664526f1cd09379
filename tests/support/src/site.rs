//! A temporary directory with certificates, in which a server starts.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

use crate::pki::{self, Certificate, KeyType, Valid};

/// The names in `cert.pem` and `rsa.pem`.
pub const NAMES: [&str; 3] = ["localhost", "a.example", "*.wild.example"];

/// A directory with `cert.pem` (ECDSA, certificate and key in one file, for [`NAMES`]) and other files of a
/// test; it is removed when this is dropped.
pub struct Site(TempDir);

impl Site {
    /// A directory with `cert.pem`.
    pub fn new() -> Self {
        static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
        let site = Self(TempDir::with_prefix("tlssrv-test.").unwrap());
        CERTIFICATE
            .get_or_init(|| pki::certificate(&NAMES))
            .write_combined(&site.file("cert.pem"));
        // Commands that run as other users must reach its files.
        fs::set_permissions(site.0.path(), Permissions::from_mode(0o711)).unwrap();
        site
    }

    /// Adds a certificate for these names, with its key, as `NAME.pem`.
    #[must_use]
    pub fn with_certificate(self, name: &str, names: &[&str], key_type: KeyType) -> Self {
        pki::certificate_with(names, key_type, Valid::Now)
            .write_combined(&self.file(&format!("{name}.pem")));
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn with_file(self, name: &str, text: &str) -> Self {
        fs::write(self.file(name), text).unwrap();
        self
    }

    /// Adds a file that can be executed, and the directory that it is in.
    pub fn write_program(&self, name: &str, text: &str) {
        let file = self.file(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The first certificate in a file.
    pub fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.file(name)).unwrap()
    }
}
