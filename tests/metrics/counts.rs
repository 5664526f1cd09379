//! Each event is counted once, under its labels.

use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::version::{TLS12, TLS13};

use crate::scrape::{CAT, get, scrape, scrape_until, table, wait_for};
use tlssrv_testing::authority::Authority;
use tlssrv_testing::programs::{missing, program, run_with};
use tlssrv_testing::{Client, Dial, Server, Site, Socket};

fn outcome(host: &str, outcome: &str) -> String {
    format!("tlssrv_connections_total{{host=\"{host}\",outcome=\"{outcome}\"}}")
}

fn of_host(name: &str) -> String {
    format!("tlssrv_{name}{{host=\"a.example\"}}")
}

fn close(mut client: Client) {
    client.close();
}

#[test]
fn each_outcome_is_zero_from_the_start_and_counted_once() {
    let limits = "[limits]\nhandshake = \"300ms\"";
    let gone = "command = [\"./gone\"]";
    let hosts = [("a.example", CAT), ("b.wild.example", gone)];
    let site = Site::new();
    site.write_program("gone", "#!/bin/sh\n");
    let gone = site.file("gone");
    let server = Server::with_config_in(site, &table(limits, &hosts));
    fs::remove_file(gone).unwrap();
    let before = scrape(&server).named("tlssrv_connections_total").len();
    assert_eq!(before, 3 * 10, "two hosts and none, ten outcomes");

    close(server.connect("a.example"));
    wait_for(&server, &outcome("a.example", "closed"), 1.0);

    server.connect("a.example").socket.shutdown_write();
    wait_for(&server, &outcome("a.example", "truncated"), 1.0);

    let mut client = server.connect("a.example");
    client.send(b"x");
    client.read_exactly(1);
    client.socket.reset();
    wait_for(&server, &outcome("a.example", "reset"), 1.0);

    let mut client = server.connect("a.example");
    client.send(b"x");
    client.read_exactly(1);
    client.socket.write_all(&[0x17, 3, 3, 0, 20]).unwrap();
    client.socket.write_all(&[0; 20]).unwrap();
    wait_for(&server, &outcome("a.example", "tls"), 1.0);
    drop(client);

    let unknown = Dial::new().try_connect(server.address(), "no.such.example");
    assert!(unknown.is_err());
    wait_for(&server, &outcome("", "handshake"), 1.0);

    let silent = Socket::connect(server.address());
    wait_for(&server, &outcome("", "timeout"), 1.0);
    drop(silent);

    server.connect("b.wild.example").read_to_end();
    let after = wait_for(&server, &outcome("b.wild.example", "launch"), 1.0);
    let total = after.named("tlssrv_connections_total");
    assert_eq!(total.len(), before);
    assert_eq!(total.iter().map(|(_, value)| value).sum::<f64>(), 7.0);
    assert_eq!(
        after.value("tlssrv_connections_accepted_total{listener=\"tls\"}"),
        7.0
    );
}

#[test]
fn clients_over_a_limit_are_counted_by_limit_and_by_host() {
    let limits = "[limits]\nconnections = 3\nper-source = 2";
    let host = format!("{CAT}\nconnections = 1");
    let server = Server::with_config(&table(limits, &[("a.example", &host)]));
    let none = scrape(&server);
    let refused = none.named("tlssrv_connections_refused_total");
    assert_eq!(refused.len(), 5, "{refused:?}");
    assert!(
        refused.iter().all(|(_, value)| *value == 0.0),
        "{refused:?}"
    );

    let first = server.connect("a.example");
    let full = Dial::new().try_connect(server.address(), "a.example");
    assert!(full.is_err());
    let of_host = "tlssrv_connections_refused_total{host=\"a.example\",limit=\"host\"}";
    wait_for(&server, of_host, 1.0);
    wait_for(&server, &outcome("a.example", "refused"), 1.0);
    let second = Socket::connect(server.address());
    wait_for(&server, "tlssrv_connections_open{host=\"\"}", 1.0);
    let third = Socket::connect(server.address());
    let over = "tlssrv_connections_refused_total{host=\"\",limit=\"per-source\"}";
    let scrape = wait_for(&server, over, 1.0);
    assert_eq!(
        scrape.value("tlssrv_connections_open{host=\"a.example\"}"),
        1.0
    );
    drop((first, second, third));
}

