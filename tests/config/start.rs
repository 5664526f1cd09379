//! `--check` tries what a start would do beside reading the table: open the log, and listen.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use tlssrv_testing::socket::free_address;
use tlssrv_testing::{Server, Site as Running};

use crate::site::{Outcome, Site, host, skipped_as_root, with_host};

/// A table with one host that listens at this address, and one more line at the top.
fn listening(top: &str, address: &str) -> String {
    let listen = format!("[[listen]]\naddress = \"{address}\"\n");
    format!("{top}\n{listen}{}", host("a.example"))
}

/// Fails unless a start says this, with exit status 97, and `--check` the same.
#[track_caller]
fn cannot_start(site: &Site, text: &str, why: &str) {
    for args in [&["--check"][..], &[]] {
        let outcome = site.run_with(text, args);
        let Outcome { status, stderr, .. } = &outcome;
        assert_eq!(*status, Some(97), "{args:?}: {}{stderr}", outcome.stdout);
        assert!(
            stderr.contains(&format!("tlssrv: {why}")),
            "{args:?}: {stderr}"
        );
        assert!(!outcome.stdout.contains("ok"), "{}", outcome.stdout);
    }
}

#[test]
fn an_address_in_use_is_found() {
    let site = Site::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let why = format!("unable to listen on {address}: Address already in use");
    cannot_start(&site, &listening("", &address), &why);
    let metrics = format!("[metrics]\nlisten = \"{address}\"\n{}", with_host(""));
    cannot_start(&site, &metrics, &why);
    // Of a command line, too.
    let args = [
        "--listen",
        &address,
        "--self-signed",
        "a.example",
        "--check",
        "cat",
    ];
    let outcome = site.run(&args);
    assert_eq!(outcome.status, Some(97), "{}", outcome.stderr);
    drop(other);
    site.check(&listening("", &address)).is_fine();
    site.check(&metrics).is_fine();
}

#[test]
fn a_path_in_use_is_found() {
    let site = Site::new();
    let in_use = |path: &str| format!("unable to listen on unix:{path}: ");
    let path = site.path().join("socket").to_str().unwrap().to_owned();
    let text = listening("", "unix:./socket");
    let live = UnixListener::bind(&path).unwrap();
    cannot_start(
        &site,
        &text,
        &in_use(&site.path().join("./socket").display().to_string()),
    );
    // A dead server has left it there, and a start removes it.
    drop(live);
    site.check(&text).is_fine();
    assert!(
        fs::symlink_metadata(&path).is_ok(),
        "a check removes nothing"
    );
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    cannot_start(&site, &text, "unable to listen on unix:");
    cannot_start(
        &site,
        &listening("", "unix:./none/socket"),
        "unable to listen on unix:",
    );
}

#[test]
fn an_address_that_this_machine_does_not_have_is_found() {
    let why = "unable to listen on 192.0.2.1:993: Cannot assign requested address";
    cannot_start(&Site::new(), &listening("", "192.0.2.1:993"), why);
}

#[test]
fn a_log_that_cannot_be_opened_is_found() {
    let site = Site::new();
    let text = listening("[log]\nto = \"none/log\"", "127.0.0.1:0");
    let path = site.path().join("none/log");
    let why = format!(
        "unable to open the log {}: No such file or directory",
        path.display()
    );
    cannot_start(&site, &text, &why);
    let text = listening("[log]\nto = \"./log\"", "127.0.0.1:0");
    site.check(&text).is_fine();
    assert!(!site.path().join("log").exists(), "a check makes no file");
}

#[test]
fn a_port_that_only_root_may_have_is_found() {
    let ports = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if skipped_as_root() || ports.trim() == "0" {
        return;
    }
    let why = "unable to listen on 127.0.0.1:1: Permission denied";
    cannot_start(&Site::new(), &listening("", "127.0.0.1:1"), why);
}

/// A server with its table, which a check tries, too.
fn running(addresses: &[String]) -> Server {
    let listen = addresses
        .iter()
        .map(|address| format!("[[listen]]\naddress = \"{address}\"\n"));
    let table = format!(
        "[metrics]\nlisten = \"unix:./metrics\"\n{}[[host]]\ndefault = true\ncert = [\"cert.pem\"]\n\
         command = [\"cat\"]\nallow-root = true\n",
        listen.collect::<String>()
    );
    Server::with_config_in(Running::new(), &table)
}

/// What a check says of a table of a server; its exit status.
fn check(server: &Server, table: &str) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(tlssrv_testing::tlssrv_path());
    command
        .args(["--check", "-f", table])
        .current_dir(server.site.path());
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn addresses_of_the_server_that_runs_with_the_table_are_free() {
    let address = free_address();
    let server = running(&[address.to_string(), "unix:./socket".to_owned()]);
    let (status, said) = check(&server, "tlssrv.toml");
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("tlssrv: "), "{said}");
    server.connect("").close();
    // The check has made no connection of its own.
    server.wait_for_connection();

    // Another table has to find another address.
    let text = fs::read_to_string(server.site.file("tlssrv.toml")).unwrap();
    fs::write(server.site.file("other.toml"), &text).unwrap();
    let (status, said) = check(&server, "other.toml");
    assert_eq!(status, Some(97), "{said}");
    for in_use in [
        format!("on {address}: Address already in use"),
        "/socket: ".into(),
        "/metrics: ".into(),
    ] {
        assert!(said.contains(&in_use), "{in_use}: {said}");
    }

    // A restart can take all addresses of the port, a reload cannot.
    let all = text.replace(&address.to_string(), &format!("0.0.0.0:{}", address.port()));
    fs::write(server.site.file("tlssrv.toml"), all).unwrap();
    let (status, said) = check(&server, "tlssrv.toml");
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.contains("tlssrv: warning: ") && said.contains(&format!("listens on {address}")),
        "{said}"
    );
}
