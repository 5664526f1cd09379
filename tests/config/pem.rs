//! PEM files as people have them: no section is lost in silence.

use std::fs;
use std::path::Path;

use rcgen::KeyPair;
use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::{Valid, write_secret};

use crate::site::{Outcome, Site, with_host};

/// A leaf, its intermediate and its root, in PEM, and the key of the leaf.
struct Chain {
    leaf: String,
    intermediate: String,
    root: String,
    key: String,
}

impl Chain {
    fn new() -> Self {
        let root = Authority::new("Root");
        let intermediate = root.intermediate("Intermediate");
        let leaf = intermediate.server(&["a.example"], 1, &KeyPair::generate().unwrap());
        Self {
            leaf: leaf.certificate,
            intermediate: intermediate.pem(),
            root: root.pem(),
            key: leaf.key,
        }
    }
}

/// What `--check` says of a host with this text as its certificate, and this one as its key.
fn check(certificate: &str, key: &str) -> Outcome {
    let site = Site::new();
    write(site.path(), certificate, key);
    site.check(&with_host(""))
}

fn write(directory: &Path, certificate: &str, key: &str) {
    fs::write(directory.join("a.pem"), certificate).unwrap();
    write_secret(&directory.join("a.key"), key);
}

/// The line of the last line that has this text.
fn line_of(text: &str, what: &str) -> usize {
    let found = text
        .lines()
        .zip(1..)
        .filter(|(line, _)| line.contains(what));
    found.last().expect("the text is there").1
}

#[test]
fn joined_sections_byte_order_marks_and_old_labels_are_read_over() {
    let Chain {
        leaf,
        intermediate,
        key,
        ..
    } = Chain::new();
    let (bare, bom) = (leaf.trim_end(), '\u{feff}');
    // Without the intermediate there would be a warning.
    for text in [
        format!("{leaf}{intermediate}"),
        format!("{bare}{intermediate}"),
        format!("{bom}{leaf}{bom}{intermediate}"),
        format!("{bare}{bom}{intermediate}"),
        format!(
            "{leaf}{}",
            intermediate.replace(" CERTIFICATE", " X509 CERTIFICATE")
        ),
        format!(
            "{leaf}{}",
            intermediate.replace(" CERTIFICATE", " TRUSTED CERTIFICATE")
        ),
        format!("{leaf}{intermediate}").replace('\n', "\r\n"),
        format!("# the chain\n{leaf}\nsubject: -\n{intermediate}the end\n"),
    ] {
        check(&text, &key).is_fine();
        check(&text, &format!("{bom}{key}")).is_fine();
        check(&text, &format!("{}{text}", key.trim_end())).is_fine();
    }
}

