//! Clients behind a load balancer: limits, log and commands use the address in its PROXY header.

use std::io::Write;
use std::net::SocketAddr;

use proxy_header::{ProxiedAddress, ProxyHeader, Tlv};

use crate::backend::{Backend, assert_talk, connect, table};
use tlssrv_testing::{Client, Dial, Ended, Server, Site, Socket};

const BALANCER: &str = "proxy-protocol = true\nproxy-from = [\"127.0.0.0/8\"]";
const ENVIRONMENT: &str = "command = [\"env\"]\nallow-root = true";
const CAT: &str = "command = [\"cat\"]\nallow-root = true";
const CLIENT: &str = "192.0.2.7:4711";
const VIRTUAL: &str = "198.51.100.1:443";

fn v1(client: &str) -> Vec<u8> {
    let [client, local] = [client, VIRTUAL].map(|a| a.parse::<SocketAddr>().unwrap());
    let (ip, to) = (client.ip(), local.ip());
    format!(
        "PROXY TCP4 {ip} {to} {} {}\r\n",
        client.port(),
        local.port()
    )
    .into()
}

fn v2() -> Vec<u8> {
    let [client, local] = [CLIENT, VIRTUAL].map(|a| a.parse().unwrap());
    let mut header = ProxyHeader::with_address(ProxiedAddress::stream(client, local));
    header.append_tlv(Tlv::Authority("b.example".into()));
    let mut bytes = Vec::new();
    header.encode_v2(&mut bytes).unwrap();
    bytes
}

/// A client behind a load balancer that sends this header.
fn come(server: &Server, header: &[u8]) -> Result<Client, Ended> {
    let mut socket = Socket::connect(server.address());
    socket.write_all(header).unwrap();
    Dial::new().try_over(socket, "a.example")
}

/// The answer to a client that sends this and nothing more.
fn answer(server: &Server, says: &[u8]) -> Vec<u8> {
    let mut socket = Socket::connect(server.address());
    socket.write_all(says).unwrap();
    socket.shutdown_write();
    socket.read_to_end().0
}

#[test]
fn the_command_and_the_log_get_the_address_in_the_proxy_header() {
    let server = Server::with_config(&table(BALANCER, ENVIRONMENT));
    for header in [v1(CLIENT), v2()] {
        let mut client = come(&server, &header).unwrap();
        let said = String::from_utf8(client.read_to_end().bytes).unwrap();
        for variable in [
            "TCPREMOTEIP=192.0.2.7",
            "TCPREMOTEPORT=4711",
            "TCPLOCALIP=198.51.100.1",
            "TCPLOCALPORT=443",
            "REMOTE_ADDR=192.0.2.7",
        ] {
            assert!(
                said.lines().any(|line| line == variable),
                "{variable}: {said}"
            );
        }
    }
    for line in server.wait_for_connections(2) {
        assert_eq!(line.value("peer"), CLIENT);
        assert!(line.value("proxy").starts_with("127.0.0.1:"));
        assert_eq!(line.value("end"), "closed");
    }
}

#[test]
fn a_checksum_in_the_proxy_header_has_to_be_right() {
    let server = Server::with_config(&table(BALANCER, CAT));
    let mut header = v2();
    // PP2_TYPE_CRC32C is 3.
    header.extend([3, 0, 4, 0, 0, 0, 0]);
    let length = u16::try_from(header.len() - 16).unwrap();
    header[14..16].copy_from_slice(&length.to_be_bytes());
    let at = header.len() - 4;
    let sum = crc32c(&header).to_be_bytes();
    header[at..].copy_from_slice(&sum);
    come(&server, &header).unwrap().close();
    assert_eq!(server.wait_for_connection().value("peer"), CLIENT);

    for wrong in [16, at] {
        let mut header = header.clone();
        header[wrong] ^= 1;
        assert!(come(&server, &header).is_err());
    }
    let lines = server.wait_for_connections(3);
    for line in &lines[1..] {
        let end = "handshake: the PROXY header has no valid checksum";
        assert_eq!(line.value("end"), end);
    }
}

/// RFC 4960 appendix B, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| match sum & 1 {
            1 => (sum >> 1) ^ 0x82f6_3b78,
            _ => sum >> 1,
        })
    })
}

#[test]
fn a_header_may_arrive_byte_by_byte() {
    let server = Server::with_config(&table(BALANCER, CAT));
    for header in [v1(CLIENT), v2()] {
        let mut socket = Socket::connect(server.address());
        for byte in header {
            socket.write_all(&[byte]).unwrap();
        }
        let mut client = Dial::new().over(socket, "");
        client.send(b"x");
        assert_eq!(client.read_exactly(1), b"x");
    }
}

#[test]
fn a_header_and_the_hello_may_arrive_together() {
    let server = Server::with_config(&table(BALANCER, CAT));
    let socket = Socket::connect(server.address());
    let mut client = Dial::new().start(socket, "a.example");
    let mut piece = v2();
    client.tls.write_tls(&mut piece).unwrap();
    client.socket.write_all(&piece).unwrap();
    while client.tls.is_handshaking() {
        client.tls.complete_io(&mut client.socket).unwrap();
    }
    client.send(b"x");
    assert_eq!(client.read_exactly(1), b"x");
}

