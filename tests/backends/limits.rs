//! Limits of hosts that have backends.

use std::io::Write;

use crate::backend::{Backend, assert_talk, connect, read, server, table};
use tlssrv_testing::{Dial, Server, eventually};

/// A server with this limit, and its backend.
fn limited(limit: &str) -> (Backend, Server) {
    let backend = Backend::new();
    let table = table("", &connect(&[&backend.address()], ""));
    let server = Server::with_config(&format!("[limits]\n{limit}\n{table}"));
    (backend, server)
}

#[test]
fn the_connection_limit_of_a_host_holds_for_backends() {
    let backend = Backend::new();
    let server = server(&[&backend.address()], "connections = 1");
    let mut first = server.connect("a.example");
    let mut socket = backend.accept();
    assert!(
        Dial::new()
            .try_connect(server.address(), "a.example")
            .is_err()
    );
    let line = server.wait_for_connection();
    assert_eq!(line.value("end"), "refused");
    backend.assert_nobody_came();
    assert_talk(&mut first, &mut socket);
    first.close_notify();
    drop(socket);
    first.read_close_notify();
    let mut next = eventually("room at the host", || {
        Dial::new().try_connect(server.address(), "a.example").ok()
    });
    assert_talk(&mut next, &mut backend.accept());
}

#[test]
fn a_silent_connection_to_a_backend_ends_after_idle() {
    let (backend, server) = limited("idle = \"1s\"");
    let mut client = server.connect("a.example");
    let mut socket = backend.accept();
    assert_talk(&mut client, &mut socket);
    client.read_close_notify();
    assert!(socket.read_to_end().0.is_empty());
    assert_eq!(server.wait_for_connection().value("end"), "timeout");
}

#[test]
fn after_the_client_has_ended_linger_runs_from_the_last_byte_of_the_backend() {
    let (backend, server) = limited("linger = \"1s\"");
    let mut client = server.connect("a.example");
    let mut socket = backend.accept();
    client.send(b"question");
    client.close_notify();
    assert_eq!(read(&mut socket, 8), b"question");
    assert!(socket.read_to_end().0.is_empty());
    socket.write_all(b"answer").unwrap();
    let received = client.read_to_end();
    received.assert_whole(b"answer");
    assert_eq!(server.wait_for_connection().value("end"), "timeout");
}
