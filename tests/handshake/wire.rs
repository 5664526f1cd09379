//! Bad input: the client gets the right alert in time, the log one line, and nothing is left behind.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use rustls::version::{TLS12, TLS13};

use crate::hello::{Hello, record};
use tlssrv_testing::raw::codes::alert::{
    DECODE_ERROR, HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, PROTOCOL_VERSION, RECORD_OVERFLOW,
    UNEXPECTED_MESSAGE,
};
use tlssrv_testing::{Dial, Host, Line, Server, Socket, eventually, proc};

/// A server with one engine, and the number of descriptors of that before the first connection.
pub(crate) struct Wire {
    server: Server,
    engine: Pid,
    baseline: usize,
}

impl Wire {
    fn new() -> Self {
        Self::with_limits("")
    }

    pub(crate) fn with_limits(limits: &str) -> Self {
        let server = Host {
            top: "engines = 1",
            limits,
            host: "names = [\"a.example\"]",
            command: &["cat"],
            ..Host::default()
        }
        .start();
        let engine = eventually("an engine", || server.engines().pop());
        // Its channel, its epoll set, and three times /dev/null.
        eventually("the engine waits", || {
            (proc::descriptor_count(engine) == Some(5)).then_some(())
        });
        Self {
            server,
            engine,
            baseline: 5,
        }
    }

    pub(crate) fn connect(&self) -> Socket {
        Socket::connect(self.server.address())
    }

    /// Fails unless these bytes get this alert in plaintext, and FIN; returns the log line.
    fn refuses(&self, sent: &[u8], alert: u8, end: &str) -> Line {
        let start = Instant::now();
        let mut socket = self.connect();
        socket.write_all(sent).unwrap();
        let (answer, ended) = socket.read_to_end();
        ended.unwrap(); // FIN: a RST could have discarded the alert
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, alert]);
        drop(socket);
        assert!(start.elapsed() < Duration::from_secs(8), "not at once");
        let line = self.one_line();
        assert_eq!(line.value("end"), format!("handshake: {end}"));
        line
    }

    /// Fails unless these bytes get a ServerHello.
    fn answers(&self, sent: &[u8]) {
        let mut socket = self.connect();
        socket.write_all(sent).unwrap();
        let mut answer = [0; 6];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!((answer[0], answer[5]), (22, 2));
    }

    /// The only log line; fails unless nothing is left of the connection.
    pub(crate) fn one_line(&self) -> Line {
        let line = self.server.wait_for_connection();
        assert_eq!(line.level, "info", "a stranger caused it");
        assert!(line.value("peer").starts_with("127.0.0.1:"));
        assert_eq!(line.get("pid"), None, "a command was started");
        self.nothing_is_left();
        line
    }

    fn nothing_is_left(&self) {
        eventually("the engine has no descriptor more", || {
            (proc::descriptor_count(self.engine) == Some(self.baseline)).then_some(())
        });
        assert_eq!(self.server.engines(), [self.engine]);
        assert_eq!(self.server.commands(), []);
    }
}

#[test]
fn the_hello_that_these_tests_alter_is_answered() {
    let wire = Wire::new();
    wire.answers(&Hello::GOOD.bytes());
    let line = wire.one_line();
    assert_eq!(line.value("sni"), "a.example");
}

#[test]
fn garbage_gets_unexpected_message() {
    let wire = Wire::new();
    let line = wire.refuses(
        b"\x00\x01\x02\x03\x04\x05\x06",
        UNEXPECTED_MESSAGE,
        "not TLS",
    );
    assert_eq!(line.get("sni"), None);
}