#[test]
fn a_header_without_an_address_leaves_the_address_of_the_load_balancer() {
    let server = Server::with_config(&table(BALANCER, CAT));
    let mut local = Vec::new();
    ProxyHeader::with_local().encode_v2(&mut local).unwrap();
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), local] {
        let client = come(&server, &header).unwrap();
        let own = client.socket.local_address();
        drop(client);
        let line = server.wait_for_line("the connection ends", |line| {
            line.contains(&format!(" peer={own} "))
        });
        assert!(!line.contains("proxy="), "{line}");
    }
}

#[test]
fn a_missing_or_malformed_header_ends_the_connection() {
    let server = Server::with_config(&table(BALANCER, CAT));
    let mut wrong_version = v2();
    wrong_version[12] = 0x11;
    for (says, why) in [
        (&b"\x16\x03\x01\x00\x05hello"[..], "no PROXY header"),
        (b"GET / HTTP/1.0\r\n\r\n", "no PROXY header"),
        (b"PROXY TCP4 192.0.2.7\r\n", "no valid addresses"),
        (
            b"PROXY TCP4 192.0.2.7 1.2.3.4 65536 1\r\n",
            "no valid ports",
        ),
        (&[b'P'; 1], ""),
        (&wrong_version, "no valid version"),
        (&[&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(), "too long"),
    ] {
        let before = server.connection_lines().len();
        assert_eq!(answer(&server, says), b"", "{}", says.escape_ascii());
        let lines = server.wait_for_connections(before + 1);
        let end = lines[before].value("end");
        match why {
            "" => assert_eq!(end, "truncated"),
            why => assert!(end.starts_with("handshake: ") && end.contains(why), "{end}"),
        }
    }
    // A client without a load balancer, and then a load balancer.
    assert!(Dial::new().try_connect(server.address(), "").is_err());
    come(&server, &v1(CLIENT)).unwrap();
}

#[test]
fn an_unfinished_header_ends_with_the_handshake_timeout() {
    let limits = "[limits]\nhandshake = \"300ms\"\n";
    let server = Server::with_config(&format!("{limits}{}", table(BALANCER, CAT)));
    let mut socket = Socket::connect(server.address());
    socket.write_all(b"PROXY TCP4 ").unwrap();
    let (bytes, _) = socket.read_to_end();
    assert!(bytes.is_empty());
    assert_eq!(server.wait_for_connection().value("end"), "timeout");
}

#[test]
fn a_connection_from_elsewhere_than_a_load_balancer_is_closed_and_counted() {
    let elsewhere = BALANCER.replace("127.0.0.0/8", "192.0.2.0/24");
    let mut server = Server::with_config(&table(&elsewhere, CAT));
    for says in [&v1(CLIENT)[..], b""] {
        let mut socket = Socket::connect(server.address());
        // It may be closed already.
        let _ = socket.write_all(says);
        assert!(socket.read_to_end().0.is_empty());
    }
    assert!(server.stop().success());
    server.wait_for_line("they are counted", |line| {
        line.contains("no load balancer")
            && line.contains("proxy-from=2")
            && line.contains("127.0.0.1")
    });
}

#[test]
fn limits_per_source_count_the_address_in_the_header() {
    let limits = "[limits]\nper-source = 1\n";
    let mut server = Server::with_config(&format!("{limits}{}", table(BALANCER, CAT)));
    let _first = come(&server, &v1("192.0.2.1:1")).unwrap();
    let _second = come(&server, &v1("192.0.2.2:1")).unwrap();
    assert!(come(&server, &v1("192.0.2.1:2")).is_err());
    drop(_first);
    server.wait_for_connections(2);
    let _again = come(&server, &v1("192.0.2.1:3")).unwrap();
    drop((_second, _again));
    assert!(server.stop().success());
    server.wait_for_line("they are counted", |line| {
        line.contains("over a limit") && line.contains("per-source=1") && line.contains("192.0.2.1")
    });
}

#[test]
fn the_address_in_the_header_is_passed_on_to_the_backend() {
    let backend = Backend::new();
    let host = connect(&[&backend.address()], "proxy-protocol = \"v1\"");
    let server = Server::with_config(&table(BALANCER, &host));
    let mut client = come(&server, &v2()).unwrap();
    let mut socket = backend.accept();
    let header = v1(CLIENT);
    assert_eq!(crate::backend::read(&mut socket, header.len()), header);
    assert_talk(&mut client, &mut socket);
}

#[test]
fn a_load_balancer_may_connect_to_a_unix_domain_socket() {
    let listen = "proxy-protocol = true\nproxy-from = [\"unix\"]";
    let toml = table(listen, CAT).replace("127.0.0.1:0", "unix:l.sock");
    let server = Server::with_config_in(Site::new(), &toml);
    let mut socket = Socket::connect_unix(&server.site.file("l.sock"));
    socket.write_all(&v2()).unwrap();
    drop(Dial::new().over(socket, ""));
    assert_eq!(server.wait_for_connection().value("peer"), CLIENT);
}
