//! Files of CAs and CRLs as people have them: each section counts.

use std::fs;

use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::Valid;
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::raw::codes::alert::CERTIFICATE_REVOKED;

use crate::setup::{Setup, s_client, served};

/// A CA whose client is `carol.pem`.
fn other(setup: Setup) -> (Setup, Authority) {
    let other = Authority::new("Other CA");
    let carol = other.client("carol", 3);
    (setup.with("carol", &carol), other)
}

/// The output of `openssl x509 -trustout` for a certificate in `ca.pem`, with trust settings.
fn trusted(setup: &Setup, settings: &[&str]) -> String {
    let args = ["x509", "-in", "ca.pem", "-trustout"];
    let mut openssl = program("openssl");
    run(openssl
        .current_dir(setup.site.path())
        .args(args)
        .args(settings))
    .text()
}

#[test]
fn each_ca_of_a_joined_file_counts() {
    if missing(&["openssl"]) {
        return;
    }
    for join in ["", "\u{feff}", "\r\n# another\r\n"] {
        let (setup, other) = other(Setup::new());
        let own = trusted(&setup, &["-addtrust", "clientAuth", "-setalias", "own"]);
        assert!(own.contains("BEGIN TRUSTED CERTIFICATE"), "{own}");
        let other = other.pem().replace(" CERTIFICATE", " X509 CERTIFICATE");
        let joined = format!("\u{feff}{}{join}{other}", own.trim_end());
        fs::write(setup.site.file("ca.pem"), joined).unwrap();
        let server = setup.require("");
        served(&server, "alice", &[]);
        served(&server, "carol", &[]);
    }
}

#[test]
fn each_crl_of_a_joined_file_counts() {
    if missing(&["openssl"]) {
        return;
    }
    for join in ["", "\u{feff}"] {
        let (setup, other) = other(Setup::new());
        let both = setup.ca.pem() + &other.pem();
        let first = setup.ca.crl(&[], Valid::Now);
        let crls = format!("{}{join}{}", first.trim_end(), other.crl(&[3], Valid::Now));
        fs::write(setup.site.file("ca.pem"), both).unwrap();
        fs::write(setup.site.file("crl.pem"), crls).unwrap();
        let server = setup.require("client-crl = \"crl.pem\"");
        served(&server, "alice", &[]);
        let ran = s_client(&server, "carol", &[]);
        let alert = format!("SSL alert number {CERTIFICATE_REVOKED}\n");
        assert!(ran.stderr.contains(&alert), "{}", ran.stderr);
    }
}

#[test]
fn a_ca_that_openssl_does_not_trust_for_clients_is_refused() {
    if missing(&["openssl"]) {
        return;
    }
    for settings in [
        &["-addtrust", "serverAuth"][..],
        &["-addreject", "clientAuth"],
        &[
            "-addtrust",
            "clientAuth",
            "-addreject",
            "anyExtendedKeyUsage",
        ],
    ] {
        let setup = Setup::new();
        let own = trusted(&setup, settings);
        fs::write(setup.site.file("ca.pem"), own).unwrap();
        let table = crate::setup::table("client-auth = \"require\"");
        let outcome = crate::config::check(&setup, &table);
        let expected =
            "line 1: the trust settings of this TRUSTED CERTIFICATE do not allow TLS clients";
        assert!(
            outcome.stderr.contains(expected),
            "{settings:?}: {}",
            outcome.stderr
        );
        assert_eq!(outcome.status.code(), Some(96));
    }
}
