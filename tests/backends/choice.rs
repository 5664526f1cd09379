//! Which backend a client gets, and what happens with backends that do not answer.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::backend::{Backend, assert_talk, read, server, table};
use tlssrv_testing::socket::free_address;
use tlssrv_testing::{Client, Server, Site, Socket, eventually, proc};

/// A client, and which of these backends it got.
fn place(server: &Server, backends: &[Backend]) -> (Client, usize, Socket) {
    let client = server.connect("");
    let (place, socket) = eventually("a backend is chosen", || {
        let accepted = backends.iter().map(Backend::try_accept).enumerate();
        accepted
            .filter_map(|(place, socket)| Some((place, socket?)))
            .next()
    });
    (client, place, socket)
}

/// Ends a connection, and waits until there is this number of log lines.
fn end(mut client: Client, socket: Socket, server: &Server, lines: usize) {
    client.close_notify();
    drop(socket);
    client.read_close_notify();
    server.wait_for_connections(lines);
}

/// Fails unless a client completes the handshake and then gets close_notify, because there is no backend.
fn turned_away(server: &Server) {
    let mut client = server.connect("");
    let received = client.read_to_end();
    received.assert_whole(b"");
}

/// A backend that does not answer, because its backlog is full.
fn hanging() -> (Backend, Vec<TcpStream>) {
    let backend = Backend::new().without_backlog();
    let mut waiting = Vec::new();
    let patience = Duration::from_millis(200);
    while let Ok(socket) = TcpStream::connect_timeout(&backend.address(), patience) {
        waiting.push(socket);
    }
    (backend, waiting)
}

#[test]
fn the_backend_with_the_fewest_open_connections_is_chosen() {
    let backends = [Backend::new(), Backend::new(), Backend::new()];
    let [a, b, c] = backends.each_ref().map(Backend::address);
    let server = server(&[&a, &b, &c], "");
    let mut open: Vec<_> = (0..6).map(|_| place(&server, &backends)).collect();
    let places: Vec<usize> = open.iter().map(|(_, place, _)| *place).collect();
    assert_eq!(places, [0, 1, 2, 0, 1, 2], "in the order of the file");
    // Two connections of the second backend end; the next two go there.
    let (client, _, socket) = open.remove(4);
    end(client, socket, &server, 1);
    let (client, _, socket) = open.remove(1);
    end(client, socket, &server, 2);
    for _ in 0..2 {
        let next = place(&server, &backends);
        assert_eq!(next.1, 1);
        open.push(next);
    }
}

#[test]
fn a_backend_that_refuses_is_skipped_for_a_while_and_the_next_one_is_tried() {
    let (dead, alive) = (free_address(), Backend::new());
    let server = server(&[&dead, &alive.address()], "");
    for _ in 0..5 {
        let mut client = server.connect("");
        assert_talk(&mut client, &mut alive.accept());
    }
    let away = format!("backend={dead} state=\"away: Connection refused\"");
    let lines = server.lines();
    let said = lines.iter().filter(|line| line.contains(&away));
    assert_eq!(said.count(), 1, "{lines:?}");
    for line in server.wait_for_connections(5) {
        assert_eq!(line.value("backend"), alive.address().to_string());
    }
}

#[test]
fn with_no_backend_up_the_client_gets_close_notify_and_the_log_says_why() {
    let (one, other) = (free_address(), free_address());
    let mut server = server(&[&one, &other], "");
    for _ in 0..3 {
        turned_away(&server);
    }
    for line in server.wait_for_connections(3) {
        let end = line.value("end");
        assert!(end.starts_with("launch: no backend: 127.0.0.1:"), "{end}");
        assert!(end.ends_with(": Connection refused"), "{end}");
        assert!(line.get("backend").is_none());
    }
    assert!(server.stop().success());
}

#[test]
fn a_backend_that_is_up_again_gets_clients_again() {
    let address = free_address();
    let server = server(&[&address], "");
    turned_away(&server);
    let backend = Backend::at(address);
    let mut client = server.connect("");
    assert_talk(&mut client, &mut backend.accept());
    server.wait_for_line("it is back", |line| {
        line.ends_with(&format!("backend={address} state=back"))
    });
}

#[test]
fn a_backend_that_is_up_again_gets_clients_although_another_one_is_up() {
    let (address, other) = (free_address(), Backend::new());
    let server = server(&[&address, &other.address()], "");
    let (mut open, mut socket) = (server.connect(""), other.accept());
    assert_talk(&mut open, &mut socket);
    let back = Backend::at(address);
    // It has no connections, so it is chosen as soon as it is no longer skipped.
    eventually("it is tried again", || {
        let _client = server.connect("");
        let found = eventually("one of them is chosen", || {
            let chosen = [&back, &other].map(Backend::try_accept);
            chosen.iter().any(Option::is_some).then_some(chosen)
        });
        found[0].is_some().then_some(())
    });
}

