//! Reloading while clients connect: the new configuration is taken as a whole or not at all.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;

use crate::exhausted::{leave, soft_limit};
use tlssrv_testing::pki::{KeyType, certificate};
use tlssrv_testing::{Client, Dial, Server, Site, Socket, eventually, proc, programs, tlssrv_path};

/// A table of hosts (name, command and more lines) on one port.
fn table(top: &str, hosts: &[(&str, &str)]) -> String {
    let mut table = format!("{top}\n[[listen]]\naddress = \"127.0.0.1:0\"\n");
    for (name, lines) in hosts {
        let host = "cert = [\"cert.pem\"]\nallow-root = true";
        writeln!(table, "[[host]]\nnames = [\"{name}\"]\n{host}\n{lines}").unwrap();
    }
    table
}

fn echoing(word: &str) -> String {
    format!(r#"command = ["sh", "-c", "echo {word}; exec cat"]"#)
}

fn write(server: &Server, toml: &str) {
    fs::write(server.site.file("tlssrv.toml"), toml).unwrap();
}

/// `tlssrv --reload`, from the directory of the table.
fn reload(server: &Server) -> Output {
    let mut command = programs::program(tlssrv_path());
    command.args(["--reload", "-f", "tlssrv.toml"]);
    command.current_dir(server.site.path()).output().unwrap()
}

fn reloaded(server: &Server) {
    let output = reload(server);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.ends_with("tlssrv: reloaded\n"), "{stderr}");
}

/// What the host's command says first.
fn word(address: SocketAddr, name: &str) -> String {
    Client::word(Socket::connect(address), name)
}

#[test]
fn sighup_takes_new_hosts_and_commands_and_open_connections_stay() {
    let server = Server::with_config(&table("", &[("a.example", &echoing("one"))]));
    let mut old = server.connect("a.example");
    assert_eq!(old.read_line(), "one");
    let before = server.engines();
    let hosts = [
        ("a.example", echoing("two")),
        ("b.wild.example", echoing("three")),
    ];
    let hosts = hosts
        .each_ref()
        .map(|(name, lines)| (*name, lines.as_str()));
    write(&server, &table("", &hosts));
    server.signal(Signal::SIGHUP);
    server.wait_for_line("it has reloaded", |line| line.ends_with(" reloaded"));
    assert_eq!(word(server.address(), "a.example"), "two");
    assert_eq!(word(server.address(), "b.wild.example"), "three");
    old.echoes();
    old.close();
    eventually("the old engines leave", || {
        let now = server.engines();
        before.iter().all(|pid| !now.contains(pid)).then_some(())
    });
    proc::no_zombies(server.pid());
}

#[test]
fn a_certificate_behind_a_swapped_symlink_is_reloaded() {
    let names = ["a.example"];
    let site = Site::new()
        .with_certificate("one", &names, KeyType::Ecdsa)
        .with_certificate("two", &names, KeyType::Ecdsa);
    symlink("one.pem", site.file("live.pem")).unwrap();
    let host = "[[host]]\nnames = [\"a.example\"]\ncert = [\"live.pem\"]\ncommand = [\"cat\"]\nallow-root = true";
    let server = Server::with_config_in(
        site,
        &format!("[[listen]]\naddress = \"127.0.0.1:0\"\n{host}"),
    );
    let shown = || server.connect("a.example").certificate();
    assert_eq!(shown(), server.site.certificate("one.pem"));
    fs::remove_file(server.site.file("live.pem")).unwrap();
    symlink("two.pem", server.site.file("live.pem")).unwrap();
    assert_eq!(shown(), server.site.certificate("one.pem"));
    reloaded(&server);
    assert_eq!(shown(), server.site.certificate("two.pem"));
    certificate(&names).write_combined(&server.site.file("two.pem"));
    reloaded(&server);
    assert_eq!(shown(), server.site.certificate("two.pem"));
}