#[test]
fn sections_in_doubt_are_refused_with_their_line() {
    let Chain {
        leaf,
        intermediate,
        key,
        ..
    } = Chain::new();
    let indented = intermediate.replace("-----BEGIN", "  -----BEGIN");
    let line = leaf.lines().count() + 1;
    let white = format!("line {line}: white space before \"-----BEGIN\"");
    let outcome = check(&format!("{leaf}{indented}"), &key);
    assert!(outcome.stderr.contains(&white), "{}", outcome.stderr);
    assert_eq!(outcome.status, Some(96));

    let cut = intermediate.replace("-----END CERTIFICATE-----", "");
    let outcome = check(&format!("{leaf}{cut}"), &key);
    let open = format!("line {line}: the section has no end");
    assert!(outcome.stderr.contains(&open), "{}", outcome.stderr);

    let outcome = check(&leaf, &key.replace("-----BEGIN", "\t-----BEGIN"));
    let white = "a.key\": line 1: white space before \"-----BEGIN\"";
    assert!(outcome.stderr.contains(white), "{}", outcome.stderr);
    let secret = key.lines().nth(1).unwrap();
    assert!(!outcome.stderr.contains(secret), "{}", outcome.stderr);

    let utf_16: Vec<u8> = format!("\u{feff}{leaf}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let site = Site::new();
    fs::write(site.path().join("a.pem"), utf_16).unwrap();
    let outcome = site.check(&with_host(""));
    assert!(
        outcome.stderr.contains("it is UTF-16 text"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn sections_of_other_kinds_are_refused_where_they_would_be_lost() {
    let Chain {
        leaf, root, key, ..
    } = Chain::new();
    let crl = Authority::new("Root").crl(&[], Valid::Now);
    let request = leaf.replace(" CERTIFICATE", " CERTIFICATE REQUEST");
    let ca = "client-auth = \"require\"\nclient-ca = \"ca.pem\"\n";
    let with_crl = "client-auth = \"require\"\nclient-ca = \"root.pem\"\nclient-crl = \"ca.pem\"\n";
    for (lines, text, message) in [
        (
            ca,
            format!("{root}{crl}"),
            "a CRL, which belongs in client-crl",
        ),
        (
            ca,
            format!("{root}{key}"),
            "a private key, which belongs in key or cert",
        ),
        (
            ca,
            format!("{root} {root}"),
            "white space before \"-----BEGIN\"",
        ),
        (
            with_crl,
            format!("{crl}{root}"),
            "a certificate, which belongs in cert or client-ca",
        ),
        (
            with_crl,
            format!("{crl}\t{crl}"),
            "white space before \"-----BEGIN\"",
        ),
        (
            "ocsp = \"ca.pem\"\n",
            root.clone(),
            "a certificate, which belongs in cert or client-ca",
        ),
        (
            "ocsp = \"ca.pem\"\n",
            format!(" {root}"),
            "white space before \"-----BEGIN\"",
        ),
    ] {
        let site = Site::new();
        write(site.path(), &format!("{leaf}{root}"), &key);
        fs::write(site.path().join("root.pem"), &root).unwrap();
        fs::write(site.path().join("ca.pem"), &text).unwrap();
        let outcome = site.check(&with_host(lines));
        let line = line_of(&text, "-----BEGIN");
        let expected = format!("line {line}: {message}");
        assert!(
            outcome.stderr.contains(&expected),
            "{expected}\n{}",
            outcome.stderr
        );
        assert_eq!(outcome.status, Some(96));
    }
    for (certificate, message) in [
        (format!("{leaf}{crl}"), "a CRL, which belongs in client-crl"),
        (
            request,
            "a section \"CERTIFICATE REQUEST\" cannot be used: a CA makes a certificate of it",
        ),
    ] {
        let outcome = check(&certificate, &key);
        assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
    }
}

#[test]
fn sections_that_are_not_used_get_a_warning() {
    let Chain {
        leaf,
        intermediate,
        key,
        ..
    } = Chain::new();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let dh = "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n";
    let ec = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let chain = format!("{leaf}{intermediate}");
    let line = chain.lines().count() + 1;
    check(&chain, &format!("{ec}{key}")).is_fine();
    let outcome = check(&format!("{chain}{dh}"), &key);
    warns(
        &outcome,
        "certificate",
        "a.pem",
        &format!("line {line}: DH parameters are not used: tlssrv has ECDHE, and no DHE"),
    );
    let outcome = check(&format!("{chain}{other}"), &key);
    warns(
        &outcome,
        "certificate",
        "a.pem",
        &format!("line {line}: this private key is not used, because \"key\" names another file"),
    );
    let outcome = check(&chain, &format!("{other}{key}"));
    warns(
        &outcome,
        "key",
        "a.key",
        "line 1: this private key is not used: it is not that of the certificate",
    );
    let line = key.lines().count() + 1;
    let outcome = check(&leaf, &format!("{key}{intermediate}"));
    warns(
        &outcome,
        "key",
        "a.key",
        &format!("line {line}: this certificate is not used, because \"cert\" names another file"),
    );
}

/// Fails unless it was accepted with this warning about a file of the site.
#[track_caller]
fn warns(outcome: &Outcome, what: &str, file: &str, text: &str) {
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    let stderr = &outcome.stderr;
    assert!(
        stderr.contains(&format!(": warning: {what} \"")),
        "{stderr}"
    );
    assert!(
        stderr.contains(&format!("/{file}\": {text}\n")),
        "{text}\n{stderr}"
    );
}
