//! Versions, groups, certificates, session resumption, ALPN and key updates.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ALL_VERSIONS, AlertDescription, HandshakeKind, NamedGroup, ProtocolVersion, SignatureScheme,
};

use tlssrv_testing::pki::KeyType;
use tlssrv_testing::{Client, Dial, Ended, Line, Server, Site};

#[test]
fn tls_1_3_and_tls_1_2_are_spoken() {
    let script = "echo $SSL_PROTOCOL $SSL_CIPHER";
    let server = Server::of(&["sh", "-c", script]);
    for (version, name) in [(&TLS13, "TLSv1.3"), (&TLS12, "TLSv1.2")] {
        let mut client = Dial::version(version).connect(server.address(), "a.example");
        assert_eq!(client.tls.protocol_version(), Some(version.version));
        let suite = client.tls.negotiated_cipher_suite().unwrap().suite();
        let suite = suite.as_str().unwrap().replace("TLS13_", "TLS_");
        assert_eq!(client.read_line(), format!("{name} {suite}"));
        client.read_close_notify();
        drop(client);
        let is_this = |line: &Line| line.get("tls") == Some(name);
        let lines = server.wait_for_connections(if name == "TLSv1.3" { 1 } else { 2 });
        let line = lines.into_iter().find(is_this).unwrap();
        assert_eq!(line.value("suite"), suite);
        assert_eq!(line.value("auth"), "cert");
    }
}