#[test]
fn a_wrong_configuration_is_reported_with_its_line_and_the_old_one_stays() {
    let server = Server::with_config(&table("", &[("a.example", &echoing("one"))]));
    let before = server.engines();
    write(
        &server,
        &table("engines = \"many\"", &[("a.example", &echoing("two"))]),
    );
    let output = reload(&server);
    assert_eq!(output.status.code(), Some(96));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("tlssrv.toml:1: "), "{stderr}");
    assert!(stderr.contains("  1 | engines = \"many\""), "{stderr}");
    assert!(
        stderr.ends_with("tlssrv: not reloaded: the old configuration stays\n"),
        "{stderr}"
    );
    server.wait_for_line("the mistake in the log", |line| {
        line.contains(" err ") && line.contains("tlssrv.toml:1: ")
    });
    assert_eq!(word(server.address(), "a.example"), "one");
    assert_eq!(server.engines(), before);
    write(&server, &table("", &[("a.example", &echoing("three"))]));
    reloaded(&server);
    assert_eq!(word(server.address(), "a.example"), "three");
}

#[test]
fn a_listener_on_an_address_in_use_fails_the_reload() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let one = table("", &[("a.example", &echoing("one"))]);
    let server = Server::with_config(&one);
    let more = format!("[[listen]]\naddress = \"{address}\"\n");
    write(
        &server,
        &format!("{}{more}", table("", &[("a.example", &echoing("two"))])),
    );
    let output = reload(&server);
    assert_eq!(output.status.code(), Some(96));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.contains(&format!("unable to listen on {address}")),
        "{stderr}"
    );
    assert_eq!(word(server.address(), "a.example"), "one");
}

#[test]
fn a_reload_adds_and_removes_listeners() {
    // An address that no other test uses, so that its port stays free after it is closed.
    let table = |word: &str| {
        table("", &[("a.example", &echoing(word))]).replace("127.0.0.1:0", "127.77.0.1:0")
    };
    let server = Server::with_config(&table("one"));
    let first = server.address();
    let more = "[[listen]]\naddress = \"unix:more.sock\"\n";
    write(&server, &format!("{}{more}", table("two")));
    reloaded(&server);
    assert_eq!(word(first, "a.example"), "two");
    let path = server.site.file("more.sock");
    let socket = tlssrv_testing::Socket::connect_unix(&path);
    assert_eq!(Dial::new().over(socket, "a.example").read_line(), "two");
    write(
        &server,
        &table("three").replace("127.77.0.1:0", "unix:more.sock"),
    );
    reloaded(&server);
    assert!(
        std::net::TcpStream::connect(first).is_err(),
        "{first} is closed"
    );
    let socket = tlssrv_testing::Socket::connect_unix(&path);
    assert_eq!(Dial::new().over(socket, "a.example").read_line(), "three");
    write(&server, &table("four"));
    reloaded(&server);
    assert!(!path.exists());
}

#[test]
fn a_reload_changes_limits_and_the_number_of_engines() {
    let echo = echoing("one");
    let hosts = [("a.example", echo.as_str())];
    let server = Server::with_config(&table("engines = 1", &hosts));
    write(
        &server,
        &table("engines = 3\n[limits]\nconnections = 1", &hosts),
    );
    reloaded(&server);
    eventually("three engines", || {
        (server.engines().len() == 3).then_some(())
    });
    let client = server.connect("a.example");
    assert!(
        Dial::new()
            .try_connect(server.address(), "a.example")
            .is_err()
    );
    drop(client);
    write(&server, &table("engines = 1", &hosts));
    reloaded(&server);
    eventually("one engine", || (server.engines().len() == 1).then_some(()));
    let _clients = [server.connect("a.example"), server.connect("a.example")];
}

