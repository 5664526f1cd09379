//! Stopping: SIGTERM and SIGINT drain, a second signal ends at once.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use tlssrv_testing::{Client, Dial, Ended, Host, Server, Socket, eventually, proc};

/// Sends the signal, and waits until the server drains.
fn drain(server: &Server, signal: Signal) {
    server.signal(signal);
    server.wait_for_line("it drains", |line| line.contains("no more clients"));
}

#[test]
fn a_signal_stops_an_idle_server_with_status_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::of(&["cat"]);
        let engines = server.engines();
        assert!(!engines.is_empty());
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        eventually("the engines leave", || {
            engines.iter().all(|pid| !proc::runs(*pid)).then_some(())
        });
    }
}

#[test]
fn an_open_connection_goes_on_to_its_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::of(&["cat"]);
        let mut client = server.connect("a.example");
        client.echoes();
        drain(&server, signal);
        client.echoes();
        client.close();
        // Both sides have sent close_notify, but the client has not closed its socket.
        assert_eq!(server.wait().code(), Some(0));
        let line = server.wait_for_connection();
        assert_eq!((line.value("end"), line.value("exit")), ("closed", "0"));
    }
}

#[test]
fn no_connection_is_accepted_while_draining() {
    // An address that no other test uses, so that its port stays free after it is closed.
    let mut server = Server::start(&["--listen", "127.78.0.1:0", "-c", "cert.pem", "cat"]);
    let mut client = server.connect("");
    client.echoes();
    drain(&server, Signal::SIGTERM);
    let refused = TcpStream::connect(server.address());
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    client.close();
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_handshake_in_progress_is_completed_and_served() {
    let mut server = Server::of(&["cat"]);
    let mut started = Dial::new().start(Socket::connect(server.address()), "a.example");
    // Once the server has answered, it has accepted.
    started.flush().unwrap();
    started.tls.read_tls(&mut started.socket).unwrap();
    drain(&server, Signal::SIGTERM);
    started.tls.process_new_packets().unwrap();
    while started.tls.is_handshaking() || started.tls.wants_write() {
        started.tls.complete_io(&mut started.socket).unwrap();
    }
    started.echoes();
    started.close();
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(server.wait_for_connection().value("end"), "closed");
}

#[test]
fn every_connection_of_a_drain_has_its_log_line() {
    const COUNT: usize = 100;
    let mut server = Server::of(&["cat"]);
    let mut clients: Vec<Client> = (0..COUNT).map(|_| server.connect("")).collect();
    clients.iter_mut().for_each(Client::echoes);
    drain(&server, Signal::SIGTERM);
    clients.iter_mut().for_each(Client::close_notify);
    for client in &mut clients {
        client.read_close_notify();
    }
    assert_eq!(server.wait().code(), Some(0));
    let lines = server.wait_for_connections(COUNT);
    assert_eq!(lines.len(), COUNT);
    for line in lines {
        assert_eq!((line.value("end"), line.number("in")), ("closed", 6));
    }
}

#[test]
fn a_drain_uses_no_cpu_while_nothing_happens() {
    let server = Host {
        top: "engines = 4",
        command: &["cat"],
        ..Host::default()
    }
    .start();
    let mut client = server.connect("");
    client.echoes();
    drain(&server, Signal::SIGTERM);
    eventually("idle engines leave", || {
        (server.engines().len() == 1).then_some(())
    });
    let wakeups = || -> u64 {
        let switches = proc::status(server.pid(), "voluntary_ctxt_switches").unwrap();
        switches.parse().unwrap()
    };
    let before = wakeups();
    // A busy loop would show within this time, and nothing else happens in it.
    std::thread::sleep(Duration::from_millis(500));
    let after = wakeups();
    assert!(after - before < 50, "it woke up {} times", after - before);
    client.echoes();
}

#[test]
fn a_second_signal_ends_open_connections_with_status_0() {
    for (first, second) in [
        (Signal::SIGTERM, Signal::SIGTERM),
        (Signal::SIGINT, Signal::SIGTERM),
        (Signal::SIGTERM, Signal::SIGINT),
    ] {
        let mut server = Server::of(&["cat"]);
        let mut client = server.connect("");
        client.echoes();
        drain(&server, first);
        client.echoes();
        server.signal(second);
        assert_ne!(client.read_to_end().ended, Ended::CloseNotify);
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!(server.wait_for_connection().value("end"), "reset");
    }
}

#[test]
fn a_second_signal_ends_commands_that_do_not_read() {
    let mut server = Server::of(&["sh", "-c", "echo ready; exec sleep 100"]);
    let mut client = server.connect("");
    assert_eq!(client.read_line(), "ready");
    let commands = server.commands();
    assert_eq!(commands.len(), 1);
    drain(&server, Signal::SIGTERM);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(server.wait_for_connection().value("exit"), "SIGTERM");
    eventually("the command is gone", || {
        (!proc::runs(commands[0])).then_some(())
    });
}

#[test]
fn a_second_signal_does_not_wait_for_a_command_that_ignores_it() {
    // Its client has gone already; without the signal its line would be written after a minute of linger.
    let script =
        "trap '' TERM; echo ready; cat; i=0; while test $i -lt 20; do sleep 1; i=$((i+1)); done";
    let mut server = Server::of(&["sh", "-c", script]);
    let mut client = server.connect("");
    assert_eq!(client.read_line(), "ready");
    let mut other = server.connect("");
    assert_eq!(other.read_line(), "ready");
    client.socket.reset();
    // The engine has noticed that once it has served the second connection after it.
    other.echoes();
    drain(&server, Signal::SIGTERM);
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(server.wait_for_connections(2).len(), 2);
}
