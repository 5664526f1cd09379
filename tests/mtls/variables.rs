//! The variables of a command that describe the client certificate.

use std::collections::BTreeSet;

use rcgen::{DnType, SanType};

use crate::setup::{Setup, served, value};
use tlssrv_testing::authority::dns;
use tlssrv_testing::pki::Valid;
use tlssrv_testing::programs::{missing, program, run};

/// What `openssl x509` prints of a certificate.
fn x509(setup: &Setup, name: &str, options: &[&str]) -> String {
    let ran = run(program("openssl")
        .current_dir(setup.site.path())
        .args(["x509", "-noout", "-in", name])
        .args(options));
    ran.text().trim_end().to_owned()
}

#[test]
fn every_variable_agrees_with_openssl() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let carol = setup.ca.client_with("carol", 0, Valid::Now, |params| {
        params.serial_number = Some(vec![0x9a, 0xbc, 0xde, 0xf0, 1].into());
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, "Example, Inc. \u{1f512}");
        name.push(DnType::CountryName, "CH");
        params.subject_alt_names = vec![
            dns("carol.example"),
            SanType::Rfc822Name("carol@example.com".try_into().unwrap()),
            dns("b.example"),
        ];
    });
    let setup = setup.with("carol", &carol);
    let after_equals = |text: String| text.split_once('=').unwrap().1.to_owned();
    let field = |option: &str| after_equals(x509(&setup, "carol.pem", &[option]));
    let name = |option: &str| {
        let options = [option, "-nameopt", "RFC2253,-esc_msb,utf8"];
        after_equals(x509(&setup, "carol.pem", &options))
    };
    let hash = after_equals(x509(&setup, "carol.pem", &["-fingerprint", "-sha256"]));
    let hash = format!("SHA256:{}", hash.replace(':', "").to_lowercase());
    let expected = [
        ("SSL_CLIENT_VERIFY", "SUCCESS".to_owned()),
        ("SSL_CLIENT_S_DN", name("-subject")),
        ("SSL_PEER_CERT_SUBJECT", name("-subject")),
        ("SSL_CLIENT_I_DN", name("-issuer")),
        ("SSL_CLIENT_M_SERIAL", field("-serial")),
        ("SSL_CLIENT_V_START", field("-startdate")),
        ("SSL_CLIENT_V_END", field("-enddate")),
        ("SSL_CLIENT_SAN_DNS_0", "carol.example".to_owned()),
        ("SSL_CLIENT_SAN_DNS_1", "b.example".to_owned()),
        ("SSL_PEER_CERT_HASH", hash),
    ];
    let pem = carol.certificate.replace("\r\n", "\n");
    let server = setup.require("");
    let mut texts = Vec::new();
    for version in ["-tls1_3", "-tls1_2"] {
        // A full handshake, then a resumed one.
        let session = server.site.file(&format!("session{version}"));
        let session = session.to_str().unwrap();
        for (option, resumed) in [("-sess_out", "Initial"), ("-sess_in", "Resumed")] {
            let text = served(&server, "carol", &[version, option, session]);
            assert_eq!(
                value(&text, "SSL_SESSION_RESUMED"),
                Some(resumed),
                "{version}"
            );
            for (name, expected) in &expected {
                assert_eq!(value(&text, name), Some(expected.as_str()), "{name}");
            }
            assert!(text.contains(&format!("SSL_CLIENT_CERT={pem}")), "{text}");
            assert!(!text.contains("SSL_CLIENT_SAN_DNS_2"));
            texts.push(text);
        }
    }
    let names: BTreeSet<usize> = texts
        .iter()
        .map(|text| text.matches("SSL_").count())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    for line in server.wait_for_connections(4) {
        assert_eq!(line.value("identity"), expected[1].1);
    }
}

#[test]
fn variables_that_cannot_be_set_are_left_out_and_the_log_says_so() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let odd = setup
        .ca
        .client_with("x\nLD_PRELOAD=/x", 3, Valid::Now, |params| {
            params.subject_alt_names = (0..65).map(|n| dns(&format!("n{n}.example"))).collect();
        });
    let server = setup.with("odd", &odd).require("");
    let text = served(&server, "odd", &[]);
    assert_eq!(value(&text, "LD_PRELOAD"), None);
    assert_eq!(value(&text, "SSL_CLIENT_S_DN"), None);
    assert_eq!(value(&text, "SSL_PEER_CERT_SUBJECT"), None);
    assert_eq!(value(&text, "SSL_CLIENT_SAN_DNS_0"), None);
    assert_eq!(value(&text, "SSL_CLIENT_I_DN"), Some("CN=Test CA"));
    for name in ["SSL_CLIENT_S_DN", "SSL_CLIENT_SAN_DNS_0"] {
        let said = format!("{name} is left out: it is");
        server.wait_for_line(name, |line| line.contains(&said) && line.contains("id="));
    }
    let line = server.wait_for_connection();
    let hash = value(&text, "SSL_PEER_CERT_HASH").unwrap();
    assert_eq!(line.value("identity"), hash);
}

#[test]
fn a_large_certificate_leaves_out_ssl_client_cert() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let large = setup.ca.client_with("large", 3, Valid::Now, |params| {
        let uri = |n| format!("https://example.com/{n}/{}", "x".repeat(1000));
        let uris = (0..20).map(|n| SanType::URI(uri(n).try_into().unwrap()));
        params.subject_alt_names = uris.collect();
    });
    let server = setup.with("large", &large).require("");
    let text = served(&server, "large", &[]);
    assert_eq!(value(&text, "SSL_CLIENT_S_DN"), Some("CN=large"));
    assert_eq!(value(&text, "SSL_CLIENT_CERT"), None);
    server.wait_for_line("it is left out", |line| {
        line.contains("SSL_CLIENT_CERT is left out: it is longer than 16384 bytes")
    });
}
