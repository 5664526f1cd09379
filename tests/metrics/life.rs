//! Metrics across reloads, the death of engines, and the end of the server.

use std::fs;

use nix::sys::signal::{Signal, kill};

use crate::scrape::{CAT, address, exchange, get, scrape, table, wait_for};
use tlssrv_testing::programs::{program, run};
use tlssrv_testing::{Server, Socket, eventually, tlssrv_path};

const RESTARTED: &str = "tlssrv_engines_restarted_total";

fn reload(server: &Server, table: &str) -> Option<i32> {
    fs::write(server.site.file("tlssrv.toml"), table).unwrap();
    let mut command = program(tlssrv_path());
    command.args(["--reload", "-f", "tlssrv.toml"]);
    run(command.current_dir(server.site.path())).status.code()
}

#[test]
fn reloads_are_counted_by_result_and_new_hosts_have_their_series_at_once() {
    let one = table("", &[("a.example", CAT)]);
    let server = Server::with_config(&one);
    let mut client = server.connect("a.example");
    let place = address(&server);
    assert_eq!(reload(&server, "nonsense"), Some(96));
    let two = table("", &[("a.example", CAT), ("b.wild.example", CAT)]);
    assert_eq!(reload(&server, &two), Some(0));
    let after = scrape(&server);
    assert_eq!(address(&server), place, "nothing has moved");
    for result in ["ok", "failed"] {
        let series = format!("tlssrv_reloads_total{{result=\"{result}\"}}");
        assert_eq!(after.value(&series), 1.0);
    }
    assert_eq!(
        after.value("tlssrv_connections_open{host=\"b.wild.example\"}"),
        0.0
    );
    assert_eq!(
        after.value("tlssrv_connections_open{host=\"a.example\"}"),
        1.0
    );
    assert_eq!(
        after.value(RESTARTED),
        0.0,
        "a reload replaces engines, none has died"
    );
    // Bytes of old engines are counted like those of new ones.
    client.echoes();
    wait_for(
        &server,
        "tlssrv_received_bytes_total{host=\"a.example\"}",
        6.0,
    );
}

#[test]
fn a_reload_moves_metrics_to_another_address_and_another_one_ends_them() {
    let one = table("", &[("a.example", CAT)]);
    let server = Server::with_config(&one);
    let first = address(&server);
    let two = one.replacen("127.0.0.1:0", "unix:m.sock", 1);
    assert_eq!(reload(&server, &two), Some(0));
    server.wait_for_line("the old address ends", |line| {
        line.ends_with(&format!("no longer metrics at {first}"))
    });
    assert!(std::net::TcpStream::connect(first).is_err());
    let path = server.site.file("m.sock");
    let request = "GET /readyz HTTP/1.0\r\n\r\n";
    assert_eq!(exchange(Socket::connect_unix(&path), request).status, 200);
    let none = two.replacen("[metrics]\nlisten = \"unix:m.sock\"\n", "", 1);
    assert_eq!(reload(&server, &none), Some(0));
    assert!(!path.exists());
    let reporter = || {
        let children = tlssrv_testing::proc::children(server.pid()).into_iter();
        let mut names = children.filter_map(tlssrv_testing::proc::name);
        names.all(|name| name != "tlssrv-metrics").then_some(())
    };
    eventually("the reporter is gone", reporter);
    assert_eq!(reload(&server, &one), Some(0));
    // The line with the address may come after the end of the reload.
    eventually("metrics have a TCP address again", || {
        let lines = server.lines();
        let tcp = |line: &&String| line.contains("notice metrics at 127.0.0.1:");
        (lines.iter().filter(tcp).count() == 2).then_some(())
    });
    assert_eq!(
        scrape(&server).value("tlssrv_reloads_total{result=\"ok\"}"),
        3.0
    );
}

#[test]
fn a_reload_to_an_address_in_use_keeps_the_old_one() {
    let one = table("", &[("a.example", CAT)]);
    let server = Server::with_config(&one);
    let first = address(&server);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let two = one.replacen("127.0.0.1:0", &taken.local_addr().unwrap().to_string(), 1);
    assert_eq!(reload(&server, &two), Some(96));
    assert_eq!(address(&server), first);
    assert_eq!(get(&server, "/readyz").status, 200);
}

#[test]
fn an_engine_that_is_killed_is_counted_and_the_server_is_ready_again() {
    let server = Server::with_config(&table("engines = 1", &[("a.example", CAT)]));
    let before = scrape(&server);
    assert_eq!(
        (before.value(RESTARTED), before.value("tlssrv_engines")),
        (0.0, 1.0)
    );
    for count in 1..=2 {
        let mut client = server.connect("a.example");
        client.echoes();
        kill(server.engines()[0], Signal::SIGKILL).unwrap();
        let after = wait_for(&server, RESTARTED, f64::from(count));
        drop(client);
        assert_eq!(after.value("tlssrv_ready"), 1.0);
        let lost = "tlssrv_connections_total{host=\"a.example\",outcome=\"reset\"}";
        wait_for(&server, lost, f64::from(count));
    }
    assert_eq!(get(&server, "/readyz").status, 200);
}

#[test]
fn a_server_without_engines_is_healthy_and_not_ready() {
    let server = Server::with_config(&table("engines = 1", &[("a.example", CAT)]));
    // The process that answers has its own name then, and is no engine.
    assert_eq!(get(&server, "/readyz").status, 200);
    // Each early death delays the next engine.
    let answer = eventually("it has no engine for a while", || {
        for engine in server.engines() {
            let _ = kill(engine, Signal::SIGKILL);
        }
        Some(get(&server, "/readyz")).filter(|answer| answer.status == 503)
    });
    assert_eq!(answer.body, "no engine\n");
    assert_eq!(get(&server, "/healthz").status, 200);
    wait_for(&server, "tlssrv_ready", 1.0);
}

#[test]
fn a_stuck_engine_delays_a_scrape_only_briefly() {
    let server = Server::with_config(&table("engines = 1", &[("a.example", CAT)]));
    let mut client = server.connect("a.example");
    client.echoes();
    let engine = server.engines()[0];
    kill(engine, Signal::SIGSTOP).unwrap();
    let open = "tlssrv_connections_open{host=\"a.example\"}";
    assert_eq!(scrape(&server).value(open), 1.0);
    assert_eq!(get(&server, "/healthz").status, 200);
    kill(engine, Signal::SIGCONT).unwrap();
    client.echoes();
    wait_for(
        &server,
        "tlssrv_received_bytes_total{host=\"a.example\"}",
        12.0,
    );
    assert_eq!(server.engines(), [engine]);
}

#[test]
fn a_server_that_stops_is_healthy_and_not_ready_until_its_last_connection_ends() {
    let mut server = Server::with_config(&table("", &[("a.example", CAT)]));
    let mut client = server.connect("a.example");
    client.echoes();
    assert_eq!(get(&server, "/readyz").status, 200);
    server.signal(Signal::SIGTERM);
    let answer = eventually("it is not ready", || {
        Some(get(&server, "/readyz")).filter(|answer| answer.status == 503)
    });
    assert_eq!(answer.body, "stopping\n");
    assert_eq!(get(&server, "/healthz").status, 200);
    let stopping = scrape(&server);
    assert_eq!(stopping.value("tlssrv_ready"), 0.0);
    assert_eq!(
        stopping.value("tlssrv_connections_open{host=\"a.example\"}"),
        1.0
    );
    client.close_notify();
    client.read_to_end();
    assert!(server.wait().success());
}
