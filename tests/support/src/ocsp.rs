//! OCSP responses, made by openssl.

use std::fs;
use std::path::Path;

use crate::programs::{program, run};

/// The status that a CA gives certificates.
#[derive(Clone, Copy)]
pub enum Says<'a> {
    /// Certificates with these serial numbers are good, others unknown.
    Good(&'a [&'a str]),
    /// The certificate with this serial number is revoked.
    Revoked(&'a str),
}

/// The response for a certificate. The three files, all in one directory, have the certificate of the CA, its
/// key, and the certificate that the response is for.
/// `options` of openssl, such as `-ndays 1`, without which there is no `nextUpdate`.
pub fn response(
    directory: &Path,
    [ca, key, certificate]: [&str; 3],
    says: Says<'_>,
    options: &[&str],
) -> Vec<u8> {
    let index = match says {
        Says::Good(numbers) => numbers
            .iter()
            .map(|number| format!("V\t301231000000Z\t\t{number}\tunknown\t/CN={number}\n"))
            .collect(),
        Says::Revoked(number) => {
            format!("R\t301231000000Z\t261101000000Z\t{number}\tunknown\t/CN=x\n")
        }
    };
    fs::write(directory.join("index"), index).unwrap();
    run(program("openssl")
        .current_dir(directory)
        .args([
            "ocsp",
            "-index",
            "index",
            "-noverify",
            "-respout",
            "made.ocsp",
        ])
        .args(["-CA", ca, "-rsigner", ca, "-rkey", key, "-issuer", ca])
        .args(options)
        .args(["-cert", certificate]))
    .succeeded();
    fs::read(directory.join("made.ocsp")).unwrap()
}

/// The response that a self-signed certificate is good, valid today and tomorrow. `key`: the file of its key.
pub(crate) fn of_self_signed(directory: &Path, certificate: &str, key: &str) -> Vec<u8> {
    let serial = run(program("openssl").current_dir(directory).args([
        "x509",
        "-noout",
        "-serial",
        "-in",
        certificate,
    ]));
    let serial = serial.text();
    let number = serial.trim_end().strip_prefix("serial=").unwrap();
    let files = [certificate, key, certificate];
    response(directory, files, Says::Good(&[number]), &["-ndays", "1"])
}