#[test]
fn a_hundred_reloads_lose_no_connection() {
    let mut server = Server::with_config(&table(
        "[limits]\nper-source = 0",
        &[("a.example", &echoing("one"))],
    ));
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = server.address();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Dial::new().connect(address, "a.example");
                    assert!(["one", "two"].contains(&client.read_line().as_str()));
                    client.echoes();
                    client.close();
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut round = 0;
        while round < 100 || served.load(Ordering::Relaxed) < 100 {
            round += 1;
            let word = if round % 2 == 0 { "two" } else { "one" };
            write(
                &server,
                &table("[limits]\nper-source = 0", &[("a.example", &echoing(word))]),
            );
            reloaded(&server);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let served = served.load(Ordering::Relaxed);
    eventually("the old engines leave", || {
        let engines = server.engines().len();
        (engines <= std::thread::available_parallelism().unwrap().get()).then_some(())
    });
    proc::no_zombies(server.pid());
    let lines = server.wait_for_connections(served);
    assert!(
        lines.iter().all(|line| line.value("end") == "closed"),
        "{lines:?}"
    );
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn the_connections_of_a_host_are_counted_across_reloads() {
    let lines = format!("connections = 2\n{}", echoing("one"));
    let hosts = [("a.example", lines.as_str())];
    let server = Server::with_config(&table("", &hosts));
    let mut first = server.connect("a.example");
    assert_eq!(first.read_line(), "one");
    // A host is identified by its name, not by its place in the file.
    let before = echoing("two");
    let hosts = [("b.wild.example", before.as_str()), hosts[0]];
    write(&server, &table("", &hosts));
    reloaded(&server);
    let mut second = server.connect("a.example");
    assert_eq!(second.read_line(), "one");
    let third = || Dial::new().try_connect(server.address(), "a.example");
    assert!(third().is_err());
    first.close();
    eventually("there is room again", || third().ok());
}

/// A server with this limit of descriptors.
fn limited(toml: &str, descriptors: usize) -> Server {
    let site = Site::new().with_file("tlssrv.toml", toml);
    let mut prlimit = programs::program("prlimit");
    prlimit.arg(format!("--nofile={descriptors}:{descriptors}"));
    Server::run(site, prlimit.args([tlssrv_path(), "-f", "tlssrv.toml"]))
}

#[test]
fn a_reload_without_descriptors_fails_and_loses_nothing() {
    let toml = table("engines = 1", &[("a.example", &echoing("one"))]);
    let first = Server::with_config(&toml);
    let open = proc::descriptor_count(first.pid()).unwrap();
    drop(first);
    let mut failures = 0;
    // With each further descriptor the reload gets further; the next client needs some as well.
    for more in 1..6 {
        let server = limited(&toml, open + more);
        let engines = server.engines();
        let output = reload(&server);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(96) {
            failures += 1;
            assert!(stderr.contains("Too many open files"), "{stderr}");
            assert!(stderr.contains("the old configuration stays"), "{stderr}");
            assert_eq!(server.engines(), engines);
        } else {
            assert_eq!(output.status.code(), Some(0), "{stderr}");
        }
        eventually("it serves", || {
            let client = Dial::new().try_connect(server.address(), "a.example");
            client.is_ok().then_some(())
        });
    }
    assert!(failures > 0, "there were always descriptors enough");
}

#[test]
fn a_requested_reload_waits_until_there_are_descriptors() {
    let server = Server::with_config(&table("", &[("a.example", &echoing("one"))]));
    leave(server.pid(), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| reloaded(&server));
        server.wait_for_line("it cannot hear", |line| {
            line.contains("unable to accept who asks for a reload") && line.contains("trying again")
        });
        soft_limit(server.pid(), 256);
    });
}

#[test]
fn a_reload_requested_during_another_one_is_done_after_it() {
    let server = Server::with_config(&table("", &[("a.example", &echoing("one"))]));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| reloaded(&server));
        }
    });
    let done = server.lines();
    let done = done.iter().filter(|line| line.ends_with(" reloaded"));
    assert!((2..=8).contains(&done.count()));
}

#[test]
fn reload_without_a_server_of_this_table_is_an_error() {
    let server = Server::with_config(&table("", &[("a.example", &echoing("one"))]));
    fs::copy(
        server.site.file("tlssrv.toml"),
        server.site.file("other.toml"),
    )
    .unwrap();
    let mut command = programs::program(tlssrv_path());
    command.args(["--reload", "-f", "other.toml"]);
    let output = command.current_dir(server.site.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(97));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.contains("no server of root's or of yours has this table"),
        "{stderr}"
    );
}

#[test]
fn sighup_reloads_the_certificate_of_a_command_line() {
    let site = Site::new().with_certificate("one", &["a.example"], KeyType::Ecdsa);
    let server = Server::start_in(site, &["--listen", "127.0.0.1:0", "-c", "one.pem", "cat"]);
    let before = server.connect("a.example").certificate();
    certificate(&["a.example"]).write_combined(&server.site.file("one.pem"));
    server.signal(Signal::SIGHUP);
    server.wait_for_line("it has reloaded", |line| line.ends_with(" reloaded"));
    let after = server.connect("a.example").certificate();
    assert_ne!(before, after);
    assert_eq!(after, server.site.certificate("one.pem"));
}
