//! OCSP responses: stapled to the certificate that they are for, until they expire.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use tlssrv_testing::authority::Authority;
use tlssrv_testing::ocsp::{self, Says};
use tlssrv_testing::pki::write_secret;
use tlssrv_testing::programs::{Ran, missing, program, run};
use tlssrv_testing::{Host, Server, Site, eventually, tlssrv_path};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `www.pem`, a certificate of serial number 1 with that of its CA.
struct Setup {
    site: Site,
    ca: Authority,
}

impl Setup {
    fn new() -> Self {
        let (site, ca) = (Site::new(), Authority::new("Test CA"));
        fs::write(site.file("ca.pem"), ca.pem()).unwrap();
        write_secret(&site.file("ca.key"), &ca.key());
        let mut www = ca.server(&["a.example"], 1, &KeyPair::generate().unwrap());
        fs::write(site.file("leaf.pem"), &www.certificate).unwrap();
        www.certificate.push_str(&ca.pem());
        www.write_combined(&site.file("www.pem"));
        Self { site, ca }
    }

    /// An OCSP response for the certificate in a file.
    fn response(&self, certificate: &str, says: Says<'_>, options: &[&str]) -> Vec<u8> {
        let files = ["ca.pem", "ca.key", certificate];
        ocsp::response(self.site.path(), files, says, options)
    }

    /// A response that the certificate is good, valid today and tomorrow.
    fn good(&self) -> Vec<u8> {
        self.response("leaf.pem", KNOWN, &["-ndays", "1"])
    }

    /// With this response in `www.ocsp`.
    fn with(self, response: &[u8]) -> Self {
        fs::write(self.site.file("www.ocsp"), response).unwrap();
        self
    }

    fn start(self) -> Server {
        Server::with_config_in(self.site, &table("ocsp = \"www.ocsp\""))
    }

    fn check(&self, lines: &str) -> Ran {
        fs::write(self.site.file("tlssrv.toml"), table(lines)).unwrap();
        run(Command::new(tlssrv_path())
            .args(["--check", "-f"])
            .arg(self.site.file("tlssrv.toml")))
    }
}

/// A table of one host with `www.pem` and these lines.
fn table(lines: &str) -> String {
    let host = Host {
        host: &format!("names = [\"a.example\"]\n{lines}"),
        command: &["true"],
        ..Host::default()
    };
    host.toml().replace("cert.pem", "www.pem")
}

/// The response with other dates: `thisUpdate` and `nextUpdate`. Its signature is not verified here.
fn dated(mut response: Vec<u8>, this_update: SystemTime, next_update: SystemTime) -> Vec<u8> {
    // GeneralizedTimes with seconds: producedAt comes before these two, and those of certificates after.
    let times: Vec<usize> = (0..response.len() - 17)
        .filter(|at| response[*at..].starts_with(&[0x18, 15]))
        .collect();
    for (at, date) in times[1..3].iter().zip([this_update, next_update]) {
        let mut text = humantime::format_rfc3339_seconds(date).to_string();
        text.retain(|c| c.is_ascii_digit() || c == 'Z');
        response[at + 2..at + 17].copy_from_slice(text.as_bytes());
    }
    response
}

/// The part of the output of `openssl s_client` about the stapled response.
fn status(server: &Server, options: &[&str]) -> String {
    let ran = run(program("openssl")
        .args(["s_client", "-servername", "a.example", "-connect"])
        .arg(server.address().to_string())
        .args(options));
    ran.text()
}

const KNOWN: Says<'_> = Says::Good(&["01", "02"]);
const GOOD: &str = "Cert Status: good";
const NONE: &str = "OCSP response: no response sent";

#[test]
fn a_response_is_stapled_for_clients_that_ask() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    for hash in ["-sha1", "-sha256"] {
        let response = setup.response("leaf.pem", KNOWN, &["-ndays", "1", hash]);
        fs::write(setup.site.file(&format!("www{hash}")), response).unwrap();
    }
    let ran = setup.check("ocsp = \"www-sha256\"");
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let response = fs::read(setup.site.file("www-sha1")).unwrap();
    let server = setup.with(&response).start();
    for version in ["-tls1_3", "-tls1_2"] {
        let said = status(&server, &["-status", version]);
        assert!(said.contains("OCSP Response Status: successful"), "{said}");
        assert!(said.contains(GOOD), "{said}");
        assert!(!status(&server, &[version]).contains(GOOD));
    }
}

#[test]
fn a_response_in_pem_is_stapled() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let response = setup.good();
    let setup = setup.with(&response);
    let mut openssl = program("openssl");
    let args = ["base64", "-in", "www.ocsp"];
    let base64 = run(openssl.current_dir(setup.site.path()).args(args)).text();
    let pem = format!("\u{feff}-----BEGIN OCSP RESPONSE-----\n{base64}-----END OCSP RESPONSE-----");
    let server = setup.with(pem.as_bytes()).start();
    let said = status(&server, &["-status"]);
    assert!(said.contains(GOOD), "{said}");
}

#[test]
fn a_response_is_stapled_to_its_certificate_among_several() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let other = setup.ca.server(&["a.example"], 2, &rsa);
    // Without the certificate of its CA.
    other.write_combined(&setup.site.file("other.pem"));
    let second = setup.response("other.pem", KNOWN, &["-ndays", "1"]);
    fs::write(setup.site.file("other.ocsp"), second).unwrap();
    let first = setup.good();
    let setup = setup.with(&first);
    let toml = table("ocsp = [\"other.ocsp\", \"www.ocsp\"]")
        .replace("[\"www.pem\"]", "[\"www.pem\", \"other.pem\"]");
    let server = Server::with_config_in(setup.site, &toml);
    for (algorithm, serial) in [("ECDSA+SHA256", "01"), ("RSA-PSS+SHA256", "02")] {
        let said = status(&server, &["-status", "-sigalgs", algorithm]);
        assert!(said.contains(GOOD), "{said}");
        assert!(
            said.contains(&format!("Serial Number: {serial}\n")),
            "{said}"
        );
    }
}

