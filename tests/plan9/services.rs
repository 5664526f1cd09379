//! `listen`, and the service files that it runs.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use crate::{Listening, call_port, compat, line, rest};
use tlssrv_testing::account::{is_root, me, ordinary_user};
use tlssrv_testing::pki::{KeyType, write_secret};
use tlssrv_testing::programs::{find, missing, program, run, run_with};
use tlssrv_testing::socket::free_address;
use tlssrv_testing::{DEADLINE, Dial, Ended, Site, eventually, skip, tlssrv_path};

#[test]
fn every_service_has_a_test_here() {
    let files = fs::read_dir(compat("service")).unwrap();
    let names: BTreeSet<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let tested = ["tcp443", "tcp8444", "tcp993"].map(str::to_owned);
    assert_eq!(names, BTreeSet::from(tested));
}

#[test]
fn tcp443_is_a_table_of_hosts() {
    let site = Site::new().with_certificate("b", &["b.example"], KeyType::Ecdsa);
    let site = site.with_file(
        "tlssrv.toml",
        r#"
        [log]
        to = "./log"
        [[host]]
        names = ["a.example"]
        cert = ["cert.pem"]
        command = ["echo", "this is a"]
        allow-root = true
        [[host]]
        names = ["b.example"]
        cert = ["b.pem"]
        command = ["echo", "this is b"]
        allow-root = true
        "#,
    );
    let Some(Served { port, .. }) = &serve(&site, "tcp443") else {
        return;
    };
    for (name, cert, answer) in [
        ("a.example", "cert.pem", "this is a"),
        ("b.example", "b.pem", "this is b"),
    ] {
        let mut client = Dial::new().over(call_port(*port).into(), name);
        assert_eq!(client.certificate(), site.certificate(cert));
        assert_eq!(client.read_line(), answer);
        client.read_close_notify();
    }
    let refused = Dial::new().try_over(call_port(*port).into(), "c.example");
    let alert = Ended::Alert(rustls::AlertDescription::UnrecognisedName);
    assert_eq!(refused.err(), Some(alert));
}

#[test]
fn tcp993_is_imap() {
    let site = Site::new();
    fs::copy(site.file("cert.pem"), site.file("imap.pem")).unwrap();
    site.write_program("bin/imapd", "#!/bin/sh\necho '* OK hello'; exec cat\n");
    let Some(Served { port, log, .. }) = &serve(&site, "tcp993") else {
        return;
    };
    let mut client = Dial::new().over(call_port(*port).into(), "a.example");
    assert_eq!(client.read_line(), "* OK hello");
    client.send(b"a1 NOOP\n");
    assert_eq!(client.read_line(), "a1 NOOP");
    client.close();
    assert_logged(log, " imapd[");
}

#[test]
fn tcp8444_is_a_shell_for_clients_with_a_key() {
    if missing(&["openssl"]) {
        return;
    }
    let site = Site::new();
    let me = ordinary_user();
    let key = "00112233445566778899aabbccddeeff";
    write_secret(&site.file("clients.psk"), &format!("alice:{key}:{me}\n"));
    let Some(Served { port, log, .. }) = &serve(&site, "tcp8444") else {
        return;
    };
    // openssl does not try again.
    drop(call_port(*port));
    let mut openssl = program("openssl");
    openssl
        .args(["s_client", "-quiet", "-psk_identity", "alice", "-psk", key])
        .args(["-connect", &format!("127.0.0.1:{port}")]);
    let ran = run_with(
        &mut openssl,
        b"echo $TLSSRV_PSK_IDENTITY is $(id -un); exit\n",
    );
    assert_eq!(ran.text(), format!("alice is {me}\n"));
    assert_logged(log, " shell[");
}

