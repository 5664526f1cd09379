//! Limits on connections: in total, per host, per source, and per second.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::os::fd::AsRawFd;

use tlssrv_testing::{Client, Dial, Server, Socket, eventually};

/// A server with these limits and one host.
fn limited(limits: &str) -> Server {
    Server::with_config(&format!(
        r#"
        [limits]
        {limits}
        [[listen]]
        address = "127.0.0.1:0"
        [[host]]
        default = true
        cert = ["cert.pem"]
        command = ["cat"]
        allow-root = true
        "#
    ))
}

/// Whether a client is served, and not closed before the handshake.
fn is_served(server: &Server) -> bool {
    Dial::new().try_connect(server.address(), "").is_ok()
}

/// Closes a connection, and then its socket.
fn leave(mut client: Client) {
    client.close();
}

#[test]
fn a_client_over_connections_is_closed_and_a_later_one_is_served() {
    let server = limited("connections = 2\nper-source = 0");
    let mut first = server.connect("");
    let mut second = server.connect("");
    let (bytes, _) = Socket::connect(server.address()).read_to_end();
    assert_eq!(bytes, b"", "closed before it has said a word");
    first.echoes();
    second.echoes();
    leave(second);
    eventually("room for another", || is_served(&server).then_some(()));
    first.echoes();
}

#[test]
fn the_limit_of_a_source_does_not_affect_others() {
    let server = limited("per-source = 2");
    let first = server.connect("");
    let mut second = server.connect("");
    assert!(!is_served(&server));
    let mut other = Dial::new().over(from(Ipv4Addr::new(127, 0, 0, 2), server.address()), "");
    other.echoes();
    second.echoes();
    leave(first);
    eventually("room for another", || is_served(&server).then_some(()));
    other.echoes();
}

#[test]
fn a_source_may_have_a_quarter_of_all_connections_by_default() {
    let server = limited("connections = 12");
    let clients: Vec<Client> = (0..3).map(|_| server.connect("")).collect();
    assert!(!is_served(&server));
    let mut other = Dial::new().over(from(Ipv4Addr::new(127, 0, 0, 2), server.address()), "");
    other.echoes();
    clients.into_iter().for_each(leave);
    eventually("room for another", || is_served(&server).then_some(()));
}

#[test]
fn a_pool_of_200_connections_from_one_source_is_served_without_any_limit_in_the_table() {
    let server = limited("");
    let pool: Vec<Client> = (0..200).map(|_| server.connect("")).collect();
    for mut client in pool {
        client.echoes();
    }
    let refused = |line: &String| line.contains("refused");
    assert!(!server.lines().iter().any(refused));
}

#[test]
fn the_first_refusal_by_a_limit_is_a_notice_that_names_the_key_to_change() {
    for (limits, key, why) in [
        (
            "connections = 1",
            "connections in [limits]",
            "1 connections are open",
        ),
        (
            "connections = 4",
            "per-source in [limits]",
            "1 connections from there are open",
        ),
        (
            "per-source = 1",
            "per-source in [limits]",
            "1 connections from there are open",
        ),
        (
            "per-source-rate = 1",
            "per-source-rate in [limits]",
            "1 connections have come from there within a second",
        ),
    ] {
        let server = limited(limits);
        let mut only = server.connect("");
        let is_notice = |line: &str| line.contains(" notice refused 127.0.0.1: ");
        eventually("a refusal", || {
            for _ in 0..20 {
                let _ = Socket::connect(server.address()).read_to_end();
            }
            server.lines().iter().find(|line| is_notice(line)).cloned()
        });
        server.wait_for_line("the count", |line| line.contains("over a limit"));
        only.echoes();
        let lines = server.lines();
        let notices: Vec<_> = lines.iter().filter(|line| is_notice(line)).collect();
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains(key), "{notices:?}");
        assert!(notices[0].contains(why), "{notices:?}");
    }
}

