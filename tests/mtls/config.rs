//! Mistakes in the configuration of client certificates, and their lines.

use std::fs;
use std::process::Command;

use crate::setup::{Setup, table};
use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::{Valid, write_secret};
use tlssrv_testing::programs::{Ran, missing, program, run};
use tlssrv_testing::tlssrv_path;

pub(crate) fn check(setup: &Setup, toml: &str) -> Ran {
    fs::write(setup.site.file("tlssrv.toml"), toml).unwrap();
    run(Command::new(tlssrv_path())
        .args(["--check", "-f"])
        .arg(setup.site.file("tlssrv.toml")))
}

/// Fails unless these lines of a host lead to this message, at this line of them.
fn assert_wrong(lines: &str, at: usize, message: &str) {
    let setup = Setup::new();
    fs::write(setup.site.file("empty.pem"), "").unwrap();
    fs::write(setup.site.file("crl.pem"), setup.ca.crl(&[], Valid::Now)).unwrap();
    let key = "000102030405060708090a0b0c0d0e0f";
    write_secret(&setup.site.file("c.psk"), &format!("carol:{key}\n"));
    let toml = table("").replace("client-ca = \"ca.pem\"\n", "") + lines;
    let ran = check(&setup, &toml);
    assert_eq!(ran.status.code(), Some(96), "{lines}: {}", ran.stderr);
    let line = table("")
        .replace("client-ca = \"ca.pem\"\n", "")
        .lines()
        .count()
        + at;
    let expected = format!("tlssrv.toml:{line}: {message}");
    assert!(
        ran.stderr.contains(&expected),
        "{lines}\n{expected}\n{}",
        ran.stderr
    );
}

const BOTH: &str = "client-auth = \"require\"\nclient-ca = \"ca.pem\"\n";

#[test]
fn incomplete_or_wrong_settings_for_client_certificates_are_refused() {
    for (lines, at, message) in [
        (
            "client-auth = \"require\"",
            1,
            "client-auth needs \"client-ca\"",
        ),
        (
            "client-ca = \"ca.pem\"",
            1,
            "\"client-ca\" without \"client-auth\"",
        ),
        (
            "client-crl = \"crl.pem\"",
            1,
            "\"client-crl\" without \"client-auth\"",
        ),
        (
            "client-auth = \"demand\"",
            1,
            "expected \"request\" or \"require\", found \"demand\"",
        ),
        ("allow = [{ cn = \"a\" }]", 1, "\"allow\" needs client-auth"),
        (
            "client-auth = \"require\"\nclient-ca = []",
            2,
            "no certificate in client-ca",
        ),
        (
            "client-auth = \"require\"\nclient-ca = \"empty.pem\"",
            2,
            "unable to use client-ca",
        ),
        (
            "client-auth = \"require\"\nclient-ca = \"none.pem\"",
            2,
            "unable to read client-ca",
        ),
        (
            "client-auth = \"require\"\nclient-ca = \"crl.pem\"",
            2,
            "unable to use client-ca",
        ),
        (
            "client-auth = \"require\"\nclient-ca = 1",
            2,
            "expected a string or an array of strings, found an integer",
        ),
    ] {
        assert_wrong(lines, at, message);
    }
}

#[test]
fn each_mistake_in_allow_is_shown_at_its_line() {
    for (line, message) in [
        ("client-crl = []", "no CRL in client-crl"),
        ("client-crl = \"ca.pem\"", "unable to use client-crl"),
        ("client-crl = \"empty.pem\"", "unable to use client-crl"),
        (
            "allow = [{ name = \"a\" }]",
            "unknown key \"name\" in allow",
        ),
        ("allow = [{}]", "0 keys in an entry of allow"),
        (
            "allow = [{ cn = \"a\", dns = \"b\" }]",
            "2 keys in an entry of allow",
        ),
        (
            "allow = [{ cn = \"\" }]",
            "unable to allow \"\": it is empty",
        ),
        (
            "allow = [{ dns = \"*a.example\" }]",
            "unable to allow \"*a.example\"",
        ),
        (
            "allow = [{ uri = \"spiffe://*.example.org/a\" }]",
            "unable to allow \"spiffe://*.example.org/a\": a `*` must be the last segment of the path",
        ),
        (
            "allow = [{ email = \"alice\" }]",
            "unable to allow \"alice\"",
        ),
        (
            "allow = [{ spki = \"sha256:00\" }]",
            "unable to allow \"sha256:00\": write sha256: and 64 hexadecimal digits",
        ),
        (
            "allow = [{ psk = \"a\" }]",
            "this entry of allow means nothing without \"psk\"",
        ),
        ("users = { a = \"b\" }", "\"users\" without \"run-as\""),
        (
            "run-as = \"cert-cn\"",
            "run-as = \"cert-cn\" needs \"users\"",
        ),
        (
            "run-as = \"cert-cn\"\nusers = { a = \"no-such-user\" }",
            "unable to run as user \"no-such-user\": unknown user",
        ),
        (
            "run-as = \"cert-cn\"\nusers = { a = \"root\" }\nuser = \"root\"",
            "\"user\" contradicts run-as = \"cert-cn\"",
        ),
        (
            "psk = \"c.psk\"\nallow = [{ psk = \"erin\" }]",
            "no identity \"erin\" in PSK file",
        ),
        (
            "psk = \"c.psk\"\nallow = [{ cn = \"alice\" }]",
            "no PSK identity in allow",
        ),
        (
            "psk = \"c.psk\"\nallow = [{ psk = \"\" }]",
            "unable to allow \"\": an identity has 1 to 256 bytes",
        ),
    ] {
        let setup = (BOTH.to_owned() + line, 2);
        // The mistake is in the last line, except where that only names a key.
        let at = match message {
            m if m.starts_with("no PSK identity") => setup.1 + 1,
            _ => setup.1 + line.lines().count(),
        };
        assert_wrong(&setup.0, at, message);
    }
    let long = "a".repeat(257);
    assert_wrong(
        &format!("{BOTH}psk = \"c.psk\"\nallow = [{{ psk = \"{long}\" }}]"),
        4,
        &format!("unable to allow \"{long}\": an identity has 1 to 256 bytes"),
    );
    assert_wrong(
        "client-auth = \"request\"\nclient-ca = \"ca.pem\"\nrun-as = \"cert-cn\"\nusers = { a = \"root\" }",
        3,
        "run-as = \"cert-cn\" needs client-auth = \"require\"",
    );
}

