//! How much is logged: levels, and connections without a byte.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use tlssrv_testing::programs::run;
use tlssrv_testing::socket::free_address;
use tlssrv_testing::{Dial, Host, Line, Server, Site, Socket, eventually, tlssrv_path};

/// A server with these lines of `[log]`, which is ready. It need not say so.
struct Quiet {
    site: Site,
    server: Child,
    address: SocketAddr,
}

impl Quiet {
    fn start(log: &str, options: &[&str]) -> Self {
        let address = free_address();
        let table = Host {
            log: &format!("to = \"./log\"\n{log}"),
            command: &["cat"],
            ..Host::default()
        };
        let table = table.toml().replace("127.0.0.1:0", &address.to_string());
        let site = Site::new().with_file("tlssrv.toml", &table);
        let server = Command::new(tlssrv_path())
            .args(["-f", "tlssrv.toml"])
            .args(options)
            .current_dir(site.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let quiet = Self {
            site,
            server,
            address,
        };
        eventually("it listens", || TcpStream::connect(address).ok());
        quiet
    }

    /// Has the server read this table, and checks the exit status of `--reload`.
    fn reload(&self, table: &str, status: i32) {
        fs::write(self.site.file("tlssrv.toml"), table).unwrap();
        let mut reload = Command::new(tlssrv_path());
        let reload = reload.args(["-f", "tlssrv.toml", "--reload"]);
        let ran = run(reload.current_dir(self.site.path()));
        assert_eq!(ran.status.code(), Some(status), "{}", ran.stderr);
    }

    /// Ends the server. Returns its log.
    fn stop(&mut self) -> String {
        let pid = Pid::from_raw(self.server.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        assert_eq!(self.server.wait().unwrap().code(), Some(0));
        fs::read_to_string(self.site.file("log")).unwrap()
    }

    /// One connection that succeeds, one whose handshake fails, a reload that fails, and the end. Returns the levels
    /// of the lines, in the order of their severity.
    fn levels(mut self) -> Vec<String> {
        Dial::new().connect(self.address, "").close();
        let mut bad = Socket::connect(self.address);
        bad.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let _ = bad.read_to_end();
        self.reload("nonsense", 96);
        let text = self.stop();
        let order = ["err", "warning", "notice", "info", "debug"];
        let has = |level: &&str| text.lines().any(|line| Line::parse(line).level == *level);
        order.into_iter().filter(has).map(str::to_owned).collect()
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_level_leaves_out_what_is_milder() {
    for (log, options, expected) in [
        ("", &[][..], &["err", "notice", "info"][..]),
        ("level = \"info\"", &[], &["err", "notice", "info"]),
        ("level = \"notice\"", &[], &["err", "notice"]),
        ("level = \"warning\"", &[], &["err"]),
        ("level = \"err\"", &[], &["err"]),
        ("level = \"info\"", &["--quiet"], &["err"]),
        // Who asks for a trace gets it.
        ("level = \"err\"", &["-D"], &["err", "debug"]),
    ] {
        assert_eq!(
            Quiet::start(log, options).levels(),
            expected,
            "{log} {options:?}"
        );
    }
}

#[test]
fn a_reload_changes_the_level_and_leaves_the_log_where_it_is() {
    let mut server = Quiet::start("", &[]);
    let table = fs::read_to_string(server.site.file("tlssrv.toml")).unwrap();
    let to = "to = \"./log\"";
    for level in ["err", "info"] {
        let table = table.replace(to, &format!("{to}\nlevel = \"{level}\""));
        server.reload(&table, 0);
        Dial::new().connect(server.address, "").close();
    }
    let text = server.stop();
    assert_eq!(text.matches("reloaded").count(), 1, "{text}");
    // The connection that shows that it listens, and the last one.
    assert_eq!(text.matches("end=closed").count(), 2, "{text}");
}

/// A server behind a load balancer, with one check of each kind, and then one connection.
fn checked(log: &str) -> Server {
    let table = Host {
        log,
        command: &["cat"],
        ..Host::default()
    };
    let balanced = "[[listen]]\naddress = \"127.0.0.1:0\"\nproxy-protocol = true\nproxy-from = [\"127.0.0.1\"]\n[[host]]";
    let server = Server::with_config(&table.toml().replace("[[host]]", balanced));
    let [direct, behind] = &server.listens[..] else {
        panic!("{:?}", server.listens)
    };
    let (direct, behind) = (direct.parse().unwrap(), behind.parse().unwrap());
    let say = |to: SocketAddr, bytes: &[u8]| {
        let mut socket = Socket::connect(to);
        socket.write_all(bytes).unwrap();
        socket
    };
    for (to, bytes) in [
        (direct, &b""[..]),
        (behind, b""),
        (behind, b"PROXY UNKNOWN\r\n"),
        (behind, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"),
    ] {
        say(to, bytes).shutdown_write();
        say(to, bytes).reset();
    }
    // These are no checks.
    for (to, bytes) in [
        (direct, &b"\x16"[..]),
        (behind, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0\x16"),
        (behind, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
    ] {
        let mut socket = say(to, bytes);
        socket.shutdown_write();
        let _ = socket.read_to_end();
    }
    let mut client = Dial::new().connect(server.address(), "");
    client.close();
    server
}

#[test]
fn every_connection_has_a_line() {
    checked("").wait_for_connections(12);
}

#[test]
fn health_checks_have_no_line_if_they_are_not_wanted() {
    let mut server = checked("probes = false");
    server.wait_for_connections(4);
    server.stop();
    let ends = server.connection_lines();
    let mut ends: Vec<&str> = ends.iter().map(|line| line.value("end")).collect();
    ends.sort_unstable();
    assert_eq!(ends, ["closed", "closed", "truncated", "truncated"]);
}