#[test]
fn a_client_that_knows_both_gets_tls_1_3_and_the_post_quantum_group() {
    let server = Server::of(&["true"]);
    let mut client = server.connect("a.example");
    assert_eq!(
        client.tls.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    client.read_close_notify();
    drop(client);
    assert_eq!(
        server.wait_for_connection().value("group"),
        "X25519MLKEM768"
    );
}

#[test]
fn each_usual_group_is_spoken() {
    let server = Server::of(&["true"]);
    for (count, group) in [X25519MLKEM768, X25519, SECP256R1].into_iter().enumerate() {
        let mut client = Dial::group(group).connect(server.address(), "a.example");
        client.read_close_notify();
        drop(client);
        let line = server.wait_for_connections(count + 1).remove(count);
        assert_eq!(Some(line.value("group")), group.name().as_str());
    }
}

#[test]
fn a_client_gets_the_ecdsa_or_rsa_certificate_that_it_can_verify() {
    const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
    const RSA: &[SignatureScheme] = &[
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::RSA_PKCS1_SHA256,
    ];
    let site = Site::new().with_certificate("rsa", &["a.example"], KeyType::Rsa);
    let args = [
        "--listen",
        "127.0.0.1:0",
        "-c",
        "cert.pem",
        "-c",
        "rsa.pem",
        "cat",
    ];
    let server = Server::start_in(site, &args);
    for version in ALL_VERSIONS {
        for (schemes, file) in [(ECDSA, "cert.pem"), (RSA, "rsa.pem")] {
            let dial = Dial::offering(&[version], schemes);
            let client = dial.connect(server.address(), "a.example");
            assert_eq!(client.certificate(), server.site.certificate(file));
        }
    }
    let neither = Dial::offering(ALL_VERSIONS, &[SignatureScheme::ED25519]);
    let refused = neither.try_connect(server.address(), "a.example");
    assert_eq!(
        refused.err(),
        Some(Ended::Alert(AlertDescription::HandshakeFailure))
    );
}

/// Two hosts with one certificate, three engines.
const TICKETS: &str = r#"
    engines = 3
    [[listen]]
    address = "127.0.0.1:0"
    [[host]]
    names = ["a.example"]
    cert = ["cert.pem"]
    command = ["sh", "-c", "echo $SSL_SESSION_RESUMED; cat"]
    allow-root = true
    [[host]]
    names = ["localhost"]
    cert = ["cert.pem"]
    command = ["sh", "-c", "echo $SSL_SESSION_RESUMED; cat"]
    allow-root = true
"#;

#[test]
fn a_session_is_resumed_on_every_engine() {
    for version in ALL_VERSIONS {
        let server = Server::with_config(TICKETS);
        assert_eq!(server.engines().len(), 3);
        let dial = Dial::version(version);
        let mut first = dial.connect(server.address(), "a.example");
        assert_eq!(first.read_line(), "Initial");
        // Connections that stay open push the next ones to other engines.
        let mut clients = vec![first];
        for _ in 0..5 {
            let mut client = dial.connect(server.address(), "a.example");
            assert_eq!(client.tls.handshake_kind(), Some(HandshakeKind::Resumed));
            assert_eq!(client.read_line(), "Resumed");
            clients.push(client);
        }
        clients.iter_mut().for_each(Client::close_notify);
        clients.into_iter().for_each(|mut client| {
            client.read_close_notify();
        });
        let lines = server.wait_for_connections(6);
        let resumed = lines.iter().filter(|line| line.value("resumed") == "true");
        assert_eq!(resumed.count(), 5);
        assert!(lines.iter().all(|line| line.value("sni") == "a.example"));
    }
}

#[test]
fn a_session_is_not_resumed_at_another_host() {
    for version in ALL_VERSIONS {
        let server = Server::with_config(TICKETS);
        let dial = Dial::version(version).with(|config| {
            config.resumption = Resumption::store(Arc::new(AnyName::new()));
        });
        let mut first = dial.connect(server.address(), "a.example");
        assert_eq!(first.read_line(), "Initial");
        let mut again = dial.connect(server.address(), "a.example");
        assert_eq!(again.read_line(), "Resumed");
        let mut other = dial.connect(server.address(), "localhost");
        assert_eq!(other.tls.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(other.read_line(), "Initial");
    }
}

/// Offers the tickets of one name for every other name, which rustls alone does not do.
#[derive(Debug)]
struct AnyName(ClientSessionMemoryCache, ServerName<'static>);

impl AnyName {
    fn new() -> Self {
        let name = ServerName::try_from("any.example").unwrap();
        Self(ClientSessionMemoryCache::new(8), name)
    }
}

impl ClientSessionStore for AnyName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(self.1.clone(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&self.1)
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(self.1.clone(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&self.1)
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&self.1);
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(self.1.clone(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&self.1)
    }
}

#[test]
fn alpn_agrees_on_a_common_protocol() {
    let server = Server::with_config(ALPN);
    let both = Dial::new().alpn(&["h2", "imap", "pop3"]);
    let mut client = both.connect(server.address(), "a.example");
    // By the preference of the host, not of the client.
    assert_eq!(client.tls.alpn_protocol(), Some(&b"pop3"[..]));
    assert_eq!(client.read_line(), "pop3");
    client.read_close_notify();
    drop(client);
    assert_eq!(server.wait_for_connection().value("alpn"), "pop3");
}

#[test]
fn alpn_without_a_common_protocol_gets_no_application_protocol() {
    let server = Server::with_config(ALPN);
    let refused = Dial::new()
        .alpn(&["h2"])
        .try_connect(server.address(), "a.example");
    let alert = Ended::Alert(AlertDescription::NoApplicationProtocol);
    assert_eq!(refused.err(), Some(alert));
    let line = server.wait_for_connection();
    assert!(line.value("end").starts_with("handshake: "), "{line:?}");
    assert_eq!(line.get("pid"), None);
}

#[test]
fn a_client_without_alpn_is_served() {
    let server = Server::with_config(ALPN);
    let mut client = server.connect("a.example");
    assert_eq!(client.tls.alpn_protocol(), None);
    assert_eq!(client.read_line(), "none");
    client.read_close_notify();
    drop(client);
    assert_eq!(server.wait_for_connection().get("alpn"), None);
}

const ALPN: &str = r#"
    [[listen]]
    address = "127.0.0.1:0"
    [[host]]
    names = ["a.example"]
    cert = ["cert.pem"]
    alpn = ["pop3", "imap"]
    command = ["sh", "-c", "echo ${TLSSRV_ALPN-none}"]
    allow-root = true
"#;

#[test]
fn connection_ids_are_never_reused() {
    let server = Server::of(&["sh", "-c", "echo $TLSSRV_ID"]);
    let ids: HashSet<String> = (0..5).map(|_| server.connect("").read_line()).collect();
    assert_eq!(ids.len(), 5);
    let logged = server.wait_for_connections(5);
    let logged: HashSet<String> = logged.iter().map(|l| l.value("id").to_owned()).collect();
    assert_eq!(ids, logged);
}

#[test]
fn a_flood_of_key_updates_gets_unexpected_message() {
    let server = Server::of(&["cat"]);
    let mut client = Dial::version(&TLS13).connect(server.address(), "a.example");
    client.echoes();
    for _ in 0..40 {
        client.tls.refresh_traffic_keys().unwrap();
        client.flush().unwrap();
    }
    let ended = client.read_to_end().ended;
    assert_eq!(ended, Ended::Alert(AlertDescription::UnexpectedMessage));
    drop(client);
    let line = server.wait_for_connection();
    assert!(line.value("end").starts_with("tls: "), "{line:?}");
    assert_eq!(line.value("exit"), "0");
}

#[test]
fn a_few_key_updates_are_answered() {
    let server = Server::of(&["cat"]);
    let mut client = Dial::version(&TLS13).connect(server.address(), "a.example");
    for _ in 0..100 {
        client.tls.refresh_traffic_keys().unwrap();
        client.echoes();
    }
    client.close();
}
