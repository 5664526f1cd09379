//! A reload that changes backends: open connections stay, new ones go to the new backends.

use std::fs;

use nix::sys::signal::Signal;

use crate::backend::{Backend, assert_talk, connect, server, table};
use tlssrv_testing::socket::free_address;
use tlssrv_testing::{Server, eventually};

fn reload(server: &Server, host: &str, times: usize) {
    fs::write(server.site.file("tlssrv.toml"), table("", host)).unwrap();
    server.signal(Signal::SIGHUP);
    eventually("it has reloaded", || {
        let lines = server.lines();
        let done = lines.iter().filter(|line| line.ends_with(" reloaded"));
        (done.count() == times).then_some(())
    });
}

#[test]
fn after_a_reload_new_clients_get_the_new_backends_and_open_connections_stay() {
    let [a, b] = [Backend::new(), Backend::new()];
    let server = server(&[&a.address()], "");
    let mut old = server.connect("");
    let mut old_socket = a.accept();
    reload(
        &server,
        &connect(&[&b.address()], "proxy-protocol = \"v1\""),
        1,
    );
    let mut new = server.connect("");
    let mut new_socket = b.accept();
    assert!(crate::backend::read(&mut new_socket, 6).starts_with(b"PROXY "));
    a.assert_nobody_came();
    assert_talk(&mut old, &mut old_socket);
    // A backend becomes a command, and that a backend again.
    reload(
        &server,
        "command = [\"echo\", \"hello\"]\nallow-root = true",
        2,
    );
    assert_eq!(server.connect("").read_line(), "hello");
    reload(&server, &connect(&[&b.address()], ""), 3);
    let mut client = server.connect("");
    assert_talk(&mut client, &mut b.accept());
    assert_talk(&mut old, &mut old_socket);
    new.send(b"x");
}

#[test]
fn the_state_of_a_backend_survives_a_reload() {
    let (dead, alive) = (free_address(), Backend::new());
    let host = connect(&[&dead, &alive.address()], "");
    let server = server(&[&dead, &alive.address()], "");
    // A backend that fails often is skipped for seconds.
    let mut open = Vec::new();
    for round in 0..3 {
        open.push((server.connect(""), alive.accept()));
        reload(&server, &host, round + 1);
    }
    let said = |line: &&String| line.contains("state=\"away");
    assert_eq!(server.lines().iter().filter(said).count(), 1);
    // Connections from before the reload count, too.
    let other = Backend::new();
    reload(
        &server,
        &connect(&[&alive.address(), &other.address()], ""),
        4,
    );
    for _ in 0..3 {
        open.push((server.connect(""), other.accept()));
    }
    alive.assert_nobody_came();
}

#[test]
fn a_reload_takes_a_name_that_does_not_resolve_with_a_warning() {
    let [old, new] = [Backend::new(), Backend::new()];
    let server = server(&[&old.address()], "");
    let host = connect(&[&"no-such-host.invalid:80", &new.address()], "");
    reload(&server, &host, 1);
    let warning = server.wait_for_line("it warns", |line| {
        line.contains("unable to look up \"no-such-host.invalid\"")
    });
    assert!(warning.contains(" warning "), "{warning}");
    for _ in 0..2 {
        assert_talk(&mut server.connect(""), &mut new.accept());
    }
    // It is one again as long as it does not resolve.
    reload(&server, &host, 2);
    let warned = |line: &&String| line.contains("no-such-host.invalid");
    assert_eq!(server.lines().iter().filter(warned).count(), 2);
}
