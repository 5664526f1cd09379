//! Messages of `listen1` about wrong addresses and flags.

use std::os::unix::process::CommandExt;

use crate::{listen1, path_of};
use tlssrv_testing::Site;
use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{missing, run};

#[test]
fn a_wrong_address_is_an_error_with_its_reason() {
    for (address, wrong) in [
        ("tcp", "not network!host!service"),
        ("tcp!993", "not network!host!service"),
        ("tcp!a!b!c", "more than network!host!service"),
        ("il!*!993", "no network il, only tcp and net"),
        ("!*!993", "no network , only tcp and net"),
        (
            "/net.alt/tcp!*!993",
            "no network /net.alt/tcp, only tcp and net",
        ),
        ("tcp!*!", "no service"),
        (
            "tcp!*!no-such-service",
            "no service no-such-service in /etc/services",
        ),
        ("tcp!*!-1", "no service -1 in /etc/services"),
        ("tcp!*!993x", "no service 993x in /etc/services"),
        ("tcp!*!0", "no port 0"),
        ("tcp!*!65536", "no port 65536"),
        ("tcp!*!99999999999999999999", "no port 99999999999999999999"),
        ("tcp!!993", "no host"),
        (
            "tcp!no.such.host.invalid!993",
            "no host no.such.host.invalid",
        ),
        ("tcp!-h!993", "no host -h"),
    ] {
        let ran = run(&mut listen1(&Site::new(), &["-t", address, "true"]));
        assert_eq!(ran.status.code(), Some(100), "{address}");
        assert_eq!(
            ran.stderr,
            format!("listen1: bad address {address}: {wrong}\n")
        );
    }
}

#[test]
fn wrong_usage_is_answered_with_the_usage() {
    for args in [
        &[][..],
        &["tcp!*!993"],
        &["-z", "tcp!*!993", "true"],
        &["-p"],
        &["-p", "many", "tcp!*!993", "true"],
        &["-p", "", "tcp!*!993", "true"],
    ] {
        let ran = run(&mut listen1(&Site::new(), args));
        assert_eq!(ran.status.code(), Some(100), "{args:?}");
        assert_eq!(
            ran.stderr,
            "usage: listen1 [-tv] [-p maxprocs] address cmd [args...]\n"
        );
    }
}

#[test]
fn without_tcpserver_and_socat_the_error_names_them() {
    let site = Site::new();
    let path = path_of(&site, &["sh", "sed", "getent", "id", "grep"]);
    for (address, wanted) in [
        (
            "tcp!*!993",
            "neither tcpserver (ucspi-tcp) nor socat is here",
        ),
        (
            "tcp!::1!993",
            "IPv6 needs socat, or the tcpserver of ucspi-tcp-ipv6",
        ),
    ] {
        let ran = run(listen1(&site, &["-t", address, "true"]).env("PATH", &path));
        assert_eq!(ran.status.code(), Some(97), "{}", ran.stderr);
        assert_eq!(ran.stderr, format!("listen1: {wanted}\n"));
    }
}

#[test]
fn without_root_the_error_asks_for_trust() {
    let site = Site::new();
    let mut listen1 = listen1(&site, &["tcp!*!993", "cmd"]);
    if is_root() {
        listen1.uid(65534).gid(65534);
    }
    let ran = run(&mut listen1);
    assert_eq!(ran.status.code(), Some(97));
    let said = "listen1: only root can become nobody; -t runs cmd as ";
    assert!(ran.stderr.starts_with(said), "{}", ran.stderr);
}

#[test]
fn a_port_in_use_is_an_error() {
    for tool in ["tcpserver", "socat"] {
        if missing(&[tool]) {
            continue;
        }
        let site = Site::new();
        let path = path_of(&site, &["sh", "sed", "getent", "id", "grep", tool]);
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let address = format!("tcp!127.0.0.1!{port}");
        let ran = run(listen1(&site, &["-t", &address, "true"]).env("PATH", &path));
        assert!(!ran.status.success());
        let said = ran.stderr.to_lowercase();
        assert!(said.contains("address already"), "{said}");
    }
}
