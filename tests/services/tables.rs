//! A configuration with several hosts under each superserver: SNI works there, too.

use std::fs;
use std::io::Write;

use rustls::AlertDescription;

use crate::supers::{self, At, Start, Super};
use tlssrv_testing::pki::KeyType;
use tlssrv_testing::{Client, Dial, Line, Site, Socket, eventually};

#[test]
fn tcpserver_serves_a_table() {
    serves_a_table(supers::tcpserver);
}

#[test]
fn openbsd_inetd_serves_a_table() {
    serves_a_table(supers::inetd);
}

#[test]
fn xinetd_serves_a_table() {
    serves_a_table(supers::xinetd);
}

#[test]
fn s6_tcpserver_serves_a_table() {
    serves_a_table(supers::s6_tcpserver);
}

#[test]
fn s6_ipcserver_serves_a_table() {
    serves_a_table(supers::s6_ipcserver);
}

#[test]
fn systemd_serves_a_table() {
    serves_a_table(supers::systemd);
}

#[test]
fn no_superserver_explains_a_wrong_configuration_to_the_client() {
    for start in supers::ALL {
        let site = Site::new().with_file("tlssrv.toml", "[[host]]\nnames = 5\n");
        let Some(server) = start(&site) else { continue };
        let mut socket = server.connect();
        // inetd may close before it has read; then this end gets a reset.
        let _ = socket.write_all(b"what is wrong?");
        let (said, _) = socket.read_to_end();
        assert_eq!(String::from_utf8_lossy(&said), "", "{}", server.name);
        server.wait_for_status(96, 1);
    }
}

#[test]
fn the_default_host_serves_clients_without_a_name_and_with_an_unknown_one() {
    for start in supers::ALL {
        let site = site("\"default\"", "\"default\"");
        let Some(server) = start(&site) else { continue };
        for (count, name) in (1..).zip(["", "nobody.example"]) {
            let mut client = Dial::new().over(server.connect(), name);
            client.send(b"\n");
            assert!(client.read_line().starts_with("wild "), "{}", server.name);
            client.read_close_notify();
            drop(client);
            server.wait_for_status(7, count);
        }
    }
}

#[test]
fn a_command_with_inherited_standard_error_does_not_write_to_the_client() {
    // The superservers that make the connection descriptor 2, too.
    for start in [supers::inetd, supers::xinetd] {
        let site = site("\"default\"", "\"default\"");
        let table = fs::read_to_string(site.file("tlssrv.toml")).unwrap();
        let inherits = table.replace("[[host]]", "[[host]]\nstderr = \"inherit\"");
        let site = site.with_file("tlssrv.toml", &inherits);
        let Some(server) = start(&site) else { continue };
        let mut client = Dial::new().over(server.connect(), "a.example");
        client.send(b"\n");
        assert!(client.read_line().starts_with("exact "), "{}", server.name);
        let rest = client.read_to_end();
        rest.assert_whole(b"");
        drop(client);
        server.wait_for_status(5, 1);
        let log = fs::read_to_string(site.file("log")).unwrap();
        assert!(!log.contains("oops"), "{log}");
    }
}

/// Fails unless the hosts are served as they must be under any superserver.
fn serves_a_table(start: Start) {
    let site = site("\"reject\"", "\"reject\"");
    let Some(server) = start(&site) else { return };

    // The names, the certificates and the commands belong together.
    for (name, cert, host, (status, count)) in [
        ("a.example", "exact.pem", "exact host=a.example", (5, 1)),
        (
            "b.wild.example",
            "wild.pem",
            "wild host=*.wild.example",
            (7, 1),
        ),
        ("A.Example", "exact.pem", "exact host=a.example", (5, 2)),
    ] {
        let mut client = Dial::new().over(server.connect(), name);
        assert_eq!(client.certificate(), site.certificate(cert), "{name}");
        assert_told(&mut client, &server, name, host);
        let rest = client.read_to_end();
        rest.assert_whole(b"");
        drop(client);
        server.wait_for_status(status, count);
    }

    // A refused client gets an alert, and only TLS.
    for (name, alert, count) in [
        ("nobody.example", AlertDescription::UnrecognisedName, 1),
        ("", AlertDescription::MissingExtension, 2),
    ] {
        let alone = [21, 3, 3, 0, 2, 2, u8::from(alert)];
        assert_eq!(answer_to_hello(server.connect(), name), alone, "{name}");
        server.wait_for_status(98, count);
    }

    let lines = connection_lines(&site, 5);
    let hosts: Vec<Option<&str>> = lines.iter().map(|line| line.get("host")).collect();
    let (exact, wild) = (Some("a.example"), Some("*.wild.example"));
    assert_eq!(hosts, [exact, wild, exact, None, None]);
    // The standard error of the commands went where the configuration says, not to descriptor 2.
    let log = fs::read_to_string(site.file("log")).unwrap();
    assert_eq!(log.matches("oops").count(), 3, "{log}");
}

