//! A host with a certificate and keys, and keys on the command line.

use std::process::Command;

use crate::check::{DECRYPT_ERROR, accepted_by, connect, refused_by};
use crate::offer::{Offer, Suite};
use crate::openssl::openssl;
use crate::setup::{ANSWER, Key, serve_with, site};
use tlssrv_testing::programs::{missing, program, run_with};
use tlssrv_testing::{Line, Server};

/// The versions: the option of OpenSSL, and the name in the log.
const VERSIONS: [(&str, &str); 2] = [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")];

#[test]
fn clients_with_a_key_use_it_and_clients_without_get_the_certificate() {
    if missing(&["openssl"]) {
        return;
    }
    let server = serve_both();
    for suite in [
        Suite::Aes128,
        Suite::Aes256,
        Suite::ChaCha20,
        Suite::EcdhePskChaCha20,
    ] {
        accepted_by(&server, openssl, &Offer::of(suite));
    }
    for (option, version) in VERSIONS {
        let line = shows_certificate(&server, &[option]);
        assert_eq!(line.value("tls"), version);
        assert_eq!(line.value("resumed"), "false");
    }
}

#[test]
fn a_wrong_key_is_refused_where_there_is_a_certificate_too() {
    if missing(&["openssl"]) {
        return;
    }
    let server = serve_both();
    for suite in [Suite::Aes128, Suite::Aes256, Suite::EcdhePskChaCha20] {
        let offer = Offer::of(suite).key(Key::for_suite(suite).wrong());
        let (alert, end) = refused_by(&server, openssl, &offer);
        assert_eq!(alert, DECRYPT_ERROR, "{end}");
    }
}

#[test]
fn an_unknown_identity_in_tls13_gets_the_certificate() {
    if missing(&["openssl"]) {
        return;
    }
    let server = serve_both();
    let offer = Offer::of(Suite::Aes128).key(Key::alice().unknown());
    let (ran, line) = connect(&server, openssl, &offer);
    let text = ran.text();
    assert!(text.ends_with("none a line\n"), "{text}");
    assert_eq!(line.value("auth"), "cert");
}

#[test]
fn a_certificate_session_is_resumed_at_a_host_with_keys() {
    if missing(&["openssl"]) {
        return;
    }
    for (option, version) in VERSIONS {
        let server = serve_both();
        let session = server.site.file("session.pem");
        let session = session.to_str().unwrap();
        shows_certificate(&server, &[option, "-sess_out", session]);
        for _ in 0..2 {
            let line = shows_certificate(&server, &[option, "-sess_in", session]);
            assert_eq!(line.value("resumed"), "true", "{line:?}");
            assert_eq!(line.value("tls"), version);
        }
        accepted_by(&server, openssl, &Offer::of(Suite::EcdhePskChaCha20));
    }
}

#[test]
fn a_command_line_with_keys_serves_their_clients() {
    if missing(&["openssl"]) {
        return;
    }
    let args = ["--listen", "127.0.0.1:0", "-A", "-k", "psk.txt"];
    let server = Server::start_in(site(), &[&args[..], &ANSWER].concat());
    for suite in [Suite::Aes128, Suite::Aes256, Suite::EcdhePskChaCha20] {
        accepted_by(&server, openssl, &Offer::of(suite));
    }
    let (alert, end) = refused_by(
        &server,
        openssl,
        &Offer::of(Suite::Aes128).key(Key::alice().wrong()),
    );
    assert_eq!(alert, DECRYPT_ERROR, "{end}");
}

fn serve_both() -> Server {
    serve_with("cert = [\"cert.pem\"]", &ANSWER)
}

/// A client without a key sees the certificate; its line in the log.
fn shows_certificate(server: &Server, options: &[&str]) -> Line {
    let before = server.connection_lines().len();
    let ran = run_with(&mut certificate_client(server, options), b"a line\n");
    let text = ran.text();
    assert!(text.ends_with("none a line\n"), "{text}");
    let line = server.wait_for_connections(before + 1).remove(before);
    assert_eq!((line.value("auth"), line.value("end")), ("cert", "closed"));
    assert_eq!(line.get("identity"), None);
    line
}

fn certificate_client(server: &Server, options: &[&str]) -> Command {
    let mut command = program("openssl");
    command
        .args(["s_client", "-quiet", "-verify_return_error", "-servername"])
        .args(["a.example", "-verify_hostname", "a.example", "-CAfile"])
        .arg(server.site.file("cert.pem"))
        .args(["-connect", &server.address().to_string()])
        .args(options);
    command
}
