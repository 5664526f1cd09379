//! One connection on descriptor 0 whose client has a certificate.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;

use crate::setup::{Setup, s_client_at, table, value};
use tlssrv_testing::programs::{Ran, missing};
use tlssrv_testing::{Line, tlssrv_path};

/// Runs tlssrv for one connection: what the client gets, the exit status of tlssrv, and its log line.
fn one(setup: &Setup, who: &str) -> (Ran, Option<i32>, Line) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = Command::new(tlssrv_path());
    command
        .current_dir(setup.site.path())
        .args(["-f", "tlssrv.toml", "--inetd"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let served = thread::spawn(move || {
        let connection: OwnedFd = listener.accept().unwrap().0.into();
        // `command` holds the connection, and closes it when it is dropped here.
        command.stdin(connection).spawn().unwrap()
    });
    let ran = s_client_at(address, &setup.site, who, &[]);
    let ended = served.join().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    let line = said.lines().find(|line| line.contains("end="));
    (ran, ended.status.code(), Line::parse(line.unwrap()))
}

#[test]
fn one_connection_on_descriptor_0_asks_for_a_certificate() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let crl = setup.ca.crl(&[2], tlssrv_testing::pki::Valid::Now);
    fs::write(setup.site.file("crl.pem"), crl).unwrap();
    let lines = "client-auth = \"require\"\nclient-crl = \"crl.pem\"";
    let toml = table(lines).replace("engines = 1\n", "");
    fs::write(setup.site.file("tlssrv.toml"), toml).unwrap();

    let (ran, exit, line) = one(&setup, "alice");
    let text = ran.text();
    assert_eq!(value(&text, "SSL_CLIENT_VERIFY"), Some("SUCCESS"));
    assert_eq!(value(&text, "SSL_CLIENT_S_DN"), Some("CN=alice"));
    assert_eq!((exit, line.value("auth")), (Some(0), "mtls"));

    let (ran, exit, line) = one(&setup, "bob");
    assert!(
        ran.stderr.contains("SSL alert number 44\n"),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.is_empty());
    assert_eq!(exit, Some(98));
    let end = "handshake: the certificate of the client is refused: it is revoked: CN=bob";
    assert_eq!(line.value("end"), end);
}
