//! Passed sockets during reloads and at the end.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::start::{Start, both, hosts, listener};
use tlssrv_testing::programs::run;
use tlssrv_testing::{Client, Server, proc, tlssrv_path};

/// Reloads with this configuration; returns the exit status and the output.
fn reload(server: &Server, table: &str) -> (Option<i32>, String) {
    fs::write(server.site.file("tlssrv.toml"), table).unwrap();
    let mut command = Command::new(tlssrv_path());
    let command = command
        .args(["--reload", "-f", "tlssrv.toml"])
        .current_dir(server.site.path());
    let ran = run(command);
    (ran.status.code(), ran.stderr)
}

fn table(sockets: &[&str], says: &str) -> String {
    let listen = |name: &&str| format!("[[listen]]\nsystemd = \"{name}\"\n");
    let listeners: String = sockets.iter().map(listen).collect();
    listeners + &hosts(&[("a.example", says)])
}

#[test]
fn a_reload_keeps_drops_and_takes_up_passed_sockets() {
    let (one, two) = (listener(), listener());
    let addresses = [one.local_addr().unwrap(), two.local_addr().unwrap()];
    let start = Start::default()
        .passing("one", both(&one))
        .passing("two", both(&two));
    let server = start.serves(&table(&["one", "two"], "first"));
    // systemd would keep them open; here only the server does.
    drop((one, two));
    let says =
        |place: usize| Client::word(TcpStream::connect(addresses[place]).unwrap(), "a.example");
    assert_eq!((says(0), says(1)), ("first".into(), "first".into()));

    assert_eq!(reload(&server, &table(&["two"], "second")).0, Some(0));
    assert_eq!(says(1), "second");
    server.wait_for_line("it is dropped", |line| {
        line.ends_with(&format!("no longer listening on {}", addresses[0]))
    });
    // A client that connects now waits, as under systemd, until the socket is taken up again.
    let early = TcpStream::connect(addresses[0]).unwrap();
    let (status, _) = reload(&server, &table(&["two", "one"], "third"));
    assert_eq!(status, Some(0));
    assert_eq!(Client::word(early, "a.example"), "third");
    assert_eq!((says(0), says(1)), ("third".into(), "third".into()));
}

#[test]
fn a_name_that_was_not_passed_is_refused_with_its_line() {
    let socket = listener();
    let server = Start::default()
        .passing("one", both(&socket))
        .serves(&table(&["one"], "first"));
    let (status, stderr) = reload(&server, &table(&["two"], "second"));
    assert_eq!(status, Some(96));
    assert!(
        stderr
            .contains("tlssrv.toml:2: unable to listen on it: no socket called \"two\" was passed"),
        "{stderr}"
    );
    assert_eq!(server.connect("a.example").read_line(), "first");
}

/// A socket that systemd has open, too, stays in an epoll set that it is not taken out of.
#[test]
fn a_draining_server_leaves_new_clients_of_a_passed_socket_to_its_successor() {
    let socket = listener();
    let mut server = Start::default()
        .passing("one", both(&socket))
        .serves(&table(&["one"], "first"));
    let mut client = server.connect("a.example");
    assert_eq!(client.read_line(), "first");
    server.signal(Signal::SIGTERM);
    server.wait_for_line("it drains", |line| line.contains("no more clients"));
    let next = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let ticks = || proc::stat(server.pid()).unwrap().ticks;
    let before = ticks();
    // Long enough to see a busy loop; the process sleeps.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(ticks() - before < 10);
    drop(client);
    assert_eq!(server.wait().code(), Some(0));

    let successor = Start::default()
        .passing("one", both(&socket))
        .serves(&table(&["one"], "second"));
    assert_eq!(Client::word(next, "a.example"), "second");
    drop(successor);
}