#[test]
fn a_handshake_is_counted_by_version_suite_and_resumption_and_timed() {
    let server = Server::with_config(&table(
        "",
        &[("a.example", "command = [\"echo\", \"hello\"]")],
    ));
    let old = Dial::version(&TLS12);
    old.connect(server.address(), "a.example").read_to_end();
    let new = Dial::version(&TLS13);
    for _ in 0..2 {
        new.connect(server.address(), "a.example").read_to_end();
    }
    let after = scrape_until(&server, "three have ended", |scrape| {
        scrape.value(&outcome("a.example", "closed")) == 3.0
    });
    let handshakes = after.named("tlssrv_handshakes_total");
    let resumed: Vec<_> = handshakes
        .iter()
        .filter(|(s, _)| s.contains("resumed=\"true\""))
        .collect();
    let full = |version: &str| {
        let of_version = |s: &str| s.contains(version) && s.contains("resumed=\"false\"");
        handshakes.iter().find(|(s, _)| of_version(s)).unwrap()
    };
    assert_eq!(handshakes.len(), 3, "{handshakes:?}");
    for (series, value) in [full("TLSv1.2"), full("TLSv1.3"), resumed[0]] {
        assert_eq!(*value, 1.0, "{series}");
        assert!(series.contains("auth=\"cert\""), "{series}");
        assert!(series.contains("host=\"a.example\""), "{series}");
        assert!(series.contains("suite=\"TLS_"), "{series}");
    }
    for name in ["tlssrv_handshake_seconds", "tlssrv_launch_seconds"] {
        let part = |suffix: &str| after.value(&format!("{name}_{suffix}{{host=\"a.example\"}}"));
        assert_eq!(part("count"), 3.0);
        assert!(part("sum") > 0.0 && part("sum") < 90.0, "{}", part("sum"));
        let bucket = |le: &str| {
            let series = format!("{name}_bucket{{host=\"a.example\",le=\"{le}\"}}");
            after.value(&series)
        };
        assert!(bucket("0.001") <= bucket("0.1") && bucket("0.1") <= bucket("5"));
        assert_eq!(bucket("+Inf"), 3.0);
    }
}

#[test]
fn bytes_of_connections_that_are_open_are_counted_too_and_no_byte_twice() {
    let server = Server::with_config(&table("", &[("a.example", CAT)]));
    let mut client = server.connect("a.example");
    client.send(&[b'x'; 100_000]);
    client.read_exactly(100_000);
    let open = wait_for(&server, &of_host("received_bytes_total"), 100_000.0);
    assert_eq!(open.value(&of_host("sent_bytes_total")), 100_000.0);
    assert_eq!(open.value(&of_host("connections_open")), 1.0);
    assert_eq!(open.value(&of_host("commands_running")), 1.0);
    client.send(b"more");
    client.read_exactly(4);
    wait_for(&server, &of_host("sent_bytes_total"), 100_004.0);
    close(client);
    let closed = wait_for(&server, &outcome("a.example", "closed"), 1.0);
    assert_eq!(closed.value(&of_host("received_bytes_total")), 100_004.0);
    assert_eq!(closed.value(&of_host("sent_bytes_total")), 100_004.0);
    assert_eq!(closed.value(&of_host("connections_open")), 0.0);
    assert_eq!(closed.value(&of_host("commands_running")), 0.0);
}

#[test]
fn commands_are_counted_by_exit_status_and_by_signal() {
    let script =
        "command = [\"sh\", \"-c\", \"read x; case $x in k) kill -9 $$;; *) exit $x;; esac\"]";
    let server = Server::with_config(&table("", &[("a.example", script)]));
    for word in ["0", "3", "3", "k"] {
        let mut client = server.connect("a.example");
        client.send(format!("{word}\n").as_bytes());
        client.read_to_end();
    }
    for (status, count) in [("0", 1.0), ("3", 2.0), ("SIGKILL", 1.0)] {
        let series =
            format!("tlssrv_command_exits_total{{host=\"a.example\",status=\"{status}\"}}");
        wait_for(&server, &series, count);
    }
    wait_for(&server, &outcome("a.example", "command"), 1.0);
    wait_for(&server, &outcome("a.example", "closed"), 3.0);
}

#[test]
fn the_expiry_of_each_certificate_is_a_metric() {
    let server = Server::with_config(&table("", &[("a.example", CAT)]));
    let series =
        "tlssrv_certificate_expiry_timestamp_seconds{certificate=\"1\",host=\"a.example\"}";
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let left = scrape(&server).value(series) - now.as_secs_f64();
    let day = Duration::from_secs(24 * 60 * 60).as_secs_f64();
    assert!((day - left).abs() < 600.0, "{left} of {day}");
}

