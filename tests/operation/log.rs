//! The log: one line per connection, in each format and to each destination.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::AlertDescription;
use rustls::version::TLS13;

use tlssrv_testing::{Dial, Ended, Host, Line, Server, Site, eventually, skip, tlssrv_path};

/// The keys of the line of a successful connection, in their order.
const KEYS: [&str; 18] = [
    "id",
    "peer",
    "listen",
    "sni",
    "host",
    "tls",
    "suite",
    "group",
    "alpn",
    "resumed",
    "auth",
    "pid",
    "exit",
    "in",
    "out",
    "handshake_ms",
    "duration_ms",
    "end",
];

/// A server with this format of the log, and one connection that has a value for every key.
fn served(log: &str) -> (Server, u16) {
    let server = Host {
        log,
        host: "names = [\"a.example\"]\nalpn = [\"echo\"]",
        command: &["sh", "-c", "cat; exit 3"],
        ..Host::default()
    }
    .start();
    let dial = Dial::version(&TLS13).alpn(&["echo"]);
    let mut client = dial.connect(server.address(), "A.Example");
    client.send(b"hello\n");
    client.close_notify();
    assert_eq!(client.read_to_end().bytes, b"hello\n");
    let port = client.socket.local_address().port();
    (server, port)
}

/// Fails unless the line has the expected values.
fn is_right(server: &Server, port: u16, line: &Line) {
    assert_eq!(line.level, "info");
    assert!(line.value("id").starts_with(&format!("{}.", server.pid())));
    let expected = format!("127.0.0.1:{port}");
    for (key, value) in [
        ("peer", expected.as_str()),
        ("listen", "127.0.0.1:0"),
        ("sni", "a.example"),
        ("host", "a.example"),
        ("tls", "TLSv1.3"),
        ("group", "X25519MLKEM768"),
        ("alpn", "echo"),
        ("resumed", "false"),
        ("auth", "cert"),
        ("exit", "3"),
        ("in", "6"),
        ("out", "6"),
        ("end", "closed"),
    ] {
        assert_eq!(line.value(key), value, "{key}");
    }
    assert!(line.value("suite").starts_with("TLS_"), "{line:?}");
    assert!(line.number("pid") > 1);
    assert!(line.number("handshake_ms") <= line.number("duration_ms"));
}

#[test]
fn a_connection_is_one_line_of_logfmt() {
    let (server, port) = served("");
    let line = server.wait_for_connection();
    assert_eq!(line.keys, KEYS);
    is_right(&server, port, &line);
}

#[test]
fn a_connection_is_one_object_of_json_with_the_same_keys() {
    let (server, port) = served(r#"format = "json""#);
    let line = server.wait_for_line("the line", |line| line.contains("\"end\""));
    let line = Line::parse_json(&line);
    let keys: BTreeSet<&str> = line.keys.iter().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(KEYS));
    is_right(&server, port, &line);
    // Every line of the log is JSON; lines before that are not in the log.
    let lines = server.lines();
    let log = lines.iter().skip_while(|line| !line.starts_with('{'));
    let log: Vec<Line> = log.map(|line| Line::parse_json(line)).collect();
    assert!(log.len() >= 2, "{lines:?}");
}

#[test]
fn what_a_command_says_cannot_deceive_who_reads_the_log() {
    // ESC, CSI of C1, DEL, and an override of the direction of text.
    let script = r"printf 'a \033[31m \302\2332J \177 \342\200\256 \303\251\n' >&2";
    let expected = r"a \u001b[31m \u009b2J \u007f \u202e é";
    for format in ["text", "json"] {
        let server = Host {
            log: &format!("format = \"{format}\""),
            command: &["sh", "-c", script],
            ..Host::default()
        }
        .start();
        server.connect("").close();
        let line = server.wait_for_line("it", |line| line.contains("stderr"));
        assert!(line.contains(expected), "{line}");
        let deceives = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!line.contains(deceives), "{line:?}");
    }
}

#[test]
fn a_handshake_that_failed_has_every_key_that_is_known_by_then() {
    let server = Host {
        host: "names = [\"a.example\"]\nalpn = [\"echo\"]",
        command: &["cat"],
        ..Host::default()
    }
    .start();
    let refused = Dial::new()
        .alpn(&["h2"])
        .try_connect(server.address(), "a.example");
    let alert = AlertDescription::NoApplicationProtocol;
    assert_eq!(refused.err(), Some(Ended::Alert(alert)));
    let line = server.wait_for_connection();
    for key in [
        "id",
        "peer",
        "listen",
        "sni",
        "host",
        "in",
        "out",
        "duration_ms",
        "end",
    ] {
        line.value(key);
    }
    for key in ["alpn", "auth", "pid", "exit", "handshake_ms"] {
        assert_eq!(line.get(key), None, "{key}");
    }
}