#[test]
fn a_host_with_keys_only_cannot_ask_for_certificates() {
    let setup = Setup::new();
    write_secret(
        &setup.site.file("c.psk"),
        "carol:000102030405060708090a0b0c0d0e0f\n",
    );
    let toml =
        table("client-auth = \"require\"").replace("cert = [\"cert.pem\"]", "psk = \"c.psk\"");
    let ran = check(&setup, &toml);
    assert!(
        ran.stderr.contains("\"client-auth\" without \"cert\""),
        "{}",
        ran.stderr
    );
    let toml = table("allow = [{ cn = \"a\" }, { psk = \"carol\" }]")
        .replace("cert = [\"cert.pem\"]", "psk = \"c.psk\"")
        .replace("client-ca = \"ca.pem\"\n", "");
    let ran = check(&setup, &toml);
    let message = "this entry of allow means nothing without \"client-auth\"";
    assert!(ran.stderr.contains(message), "{}", ran.stderr);
}

#[test]
fn there_may_be_several_files_with_several_certificates() {
    let setup = Setup::new();
    let (one, other) = (Authority::new("One"), Authority::new("Other"));
    let both = one.pem() + &other.pem();
    fs::write(setup.site.file("both.pem"), both).unwrap();
    let crls = one.crl(&[1], Valid::Now) + &other.crl(&[], Valid::Now);
    fs::write(setup.site.file("crls.pem"), crls).unwrap();
    let lines = "client-auth = \"require\"\nclient-crl = [\"crls.pem\"]";
    let toml = table(lines).replace("\"ca.pem\"", "[\"ca.pem\", \"both.pem\"]");
    let ran = check(&setup, &toml);
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

#[test]
fn allow_with_request_gets_a_warning() {
    let setup = Setup::new();
    let lines = "client-auth = \"request\"\nallow = [{ cn = \"a\" }]";
    let ran = check(&setup, &table(lines));
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("warning: with \"allow\""),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_star_where_there_are_no_patterns_gets_a_warning() {
    let setup = Setup::new();
    for entry in ["cn = \"*.a.example\"", "email = \"*@a.example\""] {
        let lines = format!("client-auth = \"require\"\nallow = [{{ {entry} }}]");
        let ran = check(&setup, &table(&lines));
        assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
        let warning = "warning: the `*` stands for itself";
        assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    }
}

#[test]
fn a_crl_of_version_1_is_refused_with_a_hint() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    write_secret(&setup.site.file("ca.key"), &setup.ca.key());
    fs::write(setup.site.file("index.txt"), "").unwrap();
    let configuration = "[ca]\ndefault_ca = ours\n[ours]\ndatabase = index.txt\ndefault_md = sha256\n\
                         default_crl_days = 30\n";
    let gencrl = |configuration: &str| {
        fs::write(setup.site.file("openssl.cnf"), configuration).unwrap();
        let ran = run(program("openssl").current_dir(setup.site.path()).args([
            "ca",
            "-config",
            "openssl.cnf",
            "-gencrl",
            "-keyfile",
            "ca.key",
            "-cert",
            "ca.pem",
            "-out",
            "ca.crl",
        ]));
        assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
        check(
            &setup,
            &table("client-auth = \"require\"\nclient-crl = \"ca.crl\""),
        )
    };
    let ran = gencrl(configuration);
    assert_eq!(ran.status.code(), Some(96), "{}", ran.stderr);
    assert!(ran.stderr.contains("not of version 2"), "{}", ran.stderr);
    // With the command in the message.
    fs::write(setup.site.file("number"), "01\n").unwrap();
    let ran = gencrl(&format!("{configuration}crlnumber = number\n"));
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
}
