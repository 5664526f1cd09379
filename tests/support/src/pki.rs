//! Certificates for tests.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::programs::{program, run};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A self-signed certificate and its key, in PEM.
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// The type of the key of a certificate.
#[derive(Clone, Copy)]
pub enum KeyType {
    /// ECDSA on P-256.
    Ecdsa,
    /// RSA of 2048 bits.
    Rsa,
}

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub enum Valid {
    /// From yesterday until tomorrow.
    Now,
    /// It expired yesterday.
    Yesterday,
    /// From tomorrow.
    Tomorrow,
}

impl Valid {
    /// Gives a certificate its dates.
    pub(crate) fn date(self, params: &mut CertificateParams) {
        let now = SystemTime::now();
        let (from, until) = match self {
            Self::Now => (now - DAY, now + DAY),
            Self::Yesterday => (now - 2 * DAY, now - DAY),
            Self::Tomorrow => (now + DAY, now + 2 * DAY),
        };
        params.not_before = from.into();
        params.not_after = until.into();
    }
}

/// A certificate for these names, with an ECDSA key, valid now.
pub fn certificate(names: &[&str]) -> Certificate {
    certificate_with(names, KeyType::Ecdsa, Valid::Now)
}

/// A certificate for these names.
pub fn certificate_with(names: &[&str], key_type: KeyType, valid: Valid) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    valid.date(&mut params);
    let key = match key_type {
        KeyType::Ecdsa => KeyPair::generate().unwrap(),
        KeyType::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
    };
    let certificate = params.self_signed(&key).unwrap().pem();
    Certificate {
        certificate,
        key: key.serialize_pem(),
    }
}

impl Certificate {
    /// Writes `NAME.pem` and, readable by the owner only, `NAME.key`.
    pub fn write(&self, directory: &Path, name: &str) {
        fs::write(directory.join(format!("{name}.pem")), &self.certificate).unwrap();
        write_secret(&directory.join(format!("{name}.key")), &self.key);
    }

    /// Writes both into one file, readable by the owner only.
    pub fn write_combined(&self, file: &Path) {
        write_secret(file, &format!("{}{}", self.certificate, self.key));
    }
}

/// Encrypts a file with a key, by openssl with these options of `openssl pkcs8 -topk8`.
pub fn encrypt(key: &Path, password: &str, options: &[&str]) {
    let encrypted = key.with_extension("encrypted");
    let mut openssl = program("openssl");
    openssl.args(["pkcs8", "-topk8", "-passout", &format!("pass:{password}")]);
    openssl.arg("-in").arg(key).arg("-out").arg(&encrypted);
    run(openssl.args(options)).succeeded();
    fs::rename(encrypted, key).unwrap();
}

/// Writes a file, readable by the owner only.
pub fn write_secret(file: &Path, text: &str) {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