#[test]
fn a_trace_describes_the_handshake() {
    let args = ["-D", "--listen", "127.0.0.1:0", "-c", "cert.pem", "true"];
    let server = Server::start(&args);
    let mut client = Dial::version(&TLS13).connect(server.address(), "a.example");
    client.read_close_notify();
    drop(client);
    let id = server.wait_for_connection().value("id").to_owned();
    let lines = server.lines();
    let reports: Vec<&String> = lines
        .iter()
        .filter(|l| l.contains("tls reports "))
        .collect();
    assert!(reports.iter().all(|line| line.contains(&id)), "{reports:?}");
    for word in ["a.example", "TLSv1.3", "TLS_", "X25519MLKEM768"] {
        assert!(
            reports.iter().any(|line| line.contains(word)),
            "{word}: {reports:?}"
        );
    }
    let refused = Dial::offering(rustls::ALL_VERSIONS, &[rustls::SignatureScheme::ED25519]);
    refused
        .try_connect(server.address(), "a.example")
        .err()
        .unwrap();
    server.wait_for_line("the alert", |line| {
        line.contains("tls reports ") && line.contains("handshake_failure")
    });
}

#[test]
fn nothing_is_traced_by_default() {
    let (server, _) = served("");
    server.wait_for_connection();
    assert!(
        server
            .lines()
            .iter()
            .all(|line| !line.contains("tls reports"))
    );
}

/// A server that does not log to standard error; it is ready when its socket accepts a client.
struct Logged {
    site: Site,
    child: Child,
}

impl Logged {
    fn start(site: Site, log: &str) -> Self {
        let child = Command::new(tlssrv_path())
            .args(["--listen", "unix:./s", "-l", log, "-c", "cert.pem", "cat"])
            .current_dir(site.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { site, child }
    }

    /// Makes a successful connection.
    fn serve(&self) {
        let path = self.site.file("s");
        let socket = eventually("it listens", || UnixStream::connect(&path).ok());
        let mut client = Dial::new().over(socket.into(), "a.example");
        client.send(b"hello\n");
        client.close_notify();
        let received = client.read_to_end();
        received.assert_whole(b"hello\n");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the log lines of this number of connections in a file.
    fn lines(&self, file: &str, count: usize) -> Vec<Line> {
        eventually("lines in the file", || {
            let lines = connections(&self.site.file(file));
            (lines.len() >= count).then_some(lines)
        })
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connections(file: &Path) -> Vec<Line> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|line| line.contains("end="));
    lines.map(Line::parse).collect()
}

#[test]
fn a_file_is_appended_to_and_others_cannot_read_it() {
    let site = Site::new().with_file("before", "kept\n");
    let server = Logged::start(site, "./log");
    server.serve();
    let lines = server.lines("log", 1);
    assert_eq!((lines.len(), lines[0].value("end")), (1, "closed"));
    let text = fs::read_to_string(server.site.file("log")).unwrap();
    assert!(text.contains("listening on unix:"), "{text}");
    let mode = fs::metadata(server.site.file("log"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
    drop(server);
    let site = Site::new().with_file("log", "kept\n");
    let server = Logged::start(site, "./log");
    server.serve();
    server.lines("log", 1);
    let text = fs::read_to_string(server.site.file("log")).unwrap();
    assert!(text.starts_with("kept\n"), "{text}");
}

#[test]
fn usr1_reopens_the_file() {
    let server = Logged::start(Site::new(), "./log");
    server.serve();
    server.lines("log", 1);
    fs::rename(server.site.file("log"), server.site.file("log.1")).unwrap();
    server.serve();
    assert_eq!(server.lines("log.1", 2).len(), 2, "it goes on where it was");
    server.signal(Signal::SIGUSR1);
    eventually("the file is there again", || {
        server.site.file("log").exists().then_some(())
    });
    server.serve();
    assert_eq!(server.lines("log", 1).len(), 1);
    assert_eq!(connections(&server.site.file("log.1")).len(), 2);
}

#[test]
fn on_a_full_disk_connections_go_on_and_lost_lines_are_counted() {
    if !Path::new("/dev/full").exists() {
        return skip("no /dev/full here");
    }
    let site = Site::new();
    symlink("/dev/full", site.file("log")).unwrap();
    let mut server = Logged::start(site, "./log");
    for _ in 0..3 {
        server.serve();
    }
    fs::remove_file(server.site.file("log")).unwrap();
    server.signal(Signal::SIGUSR1);
    eventually("the log can be written again", || {
        server.site.file("log").exists().then_some(())
    });
    server.serve();
    // The lost lines are that of the listener, and those of connections that ended in time.
    eventually("every line is written or counted", || {
        let text = fs::read_to_string(server.site.file("log")).unwrap();
        let (_, after) = text.split_once("the log could not be written: ")?;
        let lost: usize = after.lines().next()?.parse().unwrap();
        (lost + connections(&server.site.file("log")).len() == 5).then_some(())
    });
    server.signal(Signal::SIGTERM);
    let status = eventually("it ends", || server.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_log_that_cannot_be_opened_ends_the_start_with_97() {
    let site = Site::new();
    let mut server = Logged::start(site, "./no/such/directory/log");
    let status = eventually("it ends", || server.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(97));
}

#[test]
fn the_parser_of_log_lines_reads_quoted_values_and_messages() {
    let line = Line::parse(r#"2026-01-01T00:00:00.000Z info id=1.2 end="handshake: \"x\" y" in=3"#);
    assert_eq!(line.level, "info");
    assert_eq!(line.keys, ["id", "end", "in"]);
    assert_eq!(line.value("end"), r#"handshake: "x" y"#);
    assert_eq!(line.number("in"), 3);
    let line = Line::parse("2026-01-01T00:00:00.000Z notice listening on [::]:1");
    assert_eq!(line.message, "listening on [::]:1");
    assert!(!line.is_connection());
}
