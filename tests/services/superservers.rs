//! tlssrv with one connection on descriptor 0, started by inetd, tcpserver or systemd.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{Daemon, missing, program};
use tlssrv_testing::{Client, Dial, Site, Socket, eventually, tlssrv_path};

#[test]
fn tcpserver_starts_tlssrv_for_each_connection() {
    if missing(&["tcpserver"]) {
        return;
    }
    let site = Site::new();
    let mut tcpserver = Daemon::start(
        program("tcpserver")
            .current_dir(site.path())
            .args(["-1", "-q", "-H", "-R", "-l", "localhost", "127.0.0.1", "0"])
            .args([tlssrv_path(), "-l", "./log", "-c", "cert.pem"])
            .args(["sh", "-c", "echo $TCPLOCALPORT; cat"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    );
    let mut port = String::new();
    let mut stdout = BufReader::new(tcpserver.0.stdout.take().unwrap());
    stdout.read_line(&mut port).unwrap();
    let port = port.trim_end();

    for _ in 0..2 {
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        let mut client = Client::connect(address, "a.example");
        assert_eq!(client.read_line(), port);
        assert_echoes(&mut client);
    }
    assert_logs(&site, 2);
}

#[test]
fn systemd_starts_tlssrv_for_each_connection() {
    if missing(&["systemd-socket-activate"]) {
        return;
    }
    let site = Site::new();
    let socket = site.file("socket");
    let _systemd = Daemon::silent(
        program("systemd-socket-activate")
            .current_dir(site.path())
            .args(["--inetd", "--accept", "--listen"])
            .arg(&socket)
            .args([tlssrv_path(), "-l", "./log", "-c", "cert.pem", "cat"]),
    );
    for _ in 0..2 {
        assert_echoes(&mut connect(&socket));
    }
    assert_logs(&site, 2);
}

#[test]
fn inetd_starts_tlssrv_for_each_connection_and_the_client_gets_only_tls() {
    if missing(&["inetd"]) {
        return;
    }
    if !is_root() {
        return tlssrv_testing::skip("inetd wants to be root");
    }
    let site = Site::new();
    let (at, socket) = (site.path().display(), site.file("socket"));
    // The command writes to standard error, which inetd makes the connection.
    let line = format!(
        "{} stream unix nowait root {} tlssrv -l {at}/log -c {at}/cert.pem {at}/command\n",
        socket.display(),
        tlssrv_path()
    );
    let site = site.with_file("inetd.conf", &line);
    site.write_program("command", "#!/bin/sh\necho oops >&2\nexec cat\n");
    let _inetd = Daemon::silent(program("inetd").arg("-i").arg(site.file("inetd.conf")));
    for _ in 0..2 {
        assert_echoes(&mut connect(&socket));
    }
    assert_logs(&site, 2);
}

fn connect(socket: &Path) -> Client {
    let stream = eventually("it listens", || {
        std::os::unix::net::UnixStream::connect(socket).ok()
    });
    Dial::new().over(Socket::from(stream), "a.example")
}

/// A line each way, and an orderly end. Anything but TLS on the connection would break it.
fn assert_echoes(client: &mut Client) {
    client.send(b"a line\n");
    assert_eq!(client.read_line(), "a line");
    client.close_notify();
    let rest = client.read_to_end();
    rest.assert_whole(b"");
}

/// Fails unless the log has a line for each connection and nothing else.
fn assert_logs(site: &Site, connections: usize) {
    let log = eventually("its log has a line for each connection", || {
        let log = fs::read_to_string(site.file("log")).ok()?;
        (log.matches(" end=closed\n").count() == connections).then_some(log)
    });
    assert_eq!(log.lines().count(), connections, "{log}");
}
