//! Names of backends, which a process of its own looks up again and again. tlssrv runs in a mount namespace
//! with the `/etc/hosts` and `/etc/resolv.conf` of the test.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::backend::{Backend, assert_talk, connect, table};
use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{program, run};
use tlssrv_testing::{DEADLINE, Ended, Server, Site, Socket, eventually, proc, skip, tlssrv_path};

const WITH_NAMES: &str = r#"
    mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf && exec "$@"
"#;

/// A server with this `/etc/hosts` and this name server; `None`: the tests do not run as root.
fn server(hosts: &str, resolver: &str, host: &str) -> Option<Server> {
    if !is_root() {
        skip("only root can have an /etc/hosts of its own");
        return None;
    }
    let site = Site::new()
        .with_file("hosts", hosts)
        .with_file(
            "resolv.conf",
            &format!("nameserver {resolver}\noptions timeout:20\n"),
        )
        .with_file("tlssrv.toml", &table("", host));
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", WITH_NAMES, "sh", tlssrv_path()]);
    Some(Server::run(site, command.args(["-f", "tlssrv.toml"])))
}

/// Two backends on one port of two addresses.
fn two_at_one_port() -> [Backend; 2] {
    let first = Backend::new();
    let mut second = first.address();
    second.set_ip([127, 0, 0, 2].into());
    [first, Backend::at(second)]
}

#[test]
fn new_clients_follow_a_name_to_its_new_address_and_a_vanished_name_keeps_the_old_one() {
    let backends = two_at_one_port();
    let port = backends[0].address().port();
    let host = connect(&[&format!("backend.test:{port}")], "resolve = \"50ms\"");
    let Some(server) = server("127.0.0.1 backend.test\n", "127.0.0.1", &host) else {
        return;
    };
    // As long as before, so that a half-written file is never read.
    let rewrite = |text: &str| {
        let file = File::options().write(true).open(server.site.file("hosts"));
        file.unwrap().write_all_at(text.as_bytes(), 0).unwrap();
    };
    let mut old = server.connect("");
    let mut old_socket = backends[0].accept();
    rewrite("127.0.0.2 backend.test\n");
    let state = |state: &str| format!("backend=backend.test:{port} state=\"{state}");
    let moved = state(&format!("at 127.0.0.2:{port}\""));
    server.wait_for_line("it has moved", |line| line.contains(&moved));
    let mut new = server.connect("");
    assert_talk(&mut new, &mut backends[1].accept());
    assert_talk(&mut old, &mut old_socket);

    rewrite("# nobody has this name\n");
    let gone = state("unable to look it up: ");
    let line = server.wait_for_line("it is gone", |line| line.contains(&gone));
    assert!(line.ends_with("; its old addresses stay\""), "{line}");
    let mut client = server.connect("");
    assert_talk(&mut client, &mut backends[1].accept());
    rewrite("127.0.0.1 backend.test\n");
    let back = state(&format!("at 127.0.0.1:{port}\""));
    server.wait_for_line("it is there again", |line| line.contains(&back));
    assert_talk(&mut server.connect(""), &mut backends[0].accept());
    proc::no_zombies(server.pid());
}

