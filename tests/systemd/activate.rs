//! systemd-socket-activate, which passes sockets as systemd does.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use crate::start::hosts;
use tlssrv_testing::programs::{Daemon, missing, program};
use tlssrv_testing::{Client, Site, Socket, eventually, tlssrv_path};

fn activate(site: &Site, args: &[&str], server: &[&str]) -> Daemon {
    let mut command: Command = program("systemd-socket-activate");
    command.current_dir(site.path()).args(args);
    command.arg("--listen").arg(site.file("socket"));
    command.arg(tlssrv_path()).args(server);
    Daemon::silent(&mut command)
}

fn connect(path: &Path) -> Socket {
    // systemd-socket-activate binds the socket, and starts tlssrv for the first client.
    eventually("it listens", || UnixStream::connect(path).ok()).into()
}

fn table() -> String {
    let hosts = hosts(&[("a.example", "one"), ("b.wild.example", "two")]);
    format!("[[listen]]\nsystemd = \"tls\"\n{hosts}")
}

fn assert_serves_by_name(site: &Site) {
    let path = site.file("socket");
    assert_eq!(Client::word(connect(&path), "a.example"), "one");
    assert_eq!(Client::word(connect(&path), "b.wild.example"), "two");
    assert_eq!(Client::word(connect(&path), "a.example"), "one");
}

#[test]
fn socket_activate_passes_the_listening_socket_to_a_server() {
    if missing(&["systemd-socket-activate"]) {
        return;
    }
    let site = Site::new().with_file("tlssrv.toml", &table());
    let _activate = activate(&site, &["--fdname=tls"], &["-f", "tlssrv.toml"]);
    assert_serves_by_name(&site);
}

#[test]
fn socket_activate_starts_one_tlssrv_for_each_connection() {
    if missing(&["systemd-socket-activate"]) {
        return;
    }
    let site = Site::new().with_file("tlssrv.toml", &table());
    let arguments = ["-f", "tlssrv.toml", "--inetd"];
    let _activate = activate(&site, &["--inetd", "--accept"], &arguments);
    assert_serves_by_name(&site);
}
