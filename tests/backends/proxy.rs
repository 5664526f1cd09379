//! The PROXY header that a backend gets first, with the client and its handshake.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use proxy_header::{ParseConfig, ProxyHeader};

use crate::backend::{Backend, assert_talk, connect, connected, read, server, table};
use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::write_secret;
use tlssrv_testing::programs::{Daemon, missing, program};
use tlssrv_testing::socket::free_address;
use tlssrv_testing::{Dial, Server, Site, Socket};

/// A line of version 1, without its end.
fn line(socket: &mut Socket) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(read(socket, 1));
    }
    String::from_utf8(line[..line.len() - 2].to_vec()).unwrap()
}

/// A header of version 2: the part before its length, and the rest by that.
fn header(socket: &mut Socket) -> ProxyHeader<'static> {
    let mut bytes = read(socket, 16);
    let length = u16::from_be_bytes([bytes[14], bytes[15]]);
    bytes.extend(read(socket, length.into()));
    let config = ParseConfig {
        include_tlvs: true,
        allow_v1: false,
        allow_v2: true,
    };
    let (header, length) = ProxyHeader::parse(&bytes, config).unwrap();
    assert_eq!(length, bytes.len());
    header.into_owned()
}

#[test]
fn version_1_is_one_line_with_the_addresses() {
    let (server, _backend, mut client, mut socket) = connected("proxy-protocol = \"v1\"");
    let (peer, local) = (client.socket.local_address(), server.address());
    let expected = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}",
        peer.port(),
        local.port()
    );
    assert_eq!(line(&mut socket), expected);
    assert_talk(&mut client, &mut socket);
}

#[test]
fn version_2_describes_the_handshake_too() {
    let backend = Backend::new();
    let host = "proxy-protocol = \"v2\"\nalpn = [\"h2\", \"http/1.1\"]";
    let server = server(&[&backend.address()], host);
    let dial = Dial::new().alpn(&["http/1.1"]);
    for _ in 0..2 {
        let mut client = dial.connect(server.address(), "a.example");
        let mut socket = backend.accept();
        let header = header(&mut socket);
        let addresses = header.proxied_address().unwrap();
        assert_eq!(addresses.source, client.socket.local_address());
        assert_eq!(addresses.destination, server.address());
        assert_eq!(header.alpn(), Some(&b"http/1.1"[..]));
        assert_eq!(header.authority(), Some("a.example"));
        let ssl = header.ssl().unwrap();
        assert!(ssl.client_ssl() && !ssl.client_cert_conn() && !ssl.client_cert_sess());
        assert_eq!(ssl.version(), Some("TLSv1.3"));
        assert!(ssl.cipher().unwrap().starts_with("TLS_"));
        assert_ne!(ssl.verify(), 0, "no certificate was verified");
        assert_eq!(ssl.cn(), None);
        assert_talk(&mut client, &mut socket);
        client.close_notify();
        drop(socket);
        client.read_close_notify();
        let id = String::from_utf8(header.unique_id().unwrap().to_vec()).unwrap();
        server.wait_for_line("the log has the id", |line| {
            line.contains(&format!(" id={id} ")) && line.contains("end=closed")
        });
    }
    let lines = server.wait_for_connections(2);
    let suite = lines[1].value("suite");
    assert_eq!(lines[1].value("resumed"), "true");
    assert!(suite.starts_with("TLS_"));
}

#[test]
fn fields_without_a_value_are_left_out() {
    let backend = Backend::new();
    let server = server(&[&backend.address()], "proxy-protocol = \"v2\"");
    let dial = Dial::version(&rustls::version::TLS12);
    let _client = dial.connect(server.address(), "");
    let header = header(&mut backend.accept());
    assert_eq!((header.alpn(), header.authority()), (None, None));
    assert_eq!(header.ssl().unwrap().version(), Some("TLSv1.2"));
}

#[test]
fn clients_and_backends_of_unix_domain_sockets_have_headers_too() {
    let site = Site::new();
    let backend = Backend::unix(&site.file("b.sock"));
    let host = "connect = \"unix:b.sock\"\nproxy-protocol = \"v1\"";
    let toml = format!(
        "{}\n[[listen]]\naddress = \"unix:l.sock\"\n",
        table("", host)
    );
    let server = Server::with_config_in(site, &toml);
    let _client = server.connect("");
    let mut socket = backend.accept();
    let first = line(&mut socket);
    assert!(
        first.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "),
        "{first}"
    );
    let _client = Dial::new().over(Socket::connect_unix(&server.site.file("l.sock")), "");
    assert_eq!(line(&mut backend.accept()), "PROXY UNKNOWN");
}

#[test]
fn an_ipv6_client_has_an_ipv6_header() {
    let backend = Backend::at("[::1]:0".parse().unwrap());
    let host = connect(&[&backend.address()], "proxy-protocol = \"v2\"");
    let toml = table("", &host).replace("127.0.0.1:0", "[::1]:0");
    let server = Server::with_config(&toml);
    let client = Dial::new().connect(server.address(), "");
    let header = header(&mut backend.accept());
    let addresses = header.proxied_address().unwrap();
    let own: SocketAddr = client.socket.local_address();
    assert_eq!(
        (addresses.source, addresses.destination),
        (own, server.address())
    );
}

