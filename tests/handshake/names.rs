//! SNI: which host a client gets, and when it gets none.

use rustls::AlertDescription;

use tlssrv_testing::pki::KeyType;
use tlssrv_testing::{Client, Dial, Ended, Server, Site};

/// Hosts with a certificate each; each command prints its host.
const HOSTS: &str = r#"
    [[host]]
    names = ["a.example", "b.example"]
    cert = ["a.pem"]
    command = ["sh", "-c", "echo a; echo started >>a.started"]
    allow-root = true
    directory = "."
    [[host]]
    names = ["*.wild.example"]
    cert = ["wild.pem"]
    command = ["sh", "-c", "echo wild; echo $SSL_TLS_SNI $TLSSRV_HOST"]
    allow-root = true
    [[host]]
    names = ["exact.wild.example"]
    cert = ["exact.pem"]
    command = ["echo", "exact"]
    allow-root = true
    [[host]]
    names = ["default.example"]
    default = true
    cert = ["default.pem"]
    command = ["echo", "default"]
    allow-root = true
"#;

fn server(listener: &str) -> Server {
    let site = Site::new()
        .with_certificate("a", &["a.example", "b.example"], KeyType::Ecdsa)
        .with_certificate("wild", &["*.wild.example"], KeyType::Ecdsa)
        .with_certificate("exact", &["exact.wild.example"], KeyType::Ecdsa)
        .with_certificate("default", &["default.example"], KeyType::Ecdsa);
    let toml = format!("[[listen]]\naddress = \"127.0.0.1:0\"\n{listener}\n{HOSTS}");
    Server::with_config_in(site, &toml)
}

/// Fails unless the client got the certificate and the command of this host.
fn is_host(server: &Server, mut client: Client, host: &str) {
    let expected = server.site.certificate(&format!("{host}.pem"));
    assert_eq!(client.certificate(), expected, "certificate of {host}");
    assert_eq!(client.read_line(), host);
}

#[test]
fn a_name_gets_its_host_and_its_certificate() {
    let server = server("");
    for (name, host) in [
        ("a.example", "a"),
        ("b.example", "a"),
        ("A.EXAMPLE", "a"),
        ("x.wild.example", "wild"),
        ("exact.wild.example", "exact"),
        ("", "default"),
    ] {
        is_host(&server, server.connect(name), host);
    }
    for line in server.wait_for_connections(6) {
        let sni = line.get("sni").unwrap_or("none");
        let host = match sni {
            "a.example" | "b.example" => "a.example",
            "x.wild.example" => "*.wild.example",
            "exact.wild.example" => "exact.wild.example",
            "none" => "default.example",
            other => panic!("{other}"),
        };
        assert_eq!(line.value("host"), host);
    }
}

#[test]
fn a_command_gets_the_requested_name_and_the_host() {
    let server = server("");
    let mut client = server.connect("X.wild.example");
    assert_eq!(client.read_line(), "wild");
    assert_eq!(client.read_line(), "x.wild.example *.wild.example");
}

#[test]
fn an_unknown_name_gets_unrecognized_name_and_starts_no_command() {
    // A wildcard stands for exactly one label.
    for name in [
        "c.example",
        "x.y.wild.example",
        "wild.example",
        "evilwild.example",
    ] {
        let server = server("");
        let refused = Dial::new().try_connect(server.address(), name);
        let alert = Ended::Alert(AlertDescription::UnrecognisedName);
        assert_eq!(refused.err(), Some(alert), "{name}");
        let line = server.wait_for_connection();
        assert_eq!(line.value("sni"), name);
        assert_eq!(line.value("end"), "handshake: no host has this name");
        assert_eq!((line.get("pid"), line.get("host")), (None, None));
        assert!(!server.site.file("a.started").exists());
    }
}

#[test]
fn an_unknown_name_gets_the_default_host_where_configured() {
    let server = server(r#"unknown-name = "default""#);
    is_host(&server, server.connect("c.example"), "default");
    is_host(&server, server.connect("a.example"), "a");
}

#[test]
fn the_default_host_gets_every_name_where_no_host_has_names() {
    let server = Server::with_config(
        r#"
        [[listen]]
        address = "127.0.0.1:0"
        [[host]]
        default = true
        cert = ["cert.pem"]
        command = ["sh", "-c", "echo got $SSL_TLS_SNI"]
        allow-root = true
        "#,
    );
    for name in ["c.example", "localhost", ""] {
        assert_eq!(
            server.connect(name).read_line(),
            format!("got {name}").trim()
        );
    }
    let line = &server.wait_for_connections(3)[0];
    assert_eq!(
        (line.value("sni"), line.value("host")),
        ("c.example", "default")
    );
}

#[test]
fn a_client_without_a_name_is_refused_where_configured() {
    let server = server(r#"missing-name = "reject""#);
    let refused = Dial::new().try_connect(server.address(), "");
    let alert = Ended::Alert(AlertDescription::MissingExtension);
    assert_eq!(refused.err(), Some(alert));
    let line = server.wait_for_connection();
    assert_eq!(
        line.value("end"),
        "handshake: the client sent no server name"
    );
    assert_eq!((line.get("pid"), line.get("sni")), (None, None));
    is_host(&server, server.connect("a.example"), "a");
}

#[test]
fn a_host_is_reachable_on_its_listeners_only() {
    let server = Server::with_config(
        r#"
        [[listen]]
        name = "one"
        address = "127.0.0.1:0"
        [[listen]]
        name = "two"
        address = "127.0.0.1:0"
        [[host]]
        names = ["a.example"]
        listen = ["one"]
        cert = ["cert.pem"]
        command = ["echo", "first"]
        allow-root = true
        [[host]]
        names = ["a.example", "localhost"]
        listen = ["two"]
        cert = ["cert.pem"]
        command = ["echo", "second"]
        allow-root = true
        "#,
    );
    let [one, two] = [0, 1].map(|i| server.listens[i].parse().unwrap());
    assert_eq!(Client::connect(one, "a.example").read_line(), "first");
    assert_eq!(Client::connect(two, "a.example").read_line(), "second");
    assert_eq!(Client::connect(two, "localhost").read_line(), "second");
    let refused = Dial::new().try_connect(one, "localhost");
    assert_eq!(
        refused.err(),
        Some(Ended::Alert(AlertDescription::UnrecognisedName))
    );
}
