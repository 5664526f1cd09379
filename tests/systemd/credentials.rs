//! `credential:NAME` for certificates, keys and PSK files.

use std::fs;

use crate::start::Start;
use tlssrv_testing::pki::{self, KeyType, Valid, write_secret};
use tlssrv_testing::{Dial, Server, Site};

/// A site without a certificate but in a directory of credentials as systemd makes it.
fn site() -> Site {
    let site = Site::new();
    fs::create_dir(site.file("credentials")).unwrap();
    let made = pki::certificate_with(&["a.example"], KeyType::Ecdsa, Valid::Now);
    fs::write(site.file("credentials/www.pem"), &made.certificate).unwrap();
    write_secret(&site.file("credentials/www.key"), &made.key);
    let psk = format!("alice:{}\n", "17".repeat(32));
    write_secret(&site.file("credentials/psk"), &psk);
    site
}

fn start(site: &Site) -> Start {
    Start::default().with("CREDENTIALS_DIRECTORY", site.file("credentials").display())
}

const LISTEN: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n";

fn table(lines: &str) -> String {
    let host =
        "[[host]]\nnames = [\"a.example\"]\ncommand = [\"echo\", \"hello\"]\nallow-root = true\n";
    format!("{LISTEN}{host}{lines}")
}

fn assert_shows_the_credential(server: &Server) {
    let mut client = Dial::new().connect(server.address(), "a.example");
    assert_eq!(client.read_line(), "hello");
    let expected = server.site.certificate("credentials/www.pem");
    assert_eq!(client.certificate(), expected);
}

#[test]
fn a_configuration_file_takes_credentials() {
    let lines =
        "cert = [\"credential:www.pem\"]\nkey = [\"credential:www.key\"]\npsk = \"credential:psk\"";
    let site = site().with_file("tlssrv.toml", &table(lines));
    let start = start(&site);
    let server = start.server(site, &["-f", "tlssrv.toml"]);
    assert_shows_the_credential(&server);
}

#[test]
fn a_command_line_takes_credentials() {
    let site = site();
    let start = start(&site);
    let cert = ["-c", "credential:www.pem", "--key", "credential:www.key"];
    let psk = ["-k", "file=credential:psk id=alice", "echo", "hello"];
    let args = [&["--listen", "127.0.0.1:0"][..], &cert, &psk].concat();
    assert_shows_the_credential(&start.server(site, &args));
}

#[test]
fn a_missing_credential_is_reported_by_its_name() {
    let cases = [
        (
            "credential:other.pem",
            "unable to read certificate \"credential:other.pem\": No such file or directory",
        ),
        (
            "credential:../cert.pem",
            "unable to read certificate \"credential:../cert.pem\": the name of a credential is that of a file",
        ),
    ];
    for (cert, expected) in cases {
        let site = site().with_file("tlssrv.toml", &table(&format!("cert = [\"{cert}\"]")));
        let (status, stderr) = start(&site).output(&site, &["-f", "tlssrv.toml"]);
        assert_eq!(status, Some(96), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn without_credentials_directory_the_error_says_who_sets_it() {
    let site = site().with_file("tlssrv.toml", &table("cert = [\"credential:www.pem\"]"));
    let (status, stderr) = Start::default().output(&site, &["-f", "tlssrv.toml"]);
    assert_eq!(status, Some(96), "{stderr}");
    let expected = "\"credential:www.pem\": no credentials: systemd sets CREDENTIALS_DIRECTORY where the unit has LoadCredential=";
    assert!(stderr.contains(expected), "{stderr}");
}