#[test]
fn each_connection_begins_with_one_header_even_after_a_failed_try() {
    // The first backend refuses; the header goes to the second one, once.
    let (dead, alive) = (free_address(), Backend::new());
    let server = server(&[&dead, &alive.address()], "proxy-protocol = \"v1\"");
    let mut client = server.connect("");
    let mut socket = alive.accept();
    assert!(line(&mut socket).starts_with("PROXY TCP4 "));
    client.send(b"question");
    client.close_notify();
    let (rest, _) = socket.read_to_end();
    assert_eq!(rest, b"question");
}

#[test]
fn version_2_names_the_client_of_a_certificate() {
    let (ca, site) = (Authority::new("Test CA"), Site::new());
    fs::write(site.file("ca.pem"), ca.pem()).unwrap();
    let alice = Dial::new().showing(&ca.client("alice", 1));

    let backend = Backend::new();
    let host = connect(
        &[&backend.address()],
        "proxy-protocol = \"v2\"\nclient-auth = \"request\"\nclient-ca = \"ca.pem\"",
    );
    let server = Server::with_config_in(site, &table("", &host));
    // The second one resumes the session of the first.
    for shown_now in [true, false] {
        let mut client = alice.connect(server.address(), "a.example");
        let mut socket = backend.accept();
        let header = header(&mut socket);
        let ssl = header.ssl().unwrap();
        assert_eq!(ssl.client_cert_conn(), shown_now);
        assert!(ssl.client_cert_sess());
        assert_eq!(ssl.verify(), 0);
        assert_eq!(ssl.cn(), Some("alice"));
        assert_talk(&mut client, &mut socket);
    }
    let _nobody = Dial::new().connect(server.address(), "a.example");
    let header = header(&mut backend.accept());
    let ssl = header.ssl().unwrap();
    assert!(!ssl.client_cert_sess() && ssl.verify() != 0 && ssl.cn().is_none());
}

#[test]
fn version_2_names_the_identity_of_a_pre_shared_key() {
    if missing(&["openssl"]) {
        return;
    }
    const KEY: &str = "00112233445566778899aabbccddeeff";
    let site = Site::new();
    let keys = [b"alice", &b"zo\xc3\xab"[..], b"\xff\xfe", b"a\x1bb"]
        .map(|identity| [identity, b":", KEY.as_bytes(), b"\n"].concat());
    write_secret(&site.file("c.psk"), "");
    fs::write(site.file("c.psk"), keys.concat()).unwrap();
    let backend = Backend::new();
    let host = connect(
        &[&backend.address()],
        "proxy-protocol = \"v2\"\npsk = \"c.psk\"",
    );
    let server = Server::with_config_in(site, &table("", &host));
    for (identity, version, cn) in [
        (&b"alice"[..], "-tls1_3", Some("alice")),
        (b"alice", "-tls1_2", Some("alice")),
        (b"zo\xc3\xab", "-tls1_3", Some("zoë")),
        // The field is for text.
        (b"\xff\xfe", "-tls1_3", None),
        (b"a\x1bb", "-tls1_3", None),
    ] {
        let mut client = program("openssl");
        client
            .args(["s_client", "-quiet", version, "-psk", KEY])
            .arg("-psk_identity")
            .arg(OsStr::from_bytes(identity))
            .args(["-connect", &server.address().to_string()])
            .stdin(Stdio::piped());
        let _client = Daemon::start(client.stdout(Stdio::null()).stderr(Stdio::null()));
        let header = header(&mut backend.accept());
        let ssl = header.ssl().unwrap();
        assert_eq!(ssl.cn(), cn);
        assert_eq!(ssl.verify(), 0, "the client has proved who it is");
        assert!(ssl.client_ssl() && !ssl.client_cert_conn() && !ssl.client_cert_sess());
    }
    // A client of the certificate has no name.
    let _nobody = server.connect("a.example");
    let header = header(&mut backend.accept());
    let ssl = header.ssl().unwrap();
    assert!(ssl.verify() != 0 && ssl.cn().is_none());
}

#[test]
fn version_2_leaves_out_a_name_that_no_host_can_have() {
    if missing(&["openssl"]) {
        return;
    }
    let backend = Backend::new();
    let host = connect(&[&backend.address()], "proxy-protocol = \"v2\"");
    let server = Server::with_config(&table("unknown-name = \"default\"", &host));
    let client = Daemon::start(
        program("openssl")
            .args(["s_client", "-quiet", "-servername", "a.test:443"])
            .args(["-connect", &server.address().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    let mut socket = backend.accept();
    let header = header(&mut socket);
    assert_eq!(header.authority(), None);
    assert_eq!(header.ssl().unwrap().version(), Some("TLSv1.3"));
    drop((socket, client));
}