/// Fails unless the server says this of its readiness, and has this number of addresses for a name.
fn assert_tells(server: &Server, readiness: &str, name: &str, addresses: usize) {
    let get = |page: &str| {
        let mut socket = Socket::connect_unix(&server.site.file("m.sock"));
        let request = format!("GET {page} HTTP/1.0\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = get("/readyz");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, readiness);
    let status = if body.starts_with("ready\n") {
        200
    } else {
        503
    };
    assert!(head.contains(&format!(" {status} ")), "{head}");
    let metrics = get("/metrics");
    let series = format!("tlssrv_backend_addresses{{backend=\"{name}\"}} {addresses}\n");
    assert!(metrics.contains(&series), "{metrics}");
    let mut ask = program(tlssrv_path());
    ask.args(["--status", "-f", "tlssrv.toml"]);
    let said = run(ask.current_dir(server.site.path())).text();
    let line = format!("backend {name}: name does not resolve\n");
    assert_eq!(said.contains(&line), addresses == 0, "{said}");
}

#[test]
fn a_backend_whose_name_does_not_resolve_at_the_start_is_away_until_it_does() {
    let backend = Backend::new();
    let name = format!("backend.test:{}", backend.address().port());
    let lines = "resolve = \"0s\"\n[metrics]\nlisten = \"unix:m.sock\"\n";
    let host = connect(&[&name], lines);
    let Some(server) = server("# nobody has this name\n", "127.0.0.1", &host) else {
        return;
    };
    let lines = server.lines();
    let warned = lines
        .iter()
        .any(|line| line.contains("warning: unable to look up \"backend.test\""));
    assert!(warned, "{lines:?}");
    let mut client = server.connect("");
    assert_eq!(client.read_to_end().ended, Ended::CloseNotify);
    let why = format!("launch: no backend: {name}: name does not resolve");
    assert_eq!(server.wait_for_connection().value("end"), why);
    assert_tells(&server, "no backend has an address\n", &name, 0);

    fs::write(server.site.file("hosts"), "127.0.0.1 backend.test\n").unwrap();
    let back = format!("backend={name} state=\"at 127.0.0.1:");
    server.wait_for_line("it resolves", |line| line.contains(&back));
    assert_talk(&mut server.connect(""), &mut backend.accept());
    assert_tells(&server, "ready\n", &name, 1);
    // Its failures are told once.
    let failures = server.lines();
    let failures = failures.iter().filter(|line| line.contains("look"));
    assert_eq!(failures.count(), 1);
    proc::no_zombies(server.pid());
}

#[test]
fn a_backend_that_is_away_because_of_its_name_leaves_the_others_to_clients() {
    let backend = Backend::new();
    let port = backend.address().port();
    let [gone, there] = ["gone.test", "backend.test"].map(|host| format!("{host}:{port}"));
    let lines = "[metrics]\nlisten = \"unix:m.sock\"\n";
    let host = connect(&[&gone, &there], lines);
    let Some(server) = server("127.0.0.1 backend.test\n", "127.0.0.1", &host) else {
        return;
    };
    for _ in 0..3 {
        assert_talk(&mut server.connect(""), &mut backend.accept());
    }
    let readiness = format!("ready\nbackend {gone}: name does not resolve\n");
    assert_tells(&server, &readiness, &gone, 0);
}

#[test]
fn each_address_of_a_name_is_a_backend() {
    let backends = two_at_one_port();
    let port = backends[0].address().port();
    let host = connect(&[&format!("backend.test:{port}")], "");
    let hosts = "127.0.0.1 backend.test\n127.0.0.2 backend.test\n";
    let Some(server) = server(hosts, "127.0.0.1", &host) else {
        return;
    };
    let _clients = [server.connect(""), server.connect("")];
    let _sockets = backends.each_ref().map(Backend::accept);
}

#[test]
fn a_reload_does_not_wait_for_a_slow_name_server() {
    let [old, new] = [Backend::new(), Backend::new()];
    let [.., high, low] = std::process::id().to_be_bytes();
    let resolver = format!("127.{}.{low}.53", high | 1);
    let host = connect(&[&old.address()], "");
    let Some(server) = server("", &resolver, &host) else {
        return;
    };
    let names = UdpSocket::bind(format!("{resolver}:53")).unwrap();
    names.set_read_timeout(Some(DEADLINE)).unwrap();
    let port = new.address().port();
    let host = connect(&[&format!("backend.test:{port}")], "");
    fs::write(server.site.file("tlssrv.toml"), table("", &host)).unwrap();
    server.signal(Signal::SIGHUP);
    let query = Query::next(&names).expect("somebody asks");
    // The process that looks names up has neither the user nor the descriptors of the monitor.
    let mut children = proc::children(server.pid()).into_iter();
    let asks = children
        .find(|pid| proc::arguments(*pid)[0] == "tlssrv-resolve")
        .unwrap();
    let users = proc::status(asks, "Uid").unwrap();
    assert!(users.split_whitespace().all(|uid| uid != "0"), "{users}");
    assert!(proc::descriptors(asks).len() <= 4); // 0, 1, 2 and the socket of the query
    // Meanwhile the monitor serves.
    let mut client = server.connect("");
    assert_talk(&mut client, &mut old.accept());
    query.answer(&names);
    // Queries for IPv6, before or after that, are answered, too.
    names
        .set_read_timeout(Some(Duration::from_millis(5)))
        .unwrap();
    eventually("it has reloaded", || {
        if let Some(query) = Query::next(&names) {
            query.answer(&names);
        }
        let lines = server.lines();
        lines
            .iter()
            .any(|line| line.ends_with(" reloaded"))
            .then_some(())
    });
    let mut client = server.connect("");
    assert_talk(&mut client, &mut new.accept());
}

/// A query to a name server (RFC 1035 §4.1).
struct Query {
    bytes: Vec<u8>,
    from: SocketAddr,
}

impl Query {
    fn next(socket: &UdpSocket) -> Option<Self> {
        let mut bytes = vec![0; 512];
        let (length, from) = socket.recv_from(&mut bytes).ok()?;
        bytes.truncate(length);
        Some(Self { bytes, from })
    }

    /// Answers with 127.0.0.1, or for another type than A with nothing.
    fn answer(&self, socket: &UdpSocket) {
        const HEADER: usize = 12;
        let mut end = HEADER;
        while self.bytes[end] != 0 {
            end += usize::from(self.bytes[end]) + 1;
        }
        let question = &self.bytes[HEADER..end + 5];
        let is_a = question.ends_with(&[0, 1, 0, 1]);
        let mut answer = self.bytes[..2].to_vec();
        answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
        answer.extend(question);
        if is_a {
            // The name in the question, A, IN, a minute, four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
        }
        socket.send_to(&answer, self.from).unwrap();
    }
}
