//! The kinds of entries of `allow`, for certificates and for pre-shared keys.

use rcgen::SanType;

use crate::setup::{Setup, s_client, served};
use tlssrv_testing::Server;
use tlssrv_testing::authority::dns;
use tlssrv_testing::pki::{Valid, write_secret};
use tlssrv_testing::programs::{Ran, missing, program, run, run_with};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

#[test]
fn each_kind_of_entry_admits_the_clients_that_it_names() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let carol = setup.ca.client_with("carol", 7, Valid::Now, |params| {
        params.subject_alt_names = vec![
            dns("Carol.Example"),
            SanType::URI("spiffe://example/carol".try_into().unwrap()),
            SanType::Rfc822Name("carol@example.com".try_into().unwrap()),
        ];
    });
    // With the command that the manual gives for it.
    let key = run_with(
        program("openssl").args(["x509", "-pubkey", "-noout"]),
        carol.certificate.as_bytes(),
    );
    let der = run_with(
        program("openssl").args(["pkey", "-pubin", "-outform", "DER"]),
        &key.succeeded().stdout,
    );
    let hash = run_with(
        program("openssl").args(["dgst", "-sha256", "-r"]),
        &der.succeeded().stdout,
    );
    let hash = hash.text().split(' ').next().unwrap().to_owned();
    let entries = [
        "{ dns = \"carol.example\" }".to_owned(),
        "{ dns = \"*.example\" }".to_owned(),
        "{ cn = \"carol\" }".to_owned(),
        "{ uri = \"spiffe://example/carol\" }".to_owned(),
        "{ uri = \"spiffe://example/*\" }".to_owned(),
        "{ email = \"carol@EXAMPLE.com\" }".to_owned(),
        format!("{{ spki = \"sha256:{hash}\" }}"),
    ];
    let mut toml = "engines = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n".to_owned();
    for (place, entry) in entries.iter().enumerate() {
        toml.push_str(&format!(
            "[[host]]\nnames = [\"h{place}.example\"]\ncert = [\"cert.pem\"]\nallow-root = true\n\
             command = [\"env\"]\nclient-auth = \"require\"\nclient-ca = \"ca.pem\"\n\
             allow = [{{ cn = \"nobody\" }}, {entry}]\n"
        ));
    }
    let setup = setup.with("carol", &carol);
    let server = Server::with_config_in(setup.site, &toml);
    for (place, entry) in entries.iter().enumerate() {
        let name = format!("h{place}.example");
        let text = served(&server, "carol", &["-servername", &name]);
        assert!(
            text.contains("SSL_CLIENT_S_DN=CN=carol\n"),
            "{entry}: {text}"
        );
        let ran = s_client(&server, "alice", &["-servername", &name]);
        assert!(
            ran.stderr.contains("SSL alert number 49\n"),
            "{entry}: {}",
            ran.stderr
        );
    }
}

/// What `openssl s_client` gets with this pre-shared key.
fn with_key(server: &Server, identity: &str, version: &str) -> Ran {
    run(program("openssl")
        .args(["s_client", "-quiet", "-servername", "a.example", version])
        .args(["-connect", &server.address().to_string()])
        .args(["-psk", KEY, "-psk_identity", identity]))
}

#[test]
fn an_identity_that_is_not_allowed_is_refused_as_unknown() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let table = format!("carol:{KEY}\ndave:{KEY}\n");
    write_secret(&setup.site.file("c.psk"), &table);
    let toml = "engines = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\n\
                names = [\"a.example\"]\npsk = \"c.psk\"\nallow = [{ psk = \"carol\" }]\n\
                command = [\"env\"]\nallow-root = true\n";
    let server = Server::with_config_in(setup.site, toml);
    for version in ["-tls1_3", "-tls1_2"] {
        let said = with_key(&server, "carol", version).text();
        assert!(said.contains("TLSSRV_PSK_IDENTITY=carol\n"), "{said}");
        assert!(said.contains("SSL_CLIENT_VERIFY=NONE\n"), "{said}");
        let alert = |identity| {
            let ran = with_key(&server, identity, version);
            assert!(ran.stdout.is_empty());
            let mut lines = ran.stderr.lines();
            let line = lines.find_map(|line| line.split_once("SSL alert number "));
            line.unwrap().1.to_owned()
        };
        assert_eq!(alert("dave"), alert("erin"));
    }
}

#[test]
fn keys_and_certificates_are_allowed_side_by_side() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    write_secret(
        &setup.site.file("c.psk"),
        &format!("carol:{KEY}\ndave:{KEY}\n"),
    );
    let server =
        setup.require("psk = \"c.psk\"\nallow = [{ psk = \"carol\" }, { cn = \"alice\" }]");
    served(&server, "alice", &[]);
    assert!(s_client(&server, "bob", &[]).stdout.is_empty());
    let said = with_key(&server, "carol", "-tls1_3").text();
    assert!(said.contains("TLSSRV_PSK_IDENTITY=carol\n"), "{said}");
    assert!(with_key(&server, "dave", "-tls1_3").stdout.is_empty());
}