#[test]
fn connections_to_backends_are_counted_and_so_are_refusals() {
    let backend = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = backend.local_addr().unwrap();
    let host = format!("connect = \"{place}\"");
    let table = table("", &[("a.example", &host)]).replace("allow-root = true\n", "");
    let server = Server::with_config(&table);
    let mut client = server.connect("a.example");
    client.send(b"hello");
    let (mut connected, _) = backend.accept().unwrap();
    std::io::Read::read_exact(&mut connected, &mut [0; 5]).unwrap();
    let launched = "tlssrv_launch_seconds_count{host=\"a.example\"}";
    let open = wait_for(&server, launched, 1.0);
    assert_eq!(open.value(&of_host("connections_open")), 1.0);
    assert_eq!(open.value(&of_host("commands_running")), 0.0);
    drop((connected, backend));
    client.close_notify();
    client.read_to_end();
    let mut refused = server.connect("a.example");
    refused.read_to_end();
    wait_for(&server, &outcome("a.example", "launch"), 1.0);
    assert_eq!(scrape(&server).value(launched), 1.0);
}

#[test]
fn unknown_names_and_protocols_make_no_series() {
    let server = Server::with_config(&table("", &[("a.example", CAT), ("*.wild.example", CAT)]));
    close(server.connect("x.wild.example"));
    let series = outcome("*.wild.example", "closed");
    let before = wait_for(&server, &series, 1.0);
    for number in 0..20 {
        close(server.connect(&format!("n{number}.wild.example")));
        let unknown = format!("stranger{number}.example");
        assert!(Dial::new().try_connect(server.address(), &unknown).is_err());
    }
    let after = wait_for(&server, &series, 21.0);
    let after = scrape_until(&server, "all have ended", |scrape| {
        scrape.value(&outcome("", "handshake")) == 20.0 && scrape.0.len() == after.0.len()
    });
    let new: Vec<&String> = after
        .0
        .keys()
        .filter(|key| !before.0.contains_key(*key))
        .collect();
    // The first client could not cause the series of resumed handshakes.
    assert!(
        new.iter().all(|key| key.contains("resumed=\"true\"")),
        "{new:?}"
    );
}

#[test]
fn promtool_accepts_the_metrics() {
    if missing(&["promtool"]) {
        return;
    }
    let server = Server::with_config(&table("", &[("a.example", CAT)]));
    close(server.connect("a.example"));
    wait_for(&server, &outcome("a.example", "closed"), 1.0);
    let answer = get(&server, "/metrics");
    assert!(
        answer
            .head
            .contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n")
    );
    let checked = run_with(
        program("promtool").args(["check", "metrics"]),
        answer.body.as_bytes(),
    );
    let checked = checked.succeeded();
    assert_eq!((checked.stdout.len(), checked.stderr.as_str()), (0, ""));
}

#[test]
fn a_handshake_with_a_client_certificate_is_counted_as_mtls() {
    let (ca, site) = (Authority::new("Test CA"), Site::new());
    fs::write(site.file("ca.pem"), ca.pem()).unwrap();
    let host = format!("{CAT}\nclient-auth = \"request\"\nclient-ca = \"ca.pem\"");
    let server = Server::with_config_in(site, &table("", &[("a.example", &host)]));
    let alice = Dial::new().showing(&ca.client("alice", 1));
    close(alice.connect(server.address(), "a.example"));
    close(server.connect("a.example"));
    let after = wait_for(&server, &outcome("a.example", "closed"), 2.0);
    let handshakes = after.named("tlssrv_handshakes_total");
    for auth in ["auth=\"mtls\"", "auth=\"cert\""] {
        let of_kind = handshakes
            .iter()
            .filter(|(series, _)| series.contains(auth));
        let counts: Vec<f64> = of_kind.map(|(_, value)| *value).collect();
        assert_eq!(counts, [1.0], "{auth}: {handshakes:?}");
    }
}

#[test]
fn connections_from_elsewhere_than_a_load_balancer_are_counted() {
    let table = table("", &[("a.example", CAT)]);
    let proxied = "name = \"tls\"\nproxy-protocol = true\nproxy-from = [\"192.0.2.1\"]";
    let server = Server::with_config(&table.replacen("name = \"tls\"", proxied, 1));
    drop(Socket::connect(server.address()));
    let over = "tlssrv_connections_refused_total{host=\"\",limit=\"proxy-from\"}";
    wait_for(&server, over, 1.0);
}