#[test]
fn much_garbage_gets_unexpected_message() {
    let garbage: Vec<u8> = (0..200_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    Wire::new().refuses(&garbage, UNEXPECTED_MESSAGE, "not TLS");
}

#[test]
fn plain_http_gets_unexpected_message() {
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    Wire::new().refuses(request, UNEXPECTED_MESSAGE, "plain HTTP");
}

#[test]
fn an_sslv2_hello_gets_protocol_version() {
    let hello = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80";
    Wire::new().refuses(hello, PROTOCOL_VERSION, "SSLv2 hello");
}

#[test]
fn a_client_of_tls_1_0_only_gets_protocol_version_and_its_name_is_logged() {
    let wire = Wire::new();
    let hello = Hello {
        version: 0x0301,
        suites: &[0xc013, 0x002f],
        versions: &[],
        ..Hello::GOOD
    };
    let mut socket = wire.connect();
    socket.write_all(&hello.bytes()).unwrap();
    assert_eq!(
        socket.read_to_end().0,
        [21, 3, 3, 0, 2, 2, PROTOCOL_VERSION]
    );
    drop(socket);
    let line = wire.one_line();
    let end = "handshake: the client offers TLS 1.0 at most: TLS 1.2 or TLS 1.3 is needed";
    assert_eq!(line.value("end"), end);
    assert_eq!(line.value("sni"), "a.example");
}

#[test]
fn a_client_of_foreign_suites_only_gets_handshake_failure_and_its_name_is_logged() {
    let wire = Wire::new();
    let hello = Hello {
        suites: &[0x00ff, 0x1399],
        ..Hello::GOOD
    };
    let mut socket = wire.connect();
    socket.write_all(&hello.bytes()).unwrap();
    assert_eq!(
        socket.read_to_end().0,
        [21, 3, 3, 0, 2, 2, HANDSHAKE_FAILURE]
    );
    drop(socket);
    let line = wire.one_line();
    assert_eq!(line.value("sni"), "a.example");
    let end = "handshake: peer is incompatible: no cipher suite in common";
    assert_eq!(line.value("end"), end);
}

#[test]
fn a_malformed_name_gets_illegal_parameter_and_is_not_logged() {
    let names: [&[u8]; 3] = [b"a\nid=1.1 end=closed", b"a..b", b"\xff\xfe"];
    for name in names {
        let wire = Wire::new();
        let hello = Hello {
            name,
            ..Hello::GOOD
        };
        let reason = "server name is not a DNS name";
        let line = wire.refuses(&hello.bytes(), ILLEGAL_PARAMETER, reason);
        assert_eq!(line.get("sni"), None);
    }
}

#[test]
fn an_ip_address_in_server_name_counts_as_no_name() {
    for name in [&b"127.0.0.1"[..], b"::1"] {
        let wire = Wire::new();
        let hello = Hello {
            name,
            ..Hello::GOOD
        };
        wire.answers(&hello.bytes());
        let line = wire.one_line();
        assert_eq!((line.get("sni"), line.value("host")), (None, "a.example"));
    }
}

#[test]
fn a_hello_of_64_kib_gets_decode_error() {
    let wire = Wire::new();
    // The length in its header is enough.
    let announcement = record(&[&[1, 1, 0, 0][..], &[0; 100]].concat());
    wire.refuses(&announcement, DECODE_ERROR, "hello over 64 KiB");
}

#[test]
fn a_hello_of_60_kib_in_many_records_is_answered() {
    let hello = Hello {
        padding: 60_000,
        ..Hello::GOOD
    };
    for size in [1 << 14, 1000, 50] {
        let wire = Wire::new();
        wire.answers(&hello.in_records(size));
        assert_eq!(wire.one_line().value("sni"), "a.example");
    }
}

#[test]
fn a_hello_in_too_many_records_gets_decode_error() {
    let hello = Hello {
        padding: 60_000,
        ..Hello::GOOD
    };
    let wire = Wire::new();
    wire.refuses(
        &hello.in_records(1),
        DECODE_ERROR,
        "hello in too many records",
    );
}

#[test]
fn an_oversized_record_gets_record_overflow() {
    let wire = Wire::new();
    wire.refuses(&[22, 3, 1, 0x40, 1], RECORD_OVERFLOW, "record over 16 KiB");
}

#[test]
fn an_empty_record_gets_unexpected_message() {
    let wire = Wire::new();
    wire.refuses(
        &[22, 3, 1, 0, 0],
        UNEXPECTED_MESSAGE,
        "empty handshake record",
    );
}

#[test]
fn an_alert_in_place_of_a_hello_gets_no_answer() {
    let wire = Wire::new();
    let mut socket = wire.connect();
    socket.write_all(&[21, 3, 1, 0, 2, 2, 40]).unwrap();
    let (answer, ended) = socket.read_to_end();
    assert_eq!(answer, b"");
    ended.unwrap();
    drop(socket);
    let line = wire.one_line();
    assert_eq!(
        line.value("end"),
        "handshake: client sent alert handshake_failure"
    );
}

#[test]
fn a_client_that_connects_and_closes_is_one_log_line() {
    let wire = Wire::new();
    let socket = wire.connect();
    let here = socket.local_address();
    drop(socket);
    let line = wire.one_line();
    assert_eq!(line.value("end"), "closed");
    assert_eq!(line.value("peer"), here.to_string());
}

#[test]
fn half_a_hello_and_fin_is_truncated() {
    let wire = Wire::new();
    let hello = Hello::GOOD.bytes();
    let mut socket = wire.connect();
    socket.write_all(&hello[..hello.len() / 2]).unwrap();
    drop(socket);
    assert_eq!(wire.one_line().value("end"), "truncated");
}

#[test]
fn half_a_handshake_and_a_reset_is_reset_and_its_name_is_logged() {
    for version in [&TLS13, &TLS12] {
        let wire = Wire::new();
        let mut client = Dial::version(version).start(wire.connect(), "a.example");
        client.flush().unwrap();
        client.tls.read_tls(&mut client.socket).unwrap();
        client.socket.reset();
        let line = wire.one_line();
        assert_eq!(line.value("end"), "reset");
        assert_eq!(line.value("sni"), "a.example");
    }
}

#[test]
fn a_client_that_refuses_the_certificate_is_one_log_line_with_its_alert() {
    let wire = Wire::new();
    let mut client = Dial::version(&TLS13).start(wire.connect(), "a.example");
    client.flush().unwrap();
    client.tls.read_tls(&mut client.socket).unwrap();
    // In plaintext, because the client does not use its keys yet.
    client.socket.write_all(&[21, 3, 3, 0, 2, 2, 48]).unwrap();
    let (rest, _) = client.socket.read_to_end();
    drop(client);
    assert!(!rest.ends_with(&[21, 3, 3, 0, 2, 2, 10]), "{rest:?}");
    let line = wire.one_line();
    let end = "handshake: client sent alert unknown_ca";
    assert_eq!(line.value("end"), end);
}

#[test]
fn nonsense_after_the_hello_gets_an_alert() {
    for version in [&TLS13, &TLS12] {
        let wire = Wire::new();
        let mut client = Dial::version(version).start(wire.connect(), "a.example");
        client.flush().unwrap();
        client.socket.write_all(&[0x55; 100]).unwrap();
        let ended = loop {
            match client.tls.complete_io(&mut client.socket) {
                Ok(_) => {}
                Err(e) => break e,
            }
        };
        assert!(ended.to_string().contains("fatal alert"), "{ended}");
        drop(client);
        let line = wire.one_line();
        assert!(line.value("end").starts_with("handshake: "), "{line:?}");
        assert_eq!(line.value("sni"), "a.example");
    }
}

#[test]
fn a_flood_of_bad_handshakes_is_limited_in_the_log_and_counted() {
    const COUNT: usize = 2000;
    let mut wire = Wire::new();
    let start = Instant::now();
    for _ in 0..COUNT {
        let mut socket = wire.connect();
        socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(socket.read_to_end().0.len(), 7);
    }
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 2;
    // Other lines are logged meanwhile.
    let mut good = wire.server.connect("a.example");
    good.close_notify();
    good.read_to_end();
    drop(good);
    wire.server
        .wait_for_line("the line of the good one", |line| line.contains("exit=0"));
    wire.nothing_is_left();
    assert_eq!(wire.server.stop().code(), Some(0));
    let (mut written, mut left_out) = (0, 0);
    for line in wire.server.lines() {
        if line.contains("end=\"handshake: plain HTTP\"") {
            written += 1;
        } else if let Some((_, rest)) = line.split_once("left out ") {
            assert!(
                rest.ends_with("more lines of the kind: handshake: plain HTTP"),
                "{line}"
            );
            left_out += rest.split(' ').next().unwrap().parse::<usize>().unwrap();
        }
    }
    assert_eq!(written + left_out, COUNT);
    assert!(
        written <= 50 * seconds,
        "{written} lines in {seconds} seconds"
    );
    assert!(left_out > 0);
}
