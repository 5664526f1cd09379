//! OCSP responses, by openssl.

use std::fs;
use std::path::Path;

use crate::programs::{program, run};

/// What a CA says of certificates.
#[derive(Clone, Copy)]
pub enum Says<'a> {
    /// That those with these serial numbers are good; of others, that it does not know them.
    Good(&'a [&'a str]),
    /// That the one with this serial number is revoked.
    Revoked(&'a str),
}

/// What the CA whose certificate is in a file, and whose key in another one, says of the certificate in a
/// third one, all in one directory.
/// `options`: openssl's, such as `-ndays 1`, without which there is no `nextUpdate`.
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

/// That a certificate that has issued itself is good, today and tomorrow. `key`: the file of its key.
pub fn of_self_signed(directory: &Path, certificate: &str, key: &str) -> Vec<u8> {
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