#[test]
fn listen_runs_the_services_of_its_directories_and_ends_with_them() {
    if missing(&["tcpserver"]) {
        return;
    }
    let site = Site::new();
    let ports = [(); 6].map(|()| free_address().port());
    let [trusted, none, empty, plain, other, arguments] = ports;
    let who = "#!/bin/sh\nid -un\n";
    site.write_program(&format!("trusted/tcp{trusted}"), who);
    site.write_program(&format!("none/tcp{none}"), who);
    site.write_program(&format!("none/tcp{empty}"), "");
    site.write_program(&format!("none/tcp{plain}"), who);
    site.write_program(&format!("none/il{other}"), who);
    site.write_program(
        &format!("trusted/tcp{arguments}"),
        "#!/bin/sh\necho \"$@\"\n",
    );
    let not_executable = site.file(&format!("none/tcp{plain}"));
    fs::set_permissions(not_executable, fs::Permissions::from_mode(0o644)).unwrap();

    let mut listen = program(compat("listen").to_str().unwrap());
    listen
        .args(["-a", "127.0.0.1", "-t"])
        .arg(site.file("trusted"));
    let root = is_root();
    if root {
        listen.arg("-d").arg(site.file("none"));
    }
    let mut listening = Listening::start(&mut listen);
    let me = me().name;
    assert_eq!(rest(&mut call_port(trusted)), format!("{me}\n"));
    let said = line(&mut call_port(arguments));
    assert_eq!(said, format!("tcp{arguments} tcp"));
    if root {
        assert_eq!(rest(&mut call_port(none)), "nobody\n");
    }
    let listens = |port| TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok();
    assert!(![empty, plain, other].into_iter().any(listens));

    listening.terminate();
    let status = eventually("it ends", || listening.daemon.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(!ports.into_iter().any(listens));
}

#[test]
fn listen_says_why_it_has_nothing_to_do() {
    let site = Site::new();
    fs::create_dir(site.file("empty")).unwrap();
    let empty = site.file("empty").display().to_string();
    for (args, status, wanted) in [
        (&["-t", &empty][..], 97, "listen: no service for tcp\n"),
        (
            &["-t", "/no/such"],
            97,
            "listen: no directory /no/such\nlisten: no service for tcp\n",
        ),
        (&["tcp", "udp"], 100, USAGE),
        (&["-z"], 100, USAGE),
    ] {
        let ran = run(program(compat("listen").to_str().unwrap()).args(args));
        assert_eq!(ran.status.code(), Some(status), "{args:?}");
        assert_eq!(ran.stderr, wanted);
    }
    // A listener that cannot listen ends it, too.
    site.write_program("services/tcpx", "#!/bin/sh\n");
    let services = site.file("services").display().to_string();
    let ran = run(program(compat("listen").to_str().unwrap()).args(["-t", &services]));
    assert_eq!(ran.status.code(), Some(97));
    let wanted = "listen1: bad address tcp!*!x: no service x in /etc/services\n\
                  listen: no listener is left\n";
    assert_eq!(ran.stderr, wanted);
}

const USAGE: &str = "usage: listen [-p maxprocs] [-d srvdir] [-t trustsrvdir] [-a addr] [proto]\n";

/// A service at work.
struct Served {
    port: u16,
    /// The socket that is its `/dev/log`.
    log: UnixDatagram,
    _listening: Listening,
}

/// Has `listen` run one of the service files: on another port, and with the files of a site in place of those
/// in `/etc/tlssrv`, as users who adapt it do.
fn serve(site: &Site, service: &str) -> Option<Served> {
    if missing(&["tcpserver", "rc"]) {
        return None;
    }
    if !is_root() {
        skip("only root can have a /dev/log of its own");
        return None;
    }
    let port = free_address().port();
    let text = fs::read_to_string(compat(&format!("service/{service}"))).unwrap();
    assert_eq!(text.lines().next(), Some("#!/usr/bin/env rc"));
    let adapted = text.replace("/etc/tlssrv", site.path().to_str().unwrap());
    assert_ne!(adapted, text);
    site.write_program(&format!("service/tcp{port}"), &adapted);
    fs::create_dir_all(site.file("bin")).unwrap();
    symlink(tlssrv_path(), site.file("bin/tlssrv")).unwrap();
    let socket = site.file("log.sock");
    let log = UnixDatagram::bind(&socket).unwrap();
    log.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut listen = program("unshare");
    listen
        .args(["--mount", "sh", "-c", WITH_LOG])
        .args([socket, compat("listen")])
        .args(["-a", "127.0.0.1", "-t"])
        .arg(site.file("service"));
    Some(Served {
        port,
        log,
        _listening: Listening::start(with_rc(&mut listen, site)),
    })
}

/// Makes a `/dev` with what is needed and the log, and then becomes `listen`.
const WITH_LOG: &str = r#"
    mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && ln -s /proc/self/fd /dev/fd &&
        ln -s "$0" /dev/log && exec "$@"
"#;

/// Fails unless syslog gets a line of a connection that ended well, under this tag.
fn assert_logged(log: &UnixDatagram, tag: &str) {
    let mut datagram = [0; 4096];
    loop {
        let length = log.recv(&mut datagram).unwrap();
        let text = String::from_utf8_lossy(&datagram[..length]);
        assert!(text.contains(tag), "{text}");
        if text.contains(" end=closed") {
            return;
        }
    }
}

/// With the programs under test first in `PATH`, and rc last, as 9base wants it.
fn with_rc<'a>(command: &'a mut Command, site: &Site) -> &'a mut Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let rc = find("rc").unwrap().parent().unwrap().to_owned();
    let path = std::env::split_paths(&path);
    let all = std::iter::once(site.file("bin")).chain(path).chain([rc]);
    command.env("PATH", std::env::join_paths(all).unwrap())
}