#[test]
fn after_connect_timeout_the_next_backend_is_tried() {
    let (hanging, _waiting) = hanging();
    let alive = Backend::new();
    let host = "connect-timeout = \"300ms\"";
    let server = server(&[&hanging.address(), &alive.address()], host);
    let start = Instant::now();
    let mut clients = [server.connect(""), server.connect("")];
    for client in &mut clients {
        client.send(b"question");
    }
    // One client waits; the other one does not wait for it.
    let mut sockets = [alive.accept(), alive.accept()];
    assert!(start.elapsed() >= Duration::from_millis(300));
    for socket in &mut sockets {
        assert_eq!(read(socket, 8), b"question");
    }
    let away = format!(
        "backend={} state=\"away: Connection timed out\"",
        hanging.address()
    );
    server.wait_for_line("it is away", |line| line.contains(&away));
}

#[test]
fn a_client_whose_backends_all_hang_is_closed_after_the_timeouts() {
    let (hanging, _waiting) = hanging();
    let server = server(&[&hanging.address()], "connect-timeout = \"200ms\"");
    turned_away(&server);
    let line = server.wait_for_connection();
    let end = line.value("end");
    assert!(end.ends_with(": Connection timed out"), "{end}");
    assert!(line.number("duration_ms") >= 200);
}

#[test]
fn a_second_signal_closes_clients_that_wait_for_a_backend() {
    let (hanging, _waiting) = hanging();
    let mut server = server(&[&hanging.address()], "connect-timeout = \"1h\"");
    let _client = server.connect("");
    eventually("it is dialled", || {
        // The engine has the client; the monitor the socket that waits.
        let dialled = proc::descriptors(server.pid()).into_iter().any(|fd| {
            let link = format!("/proc/{}/fd/{fd}", server.pid());
            std::fs::read_link(link).is_ok_and(|to| sockets_to(hanging.address()).contains(&to))
        });
        dialled.then_some(())
    });
    server.signal(Signal::SIGTERM);
    server.wait_for_line("it drains", |line| line.contains("no more clients"));
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
    let line = server.wait_for_connection();
    assert_eq!(line.value("end"), "launch: no backend: the client has gone");
}

/// The sockets of this machine that are connected to an address, or try to, as links in /proc name them.
fn sockets_to(address: SocketAddr) -> Vec<std::path::PathBuf> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_whitespace().collect());
    let to = format!(":{:04X}", address.port());
    let lines = lines.filter(|words: &Vec<&str>| words[2].ends_with(&to));
    lines
        .map(|words| format!("socket:[{}]", words[9]).into())
        .collect()
}

#[test]
fn a_missing_unix_domain_socket_counts_as_refused_until_it_exists() {
    let site = Site::new();
    let toml = table("", "connect = \"unix:b.sock\"");
    let server = Server::with_config_in(site, &toml);
    turned_away(&server);
    let end = server.wait_for_connection().value("end").to_owned();
    assert!(end.ends_with("b.sock: No such file or directory"), "{end}");
    let backend = Backend::unix(&server.site.file("b.sock"));
    let mut client = server.connect("");
    assert_talk(&mut client, &mut backend.accept());
}

#[test]
fn a_full_backlog_of_a_unix_domain_socket_is_waited_for() {
    let site = Site::new();
    let backend = Backend::unix(&site.file("b.sock")).without_backlog();
    let toml = table("", "connect = \"unix:b.sock\"");
    let server = Server::with_config_in(site, &toml);
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect("")).collect();
    for client in &mut clients {
        client.send(b"question");
    }
    // The order of the processes is not defined.
    let mut sockets: Vec<Socket> = (0..5).map(|_| backend.accept()).collect();
    for socket in &mut sockets {
        assert_eq!(read(socket, 8), b"question");
    }
    assert!(server.connection_lines().is_empty());
}

#[test]
fn many_clients_at_once_all_get_a_backend_and_leave_nothing_behind() {
    let backend = Backend::new();
    let limits = "[limits]\nper-source = 0\n";
    let host = crate::backend::connect(&[&backend.address()], "");
    let server = Server::with_config(&format!("{limits}{}", table("", &host)));
    let before = proc::descriptor_count(server.pid());
    for round in 1..=3 {
        let clients: Vec<Client> = (0..100).map(|_| server.connect("")).collect();
        let sockets: Vec<Socket> = (0..100).map(|_| backend.accept()).collect();
        drop((clients, sockets));
        server.wait_for_connections(100 * round);
    }
    assert_eq!(proc::descriptor_count(server.pid()), before);
}