/// Two hosts whose commands print their variables, and write to standard error.
fn site(unknown_name: &str, missing_name: &str) -> Site {
    let command = |host: &str, status: u8| {
        let script = format!(
            "#!/bin/sh\nread -r line\necho oops >&2\necho \"{host} {TOLD}\"\nexit {status}\n"
        );
        (format!("{host}.sh"), script)
    };
    let table = format!(
        r#"
        [log]
        to = "./log"
        [[listen]]
        address = "[::]:1"
        unknown-name = {unknown_name}
        missing-name = {missing_name}
        [[host]]
        names = ["a.example"]
        cert = ["exact.pem"]
        command = ["./exact.sh"]
        allow-root = true
        [[host]]
        names = ["*.wild.example"]
        default = true
        cert = ["wild.pem"]
        command = ["./wild.sh"]
        allow-root = true
        "#
    );
    let site = Site::new()
        .with_certificate("exact", &["a.example"], KeyType::Ecdsa)
        .with_certificate("wild", &["*.wild.example"], KeyType::Rsa)
        .with_file("tlssrv.toml", &table);
    for (name, script) in [command("exact", 5), command("wild", 7)] {
        site.write_program(&name, &script);
    }
    site
}

/// What a command prints of its environment.
const TOLD: &str = "host=$TLSSRV_HOST sni=$SSL_TLS_SNI/$SSL_TLS_SNI_SERVERNAME $SSL_PROTOCOL $PROTO \
    from=$TCPREMOTEIP:$TCPREMOTEPORT to=$TCPLOCALIP:$TCPLOCALPORT \
    cgi=$REMOTE_ADDR:$REMOTE_PORT/$REMOTE_HOST stale=$SSL_CLIENT_S_DN$TCPREMOTEINFO$IPCREMOTEPATH";

/// Fails unless the command has the variables of this connection and no stale ones.
fn assert_told(client: &mut Client, server: &Super, name: &str, host: &str) {
    let addresses = match &server.at {
        At::Unix(_) => "UNIX from=: to=: cgi=:/".to_owned(),
        At::Tcp(local) => {
            let remote = client.socket.local_address();
            let ip = remote.ip();
            format!("TCP from={remote} to={local} cgi={remote}/{ip}")
        }
    };
    let name = name.to_ascii_lowercase();
    let expected = format!("{host} sni={name}/{name} TLSv1.3 {addresses} stale=");
    client.send(b"\n");
    assert_eq!(client.read_line(), expected, "{}", server.name);
}

/// Every byte that comes after a ClientHello for this name.
fn answer_to_hello(socket: Socket, name: &str) -> Vec<u8> {
    let mut client = Dial::new().start(socket, name);
    client.flush().unwrap();
    let (bytes, _) = client.socket.read_to_end();
    bytes
}

/// The log lines, once there is this number of connections.
fn connection_lines(site: &Site, count: usize) -> Vec<Line> {
    eventually("a line for each connection", || {
        let log = fs::read_to_string(site.file("log")).ok()?;
        let lines = log.lines().map(Line::parse).filter(Line::is_connection);
        let lines: Vec<Line> = lines.collect();
        (lines.len() == count).then_some(lines)
    })
}
