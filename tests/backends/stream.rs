//! Data between a client and a backend, and the ways in which each side can end.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;

use crate::backend::{Backend, assert_talk, connect, connected, read, server};
use tlssrv_testing::socket::{free_address, tcp_pair};
use tlssrv_testing::{Client, Dial, Ended, Server, Site, Socket, tlssrv_path};

#[test]
fn a_client_reaches_a_backend_and_each_side_may_end_before_the_other() {
    let (server, backend, mut client, mut socket) = connected("");
    assert_talk(&mut client, &mut socket);
    client.close_notify();
    let (rest, end) = socket.read_to_end();
    assert!(rest.is_empty() && end.is_ok());
    socket.write_all(b"and more").unwrap();
    assert_eq!(client.read_exactly(8), b"and more");
    drop(socket);
    client.read_close_notify();

    let mut client = server.connect("a.example");
    let mut socket = backend.accept();
    socket.write_all(b"all").unwrap();
    socket.shutdown_write();
    let received = client.read_to_end();
    received.assert_whole(b"all");
    client.send(b"still heard");
    assert_eq!(read(&mut socket, 11), b"still heard");
    client.close_notify();
    assert!(socket.read_to_end().1.is_ok());

    let lines = server.wait_for_connections(2);
    for line in &lines {
        assert_eq!(line.value("end"), "closed");
        assert_eq!(line.value("backend"), backend.address().to_string());
        assert!(line.get("pid").is_none() && line.get("exit").is_none());
    }
    assert_eq!((lines[0].number("in"), lines[0].number("out")), (8, 14));
    assert_eq!((lines[1].number("in"), lines[1].number("out")), (11, 3));
}

#[test]
fn a_backend_may_listen_on_a_unix_domain_socket() {
    let site = Site::new();
    let backend = Backend::unix(&site.file("b.sock"));
    let table = crate::backend::table("", "connect = \"unix:b.sock\"");
    let server = Server::with_config_in(site, &table);
    let mut client = server.connect("");
    let mut socket = backend.accept();
    assert_talk(&mut client, &mut socket);
    client.close_notify();
    assert!(socket.read_to_end().1.is_ok());
    drop(socket);
    client.read_close_notify();
    let line = server.wait_for_connection();
    let path = server.site.file("b.sock");
    assert_eq!(line.value("backend"), format!("unix:{}", path.display()));
    assert_eq!(line.value("end"), "closed");
}

#[test]
fn megabytes_go_both_ways_and_nothing_is_lost() {
    let (server, _backend, mut client, mut socket) = connected("");
    let echo = thread::spawn(move || {
        let mut back = match &socket {
            Socket::Tcp(socket) => socket.try_clone().unwrap(),
            Socket::Unix(_) => unreachable!(),
        };
        std::io::copy(&mut socket, &mut back).unwrap();
        back.shutdown(Shutdown::Write).unwrap();
    });
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let received = client.exchange(&bytes);
    assert_eq!(received.ended, Ended::CloseNotify);
    assert!(received.bytes == bytes);
    echo.join().unwrap();
    let line = server.wait_for_connection();
    assert_eq!(
        (line.number("in"), line.number("out")),
        (8_000_000, 8_000_000)
    );
}

#[test]
fn a_reset_by_the_backend_is_no_close_notify_for_the_client() {
    let (server, _backend, mut client, mut socket) = connected("");
    assert_talk(&mut client, &mut socket);
    socket.write_all(b"half of it").unwrap();
    assert_eq!(client.read_exactly(10), b"half of it");
    socket.reset();
    let received = client.read_to_end();
    assert_eq!(received.ended, Ended::Truncated);
    let line = server.wait_for_connection();
    assert_eq!(line.value("end"), "backend: reset");
    assert_eq!(line.level, "info");
}

#[test]
fn a_truncated_client_is_end_of_file_for_the_backend() {
    let (server, _backend, mut client, mut socket) = connected("");
    assert_talk(&mut client, &mut socket);
    drop(client);
    let (rest, end) = socket.read_to_end();
    assert!(rest.is_empty() && end.is_ok());
    drop(socket);
    assert_eq!(server.wait_for_connection().value("end"), "truncated");
}

#[test]
fn on_truncation_kill_resets_the_connection_to_the_backend() {
    let backend = Backend::new();
    let server = server(&[&backend.address()], "on-truncation = \"kill\"");
    let engines = server.engines();
    let mut client = server.connect("");
    let mut socket = backend.accept();
    assert_talk(&mut client, &mut socket);
    client.socket.shutdown_write();
    let (_, end) = socket.read_to_end();
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(server.wait_for_connection().value("end"), "truncated");
    // The system calls for it are among those that an engine may make.
    assert_eq!(server.engines(), engines);
}

#[test]
fn connections_to_backends_have_keep_alive() {
    let backend = Backend::new();
    let server = server(&[&backend.address()], "");
    let _client: Client = server.connect("");
    let socket = backend.accept();
    // A line of /proc/net/tcp: its number, the addresses in hexadecimal digits, state, queues, timer.
    let [ours, theirs] = [backend.address(), peer(&socket)].map(|a| format!(":{:04X}", a.port()));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let of_engine = table.lines().map(|line| line.split_whitespace().collect());
    let mut of_engine = of_engine
        .filter(|words: &Vec<&str>| words[1].ends_with(&theirs) && words[2].ends_with(&ours));
    let words = of_engine.next().unwrap();
    let keepalive = "02:";
    assert!(words[5].starts_with(keepalive), "{words:?}");
}

#[test]
fn one_connection_on_descriptor_0_is_passed_to_a_backend_and_the_status_says_if_one_answered() {
    let backend = Backend::new();
    for (at, status) in [(backend.address(), 0), (free_address(), 111)] {
        let site = Site::new();
        let toml = crate::backend::table("", &connect(&[&at], ""));
        let site = site.with_file("tlssrv.toml", &toml);
        let (client, stdin) = tcp_pair();
        let mut tlssrv = Command::new(tlssrv_path())
            .args(["-f", "tlssrv.toml", "--inetd"])
            .current_dir(site.path())
            .stdin(OwnedFd::from(stdin))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut client = Dial::new().over(client.into(), "a.example");
        if status == 0 {
            let mut socket = backend.accept();
            assert_talk(&mut client, &mut socket);
        }
        client.read_close_notify();
        client.close_notify();
        drop(client);
        assert_eq!(tlssrv.wait().unwrap().code(), Some(status));
    }
}

fn peer(socket: &Socket) -> SocketAddr {
    match socket {
        Socket::Tcp(socket) => socket.peer_addr().unwrap(),
        Socket::Unix(_) => panic!("a Unix-domain socket has none"),
    }
}
