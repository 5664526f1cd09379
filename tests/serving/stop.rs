//! Stopping: TERM and INT drain, a second signal ends.

use nix::sys::signal::Signal;

use crate::common::{Ended, Server};

#[test]
fn term_stops_an_idle_server_with_status_0() {
    let mut server = Server::of(&["cat"]);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_connection_that_runs_goes_on_to_its_end_after_term_and_int() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::of(&["cat"]);
        let mut client = server.connect("a.example");
        client.send(b"before\n");
        assert_eq!(client.read_line(), "before");
        server.signal(signal);
        server.wait_for_line("it drains", |line| line.contains("no more clients"));
        client.send(b"after\n");
        assert_eq!(client.read_line(), "after");
        client.close_notify();
        assert_eq!(client.read_to_end().ended, Ended::CloseNotify);
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!(server.wait_for_connection().value("end"), "closed");
    }
}
