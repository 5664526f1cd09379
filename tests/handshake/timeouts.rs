//! The handshake timeout: clients that are silent, slow, or stay after a failed handshake.

use std::io::Write;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};

use crate::hello::Hello;
use crate::wire::Wire;
use tlssrv_testing::{Dial, Line, Socket};

/// The handshake timeout: longer than a test needs to connect, and short.
const SHORT: &str = r#"handshake = "1s""#;

/// Fails unless the server closes the connection at its timeout, and logs that.
fn hangs_up(wire: &Wire, mut socket: Socket, start: Instant) -> Line {
    let _ = socket.read_to_end();
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_millis(900),
        "{elapsed:?} is too early"
    );
    assert!(elapsed < Duration::from_secs(8), "{elapsed:?} is too late");
    let line = wire.one_line();
    assert_eq!(line.value("end"), "timeout");
    line
}

#[test]
fn a_silent_client_meets_the_handshake_timeout() {
    let wire = Wire::with_limits(SHORT);
    let start = Instant::now();
    hangs_up(&wire, wire.connect(), start);
}

#[test]
fn a_hello_byte_by_byte_meets_the_handshake_timeout() {
    let wire = Wire::with_limits(SHORT);
    let start = Instant::now();
    let mut socket = wire.connect();
    for byte in Hello::GOOD.bytes() {
        // The test depends on this pace of the client.
        std::thread::sleep(Duration::from_millis(100));
        if socket.write_all(&[byte]).is_err() {
            break;
        }
    }
    hangs_up(&wire, socket, start);
}

#[test]
fn silence_after_the_hello_meets_the_handshake_timeout() {
    for version in [&TLS13, &TLS12] {
        let wire = Wire::with_limits(SHORT);
        let start = Instant::now();
        let mut client = Dial::version(version).start(wire.connect(), "a.example");
        client.flush().unwrap();
        let line = hangs_up(&wire, client.socket, start);
        assert_eq!(line.value("sni"), "a.example");
    }
}

#[test]
fn a_client_that_stays_after_a_failed_handshake_meets_the_timeout() {
    let wire = Wire::with_limits(SHORT);
    let mut socket = wire.connect();
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(socket.read_to_end().0.len(), 7);
    // The socket is still open, and the line is written all the same.
    assert_eq!(wire.one_line().value("end"), "handshake: plain HTTP");
    drop(socket);
}