#[test]
fn an_expired_response_is_not_stapled_and_the_log_says_so() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let now = SystemTime::now();
    let old = dated(setup.good(), now - 2 * DAY, now - DAY);
    let renewed = setup.good();
    let server = setup.with(&old).start();
    server.wait_for_line("a warning", |line| {
        line.contains("warning") && line.contains("www.ocsp") && line.contains("expired at")
    });
    let said = status(&server, &["-status"]);
    assert!(said.contains(NONE), "{said}");
    // A renewed response is read again.
    fs::write(server.site.file("www.ocsp"), renewed).unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for_line("it is reloaded", |line| line.ends_with("reloaded"));
    let said = status(&server, &["-status"]);
    assert!(said.contains(GOOD), "{said}");
}

#[test]
fn a_response_that_expires_later_is_stapled_until_then() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let until = SystemTime::now() + Duration::from_secs(6);
    let brief = dated(setup.good(), SystemTime::now() - DAY, until);
    let server = setup.with(&brief).start();
    let said = status(&server, &["-status"]);
    assert!(said.contains(GOOD), "{said}");
    eventually("it has run out", || {
        (SystemTime::now() > until).then_some(())
    });
    for version in ["-tls1_3", "-tls1_2"] {
        let said = status(&server, &["-status", version]);
        assert!(said.contains(NONE), "{said}");
    }
    server.wait_for_line("a warning", |line| {
        line.contains("warning host a.example: an OCSP response expired at")
    });
    let lines = server.lines();
    let warnings = lines.iter().filter(|line| line.contains("OCSP"));
    assert_eq!(warnings.count(), 1, "{lines:?}");
}

#[test]
fn a_revoked_or_unknown_response_is_not_stapled() {
    if missing(&["openssl"]) {
        return;
    }
    let now = SystemTime::now();
    let one_day = ["-ndays", "1"];
    for (says, options, change, message) in [
        (
            Says::Revoked("01"),
            &one_day[..],
            false,
            "says that the certificate is revoked",
        ),
        (
            Says::Good(&["77"]),
            &one_day,
            false,
            "says that the responder does not know it",
        ),
        (KNOWN, &[], false, "has no nextUpdate"),
        (KNOWN, &one_day, true, "is not valid before"),
    ] {
        let setup = Setup::new();
        let mut response = setup.response("leaf.pem", says, options);
        if change {
            response = dated(response, now + DAY, now + 2 * DAY);
        }
        let setup = setup.with(&response);
        let ran = setup.check("ocsp = \"www.ocsp\"");
        assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
        let said = ran.stderr.contains(message) && ran.stderr.contains(": it is not stapled");
        assert!(said, "{message}: {}", ran.stderr);
        let said = status(&setup.start(), &["-status"]);
        assert!(said.contains(NONE), "{said}");
    }
}

#[test]
fn a_file_without_a_response_for_the_host_is_refused_at_its_line() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let good = setup.good();
    let other = Authority::new("Test CA");
    let another = setup.ca.server(&["b"], 2, &KeyPair::generate().unwrap());
    fs::write(setup.site.file("leaf2.pem"), another.certificate).unwrap();
    let of_another = setup.response("leaf2.pem", KNOWN, &["-ndays", "1"]);
    // Another CA of the same name has issued a certificate with the same serial number.
    fs::write(setup.site.file("ca.pem"), other.pem()).unwrap();
    write_secret(&setup.site.file("ca.key"), &other.key());
    let of_another_ca = setup.response("leaf.pem", KNOWN, &["-ndays", "1"]);
    // OCSPResponseStatus tryLater
    let later = [0x30, 3, 0x0a, 1, 3];
    let cut = &good[..good.len() - 1];
    let longer = [&good[..], &[0]].concat();
    for (bytes, message) in [
        (&of_another[..], "it is for none of the host's certificates"),
        (&of_another_ca, "it is for none of the host's certificates"),
        (&later, "the responder answered tryLater"),
        (cut, "not an OCSP response in DER"),
        (&longer, "not an OCSP response in DER"),
        (b"", "not an OCSP response in DER"),
    ] {
        fs::write(setup.site.file("www.ocsp"), bytes).unwrap();
        let ran = setup.check("ocsp = \"www.ocsp\"");
        assert_eq!(ran.status.code(), Some(96), "{}", ran.stderr);
        let message = format!("/www.ocsp\": {message}");
        assert!(
            ran.stderr.contains("unable to use OCSP response"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains(&message), "{message}: {}", ran.stderr);
        assert!(ran.stderr.contains("ocsp = \"www.ocsp\""), "{}", ran.stderr);
    }
    let setup = setup.with(&good);
    for (line, message) in [
        ("ocsp = \"none\"", "unable to read OCSP response"),
        (
            "ocsp = [\"www.ocsp\", \"www.ocsp\"]",
            "another one is for the same certificate",
        ),
        (
            "ocsp = 1",
            "expected a string or an array of strings, found an integer",
        ),
    ] {
        let ran = setup.check(line);
        assert_eq!(ran.status.code(), Some(96), "{}", ran.stderr);
        assert!(ran.stderr.contains(message), "{message}: {}", ran.stderr);
    }
}