#[test]
fn after_a_reload_each_limit_has_a_first_refusal_again() {
    let server = limited("connections = 1");
    let _only = server.connect("");
    let notices = || {
        let lines = server.lines();
        let notices = lines
            .iter()
            .filter(|line| line.contains(" notice refused "));
        notices.count()
    };
    let refused = |count| {
        eventually("a notice", || {
            let _ = Socket::connect(server.address()).read_to_end();
            (notices() == count).then_some(())
        });
    };
    refused(1);
    server.signal(Signal::SIGHUP);
    server.wait_for_line("it has reloaded", |line| line.ends_with(" reloaded"));
    refused(2);
}

#[test]
fn a_source_over_its_rate_is_accepted_again_in_the_next_second() {
    let server = limited("per-source-rate = 3");
    let start = Instant::now();
    let served = (0..20).filter(|_| is_served(&server)).count();
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!(
        (1..=3 * (seconds + 1)).contains(&served),
        "{served} in {seconds} s"
    );
    assert!(served < 20);
    eventually("the next second", || is_served(&server).then_some(()));
}

#[test]
fn the_limit_of_a_host_does_not_affect_others() {
    let host = |names: &str, more: &str| {
        format!(
            "[[host]]\nnames = [\"{names}\"]\ncert = [\"cert.pem\"]\ncommand = [\"cat\"]\nallow-root = true\n{more}\n"
        )
    };
    let server = Server::with_config(&format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{}{}",
        host("small.example", "connections = 1"),
        host("large.example", "")
    ));
    let mut first = server.connect("small.example");
    let over = |name: &str| Dial::new().try_connect(server.address(), name).is_err();
    assert!(over("small.example"));
    let mut other = server.connect("large.example");
    first.echoes();
    other.echoes();
    let line = server.wait_for_connection();
    assert_eq!(
        (line.value("host"), line.value("end")),
        ("small.example", "refused")
    );
    let notice = server.wait_for_line("a notice", |line| line.contains(" notice refused "));
    assert!(
        notice.contains("a client of host small.example") && notice.contains("its [[host]]"),
        "{notice}"
    );
    leave(first);
    eventually("room at the host", || {
        (!over("small.example")).then_some(())
    });
    // Each closed connection has freed its place.
    for _ in 0..20 {
        eventually("room at the host", || {
            (!over("small.example")).then_some(())
        });
    }
}

#[test]
fn refusals_are_counted_in_one_line_a_second() {
    let server = limited("connections = 1");
    let mut only = server.connect("");
    let start = Instant::now();
    for _ in 0..200 {
        let _ = Socket::connect(server.address()).read_to_end();
    }
    let count = || -> usize {
        let counts = server.lines();
        let counts = counts.iter().filter_map(|line| {
            let (_, rest) = line.split_once("refused clients over a limit: connections=")?;
            rest.split(' ').next()?.parse::<usize>().ok()
        });
        counts.sum()
    };
    eventually("all refusals in the log", || (count() == 200).then_some(()));
    let lines = server.lines();
    let lines = lines
        .iter()
        .filter(|line| line.contains("over a limit"))
        .count();
    let most = start.elapsed().as_secs() + 1;
    assert!(u64::try_from(lines).unwrap() <= most, "{lines} lines");
    assert!(
        server
            .lines()
            .iter()
            .any(|line| line.contains("last=127.0.0.1"))
    );
    only.echoes();
}

#[test]
fn silent_clients_free_their_places_after_the_handshake_timeout() {
    let server = limited("connections = 8\nper-source = 4\nhandshake = \"1s\"");
    for _ in 0..3 {
        let silent: Vec<Socket> = (0..4).map(|_| Socket::connect(server.address())).collect();
        for mut socket in silent {
            let start = Instant::now();
            let _ = socket.read_to_end();
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        eventually("room for another", || is_served(&server).then_some(()));
    }
}

/// A connection from this address.
fn from(source: Ipv4Addr, to: SocketAddr) -> Socket {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    bind(
        fd.as_raw_fd(),
        &SockaddrIn::from(std::net::SocketAddrV4::new(source, 0)),
    )
    .unwrap();
    let SocketAddr::V4(to) = to else {
        panic!("not an IPv4 address: {to}");
    };
    connect(fd.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    Socket::from(TcpStream::from(fd))
}
