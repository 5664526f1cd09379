//! Notifications to systemd (`sd_notify`).

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};

use crate::start::{Start, hosts};
use tlssrv_testing::programs::run;
use tlssrv_testing::{DEADLINE, Dial, Server, Site, tlssrv_path};

/// A service manager that listens.
struct Manager(UnixDatagram);

impl Manager {
    fn in_site(site: &Site) -> Self {
        Self::on(UnixDatagram::bind(site.file("notify")).unwrap())
    }

    fn on(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    /// The next message: its lines.
    fn next(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.0.recv(&mut message).unwrap();
        let text = std::str::from_utf8(&message[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The next message with this line, whatever comes before.
    fn wait_for(&self, line: &str) -> Vec<String> {
        loop {
            let message = self.next();
            if message.iter().any(|l| l == line) {
                return message;
            }
        }
    }

    /// The next status for which a condition is true.
    fn wait_for_status(&self, is: impl Fn(&str) -> bool) -> String {
        loop {
            let status = status(&self.next());
            if let Some(status) = status.filter(|status| is(status)) {
                return status;
            }
        }
    }
}

fn status(message: &[String]) -> Option<String> {
    message
        .iter()
        .find_map(|line| line.strip_prefix("STATUS=").map(str::to_owned))
}

fn table() -> String {
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{}",
        hosts(&[("a.example", "a")])
    )
}

fn start(manager: &str, site: Site, table: &str) -> Server {
    let site = site.with_file("tlssrv.toml", table);
    let start = Start::default().with("NOTIFY_SOCKET", manager);
    start.server(site, &["-f", "tlssrv.toml"])
}

fn in_site() -> (Manager, Server) {
    let site = Site::new();
    let manager = Manager::in_site(&site);
    let path = site.file("notify").to_str().unwrap().to_owned();
    let server = start(&path, site, &table());
    (manager, server)
}

fn microseconds() -> u128 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_micros()
}

/// The messages for start, reload and stop.
fn assert_story(manager: &Manager, mut server: Server) {
    let ready = ["READY=1", "STATUS=0 connections, 0 served, 0 refused"];
    assert_eq!(manager.next(), ready);
    // The server is really ready.
    drop(server.connect("a.example"));
    let before = microseconds();
    server.signal(Signal::SIGHUP);
    let reloading = manager.wait_for("RELOADING=1");
    let time = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!((before..=microseconds()).contains(&time.parse().unwrap()));
    manager.wait_for("READY=1");
    server.signal(Signal::SIGTERM);
    let stopping = manager.wait_for("STOPPING=1");
    assert!(stopping[1].starts_with("STATUS=stopping: "), "{stopping:?}");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn systemd_is_notified_when_the_server_is_ready_reloads_and_stops() {
    let (manager, server) = in_site();
    assert_story(&manager, server);
}

#[test]
fn the_notify_socket_may_be_abstract() {
    let name = format!("tlssrv-test/{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::on(UnixDatagram::bind_addr(&address).unwrap());
    assert_story(&manager, start(&format!("@{name}"), Site::new(), &table()));
}

#[test]
fn a_refused_reload_is_notified_as_done_and_the_status_says_why() {
    let (manager, server) = in_site();
    let reload = |table: &str| {
        fs::write(server.site.file("tlssrv.toml"), table).unwrap();
        let mut command = Command::new(tlssrv_path());
        let command = command.args(["--reload", "-f", "tlssrv.toml"]);
        let ran = run(command.current_dir(server.site.path()));
        manager.wait_for("RELOADING=1");
        (
            ran.status.code(),
            status(&manager.wait_for("READY=1")).unwrap(),
        )
    };
    let wrong = format!("engines = \"many\"\ngnines = 1\n{}", table());
    let (code, told) = reload(&wrong);
    assert_eq!(code, Some(96));
    let (counts, why) = told.split_once("; the old configuration stays: ").unwrap();
    assert_eq!(counts, "0 connections, 0 served, 0 refused");
    assert!(
        why.ends_with("tlssrv.toml:1: expected an integer, found a string (and 1 more)"),
        "{why}"
    );
    // The status stays visible later.
    let client = server.connect("a.example");
    let later = manager.wait_for_status(|status| status.starts_with("1 connection, "));
    assert!(later.ends_with(why), "{later}");
    drop(client);

    let (code, told) = reload(&table());
    assert_eq!(code, Some(0));
    assert!(!told.contains("stays"), "{told}");
}

/// With `ExecReload=`, systemd is to have the service in order again when the command is over.
#[test]
fn when_reload_returns_the_service_manager_knows_that_it_is_over() {
    let (manager, server) = in_site();
    manager.wait_for("READY=1");
    for (table, code) in [(table(), 0), ("gnines = 1\n".to_owned(), 96)] {
        fs::write(server.site.file("tlssrv.toml"), table).unwrap();
        let mut command = Command::new(tlssrv_path());
        let command = command.args(["--reload", "-f", "tlssrv.toml"]);
        let ran = run(command.current_dir(server.site.path()));
        assert_eq!(ran.status.code(), Some(code));
        manager.0.set_nonblocking(true).unwrap();
        manager.wait_for("RELOADING=1");
        manager.wait_for("READY=1");
        manager.0.set_nonblocking(false).unwrap();
    }
}

#[test]
fn the_status_counts_clients() {
    let site = Site::new();
    let manager = Manager::in_site(&site);
    let path = site.file("notify").to_str().unwrap().to_owned();
    let began = Instant::now();
    let server = start(
        &path,
        site,
        &format!("[limits]\nper-source = 2\n{}", table()),
    );
    manager.wait_for("READY=1");
    let mut clients = [server.connect("a.example"), server.connect("a.example")];
    assert!(
        Dial::new()
            .try_connect(server.address(), "a.example")
            .is_err()
    );
    manager.wait_for_status(|status| status == "2 connections, 0 served, 1 refused");
    // No more often than once a second.
    assert!(began.elapsed() >= Duration::from_secs(1));
    for client in &mut clients {
        client.close_notify();
        client.read_to_end();
    }
    manager.wait_for_status(|status| status == "0 connections, 2 served, 1 refused");
}

#[test]
fn the_watchdog_is_notified_twice_per_interval() {
    let site = Site::new();
    let manager = Manager::in_site(&site);
    let start = Start::default().with("NOTIFY_SOCKET", site.file("notify").display());
    let start = start.with("WATCHDOG_USEC", 200_000);
    let server = start.server(site, &["--listen", "127.0.0.1:0", "-c", "cert.pem", "cat"]);
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
    }
    assert!(
        began.elapsed() > Duration::from_millis(850),
        "{:?}",
        began.elapsed()
    );
    // A stuck server sends nothing.
    server.signal(Signal::SIGSTOP);
    manager
        .0
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut message = [0; 64];
    // Messages on their way have arrived by then.
    while manager.0.recv(&mut message).is_ok() {
        assert!(began.elapsed() < DEADLINE, "it goes on");
    }
    server.signal(Signal::SIGCONT);
    manager.0.set_read_timeout(Some(DEADLINE)).unwrap();
    manager.wait_for("WATCHDOG=1");
}

#[test]
fn the_watchdog_of_another_process_is_ignored() {
    let site = Site::new();
    let manager = Manager::in_site(&site);
    let start = Start::default().with("NOTIFY_SOCKET", site.file("notify").display());
    let start = start.with("WATCHDOG_USEC", 1000).with("WATCHDOG_PID", 1);
    let mut server = start.server(site, &["--listen", "127.0.0.1:0", "-c", "cert.pem", "cat"]);
    assert_eq!(manager.next()[0], "READY=1");
    assert_eq!(server.stop().code(), Some(0));
    assert_eq!(manager.next()[0], "STOPPING=1");
}

#[test]
fn a_server_runs_although_nothing_listens_on_the_notify_socket() {
    for manager in [
        "/nonexistent/notify",
        "@tlssrv-test/nobody",
        "vsock:2:1",
        "",
    ] {
        let server = start(manager, Site::new(), &table());
        assert_eq!(server.connect("a.example").read_line(), "a");
    }
}

/// The number of messages that the socket of systemd holds until it reads.
#[test]
fn a_busy_service_manager_delays_no_client_and_is_notified_later() {
    let (manager, server) = in_site();
    for _ in 0..30 {
        server.signal(Signal::SIGHUP);
        assert_eq!(server.connect("a.example").read_line(), "a");
    }
    let client = server.connect("a.example");
    server.signal(Signal::SIGTERM);
    server.wait_for_line("it drains", |line| line.contains("no more clients"));
    manager.wait_for("STOPPING=1");
    drop(client);
}
