//! The HTTP server of metrics: unusual and hostile requests, and the process that answers.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::scrape::{Answer, CAT, Scrape, address, exchange, get, scrape, table};
use tlssrv_testing::account::is_root;
use tlssrv_testing::{DEADLINE, Server, Socket, eventually, proc};

fn server() -> Server {
    Server::with_config(&table("", &[("a.example", CAT)]))
}

fn ask(server: &Server, request: &str) -> Answer {
    exchange(Socket::connect(address(server)), request)
}

fn reporter(server: &Server) -> Option<Pid> {
    let mut children = proc::children(server.pid()).into_iter();
    children.find(|pid| proc::name(*pid).as_deref() == Some("tlssrv-metrics"))
}

#[test]
fn only_get_and_head_of_three_pages_are_answered() {
    let server = server();
    assert_eq!(get(&server, "/healthz").body, "ok\n");
    assert_eq!(get(&server, "/readyz").body, "ready\n");
    let head = ask(&server, "HEAD /healthz HTTP/1.0\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.head.contains("\r\nContent-Length: 3\r\n"), "{head:?}");
    assert!(head.head.contains("\r\nConnection: close"), "{head:?}");
    assert_eq!(get(&server, "/").status, 404);
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let post = ask(&server, post);
    assert_eq!(post.status, 405);
    assert!(post.head.contains("\r\nAllow: GET, HEAD\r\n"), "{post:?}");
    assert_eq!(ask(&server, "GET /metrics HTTP/1.1\r\n\r\n").status, 400);
    let long = format!(
        "GET /metrics HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
        "b".repeat(9000)
    );
    assert_eq!(ask(&server, &long).status, 431);
}

#[test]
fn a_request_may_arrive_byte_by_byte_and_a_connection_has_one_request() {
    let server = server();
    let mut socket = Socket::connect(address(&server));
    let request = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    for byte in request.bytes() {
        socket.write_all(&[byte]).unwrap();
    }
    let answer = exchange(socket, request);
    assert_eq!((answer.status, answer.body.as_str()), (200, "ready\n"));
}

#[test]
fn unfinished_requests_disturb_neither_scrapers_nor_tls_clients() {
    let server = server();
    let mut slow: Vec<Socket> = Vec::new();
    for _ in 0..100 {
        let mut socket = Socket::connect(address(&server));
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
        slow.push(socket);
        if slow.len().is_multiple_of(20) {
            scrape(&server);
            let mut client = server.connect("a.example");
            client.echoes();
        }
    }
    // Connections over the limit are closed, the oldest first, long before their timeout.
    let begun = Instant::now();
    assert!(matches!(slow[0].read(&mut [0]), Ok(0) | Err(_)));
    assert!(begun.elapsed() < DEADLINE / 3);
    let open = || proc::descriptor_count(reporter(&server)?);
    let few = eventually("the reporter's descriptors", open);
    assert!(few < 40, "{few}");
}

#[test]
fn clients_that_do_not_read_do_not_block_others() {
    let server = server();
    let mut deaf = Vec::new();
    for _ in 0..40 {
        let mut socket = Socket::connect(address(&server));
        socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        deaf.push(socket);
    }
    for _ in 0..5 {
        scrape(&server);
    }
    drop(deaf);
}

#[test]
fn too_many_scrapers_while_an_engine_is_stuck_do_no_harm() {
    let server = Server::with_config(&table("engines = 1", &[("a.example", CAT)]));
    let client = server.connect("a.example");
    scrape(&server);
    let first = reporter(&server).unwrap();
    let engine = server.engines()[0];
    kill(engine, Signal::SIGSTOP).unwrap();
    let mut impatient: Vec<Socket> = Vec::new();
    for _ in 0..200 {
        let mut socket = Socket::connect(address(&server));
        socket.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        impatient.push(socket);
    }
    // Each is either closed because there were too many, or answered.
    for mut socket in impatient {
        let _ = socket.read_to_end();
    }
    kill(engine, Signal::SIGCONT).unwrap();
    eventually("there is room again", || {
        (get(&server, "/metrics").status == 200).then_some(())
    });
    assert_eq!(reporter(&server), Some(first));
    assert!(server.lines().iter().all(|line| !line.contains(" err ")));
    drop(client);
}

#[test]
fn the_reporter_is_an_unprivileged_process_and_is_replaced_when_it_dies() {
    let server = server();
    scrape(&server);
    let first = reporter(&server).unwrap();
    assert_eq!(proc::status(first, "Seccomp").as_deref(), Some("2"));
    assert_eq!(proc::status(first, "NoNewPrivs").as_deref(), Some("1"));
    if is_root() {
        let uids = proc::status(first, "Uid").unwrap();
        assert!(uids.split_whitespace().all(|uid| uid != "0"), "{uids}");
    }
    let mut client = server.connect("a.example");
    kill(first, Signal::SIGKILL).unwrap();
    server.wait_for_line("its end", |line| line.contains("reporter of metrics"));
    scrape(&server);
    assert_ne!(reporter(&server), Some(first));
    client.echoes();
    proc::no_zombies(server.pid());
}

#[test]
fn a_reporter_that_dies_before_it_gets_a_client_is_noticed() {
    let server = server();
    scrape(&server);
    let first = reporter(&server).unwrap();
    kill(server.pid(), Signal::SIGSTOP).unwrap();
    let client = Socket::connect(address(&server));
    kill(first, Signal::SIGKILL).unwrap();
    eventually("it is dead", || (!proc::runs(first)).then_some(()));
    kill(server.pid(), Signal::SIGCONT).unwrap();
    server.wait_for_line("its end", |line| line.contains("reporter of metrics"));
    scrape(&server);
    drop(client);
}

#[test]
fn a_unix_domain_socket_serves_metrics_and_is_removed_with_the_server() {
    let table = table("", &[("a.example", CAT)]);
    let table = table.replacen("\"127.0.0.1:0\"", "\"unix:metrics.sock\"", 1);
    let mut server = Server::with_config(&table);
    let path = server.site.file("metrics.sock");
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.uid(), geteuid().as_raw());
    let request = "GET /metrics HTTP/1.0\r\n\r\n";
    let answer = exchange(Socket::connect_unix(&path), request);
    assert_eq!(Scrape::parse(&answer.body).value("tlssrv_ready"), 1.0);
    assert!(server.stop().success());
    assert!(!path.exists());
}
