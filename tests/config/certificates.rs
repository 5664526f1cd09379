//! Certificate and key files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::site::{CERTIFIED, Site, skipped_as_root, with_host};
use tlssrv_testing::pki::{self, KeyType, Valid};
use tlssrv_testing::programs::{missing, program, run};

/// A table whose host has these lines in place of its certificate and key.
fn with_certificate(lines: &str) -> String {
    with_host("").replace(CERTIFIED, lines)
}

#[test]
fn a_host_needs_a_certificate_or_a_psk_file() {
    let site = Site::new();
    site.check(&with_certificate(""))
        .refuses("[[host]]", "[[host]] without \"cert\" or \"psk\"");
    site.check(&with_certificate("cert = []\n")).refuses(
        "cert",
        "no certificate: a host needs one, or \"psk\" in place of \"cert\"",
    );
    site.check(&with_certificate("psk = \"a.psk\"\nkey = [\"a.key\"]\n"))
        .refuses("key =", "\"key\" without \"cert\"");
}

#[test]
fn a_file_that_is_not_there_is_named_once() {
    let site = Site::new();
    let text = with_certificate("cert = [\"none.pem\"]\nkey = [\"none.key\"]\n");
    let path = |name: &str| site.path().join(name).display().to_string();
    let outcome = site.check(&text);
    let reason = "No such file or directory";
    outcome
        .refuses(
            "none.pem",
            &format!(
                "unable to read certificate {:?}: {reason}",
                path("none.pem")
            ),
        )
        .refuses(
            "none.key",
            &format!("unable to read key {:?}: {reason}", path("none.key")),
        );
    assert_eq!(outcome.stderr.matches(reason).count(), 2);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    if skipped_as_root() {
        return;
    }
    let site = Site::new();
    let key = site.path().join("a.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o000)).unwrap();
    let message = format!(
        "unable to read key {:?}: Permission denied",
        key.display().to_string()
    );
    site.check(&with_host("")).refuses("a.key", &message);
}

#[test]
fn a_file_without_certificate_or_without_key_is_refused() {
    let site = Site::new();
    let path = |name: &str| site.path().join(name).display().to_string();
    let message = format!(
        "unable to use certificate {:?}: no certificate in it",
        path("a.key")
    );
    let text = with_certificate("cert = [\"a.key\"]\nkey = [\"a.key\"]\n");
    site.check(&text).refuses("cert =", &message);

    let message = format!(
        "unable to use key {:?}: no private key in it",
        path("a.pem")
    );
    let text = with_certificate("cert = [\"a.pem\"]\nkey = [\"a.pem\"]\n");
    site.check(&text).refuses("key =", &message);
    site.check(&with_certificate("cert = [\"a.pem\"]\n"))
        .refuses("cert =", &message);
}

#[test]
fn a_certificate_of_version_1_is_refused_in_words() {
    if missing(&["openssl"]) {
        return;
    }
    let site = Site::new();
    let steps = "openssl req -newkey rsa:2048 -nodes -subj /CN=a.example -keyout a.key -out a.csr && \
                 openssl x509 -req -in a.csr -signkey a.key -out a.crt && cat a.crt a.key >a.pem";
    run(program("sh").current_dir(site.path()).args(["-c", steps])).succeeded();
    let path = site.path().join("a.pem").display().to_string();
    let why = "it is of an old version of X.509, and has to be of version 3";
    let message = format!("unable to use certificate {path:?}: {why}");
    site.check(&with_host("")).refuses("a.pem", &message);
}

#[test]
fn damaged_pem_is_refused() {
    let site = Site::new();
    let damaged = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    fs::write(site.path().join("a.pem"), damaged).unwrap();
    let path = site.path().join("a.pem").display().to_string();
    let message = format!(
        "unable to use certificate {path:?}: line 2: not base64, in the section \"CERTIFICATE\" of line 1"
    );
    site.check(&with_host("")).refuses("a.pem", &message);

    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(site.path().join("a.pem"), garbage).unwrap();
    let message = format!("unable to use certificate {path:?}: line 1: not an X.509 certificate");
    site.check(&with_host("")).refuses("a.pem", &message);
}

#[test]
fn a_key_that_does_not_belong_to_its_certificate_is_refused() {
    let site = Site::new();
    pki::certificate(&["b.example"]).write(site.path(), "b");
    let path = |name: &str| site.path().join(name).display().to_string();
    let message = format!(
        "unable to use key {:?}: it does not belong to certificate {:?}",
        path("b.key"),
        path("a.pem")
    );
    let text = with_certificate("cert = [\"a.pem\"]\nkey = [\"b.key\"]\n");
    site.check(&text).refuses("b.key", &message);
}

#[test]
fn each_certificate_has_its_key() {
    let text = with_certificate("cert = [\"a.pem\"]\nkey = [\"a.key\", \"b.key\"]\n");
    let message = "2 in key, 1 in cert: each certificate needs its key, or none here";
    Site::new().check(&text).refuses("key =", message);
}

#[test]
fn a_host_may_have_a_certificate_of_each_type_with_its_key_in_the_same_file() {
    let site = Site::new();
    pki::certificate(&["a.example"]).write_combined(&site.path().join("ecdsa.pem"));
    pki::certificate_with(&["a.example"], KeyType::Rsa, Valid::Now)
        .write_combined(&site.path().join("rsa.pem"));
    let outcome = site.check(&with_certificate("cert = [\"ecdsa.pem\", \"rsa.pem\"]\n"));
    outcome.is_fine();
    assert_eq!(outcome.summary(), "ok: 1 listener, 1 host, 2 certificates");
}

#[test]
fn an_expired_or_future_certificate_gets_a_warning() {
    let site = Site::new();
    for (valid, message) in [
        (Valid::Yesterday, "expired at "),
        (Valid::Tomorrow, "is not valid before "),
    ] {
        pki::certificate_with(&["a.example"], KeyType::Ecdsa, valid).write(site.path(), "a");
        let outcome = site.check(&with_host(""));
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        let path = site.path().join("a.pem").display().to_string();
        let message = format!("site.toml:7: warning: certificate {path:?} {message}");
        assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("\n  7 | cert = [\"a.pem\"]\n"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_name_that_the_certificate_does_not_cover_gets_a_warning() {
    let site = Site::new();
    let text = |name: &str| with_host("").replace("a.example", name);
    site.check(&text("b.a.example")).is_fine();
    site.check(&text("*.a.example")).is_fine();
    let path = site.path().join("a.pem").display().to_string();
    for name in ["b.example", "c.b.a.example", "*.example", "*.b.a.example"] {
        let message = format!("certificate {path:?} does not cover {name}");
        site.check(&text(name)).warns("names", &message);
    }
}

#[test]
fn a_private_key_that_everybody_can_read_gets_a_warning() {
    let site = Site::new();
    let key = site.path().join("a.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let path = key.display().to_string();
    let message = format!("everybody can read the private key in {path:?}");
    site.check(&with_host("")).warns("a.key", &message);
}
