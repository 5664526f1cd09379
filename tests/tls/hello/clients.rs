//! ClientHello messages of real clients: rustls in memory, others over the loopback interface.

use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, NamedGroup, ProtocolVersion, RootCertStore};
use tlssrv::tls::hello::{ClientHello, HelloReader, Progress};
use tlssrv_testing::DEADLINE;
use tlssrv_testing::programs::{Daemon, missing, program};

/// The first bytes of a rustls client.
pub(crate) fn rustls_client(name: &str) -> Vec<u8> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"imap".to_vec()];
    let name = name.to_owned().try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

#[test]
fn a_rustls_client_is_read() {
    let hello = super::read_byte_by_byte(&rustls_client("imap.example.com")).unwrap();
    assert_eq!(hello.server_name.unwrap().as_str(), "imap.example.com");
    assert!(hello.alpn.contains(b"imap"));
    assert_eq!(hello.key_shares[0], NamedGroup::X25519MLKEM768);
    let address = super::read(&rustls_client("127.0.0.1")).unwrap();
    assert_eq!(address.server_name, None);
}

#[test]
fn openssl_is_read() {
    let hello = hello_of("openssl", |port| {
        vec![
            "s_client".into(),
            "-connect".into(),
            format!("127.0.0.1:{port}"),
            "-servername".into(),
            "WWW.example.com".into(),
            "-alpn".into(),
            "h2,http/1.1".into(),
        ]
    });
    let Some(hello) = hello else { return };
    assert_eq!(
        hello.server_name.as_ref().unwrap().as_str(),
        "www.example.com"
    );
    assert_eq!(
        hello.alpn.iter().collect::<Vec<_>>(),
        [b"h2", &b"http/1.1"[..]]
    );
    assert!(hello.supported_versions.contains(&ProtocolVersion::TLSv1_3));
    assert!(!hello.key_shares.is_empty());
}

#[test]
fn gnutls_is_read() {
    let hello = hello_of("gnutls-cli", |port| {
        vec![
            "--insecure".into(),
            "--sni-hostname=mail.example.com".into(),
            "--alpn=imap".into(),
            format!("--port={port}"),
            "127.0.0.1".into(),
        ]
    });
    let Some(hello) = hello else { return };
    assert_eq!(
        hello.server_name.as_ref().unwrap().as_str(),
        "mail.example.com"
    );
    assert_eq!(hello.alpn.iter().collect::<Vec<_>>(), [b"imap"]);
    assert!(hello.supported_versions.contains(&ProtocolVersion::TLSv1_3));
}

#[test]
fn curl_is_read() {
    let hello = hello_of("curl", |port| {
        vec![
            "--insecure".into(),
            "--silent".into(),
            "--noproxy".into(),
            "*".into(),
            "--resolve".into(),
            format!("web.example.com:{port}:127.0.0.1"),
            format!("https://web.example.com:{port}/"),
        ]
    });
    let Some(hello) = hello else { return };
    assert_eq!(
        hello.server_name.as_ref().unwrap().as_str(),
        "web.example.com"
    );
    assert!(hello.alpn.contains(b"http/1.1"));
}

/// The hello that a program sends; `None` where it is not installed.
fn hello_of(name: &str, args: impl Fn(u16) -> Vec<String>) -> Option<ClientHello> {
    if missing(&[name]) {
        return None;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = program(name);
    command.args(args(listener.local_addr().unwrap().port()));
    let _client = Daemon::start(
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();

    let mut reader = HelloReader::new();
    let (mut received, mut segment) = (Vec::new(), [0; 512]);
    let hello = loop {
        let len = stream.read(&mut segment).unwrap();
        assert_ne!(len, 0, "{name} left after {} bytes", received.len());
        received.extend_from_slice(&segment[..len]);
        match reader.read(&received).unwrap() {
            Progress::NeedMore(next) => reader = next,
            Progress::Complete(hello) => break hello,
        }
    };
    Some(hello)
}
