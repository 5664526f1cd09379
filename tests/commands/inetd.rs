//! One connection on descriptor 0, as inetd passes it.

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustls::CertificateCompressionAlgorithm;
use rustls::compress::{CertDecompressor, DecompressionFailed};

use tlssrv_testing::socket;
use tlssrv_testing::{Dial, Ended, Line, Site, Socket, eventually, skip, tlssrv_path};

/// A tlssrv with one connection, or a program that starts such.
struct Inetd {
    child: Child,
}

impl Inetd {
    /// Starts tlssrv in a site, its descriptor 0 being one end of this.
    fn start(site: &Site, args: &[&str], connection: OwnedFd) -> Self {
        let child = Command::new(tlssrv_path())
            .args(args)
            .current_dir(site.path())
            .stdin(connection)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Waits for its end; what it wrote to descriptor 2.
    fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        let stderr = self.child.stderr.take();
        if let Some(mut stderr) = stderr {
            stderr.read_to_string(&mut said).unwrap();
        }
        let status = eventually("tlssrv ends", || self.child.try_wait().unwrap());
        (status, said)
    }
}

impl Drop for Inetd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both ends of a TCP connection, the second for tlssrv.
fn tcp_pair() -> (TcpStream, OwnedFd) {
    let (client, server) = socket::tcp_pair();
    (client, server.into())
}

fn connection_line(said: &str) -> Line {
    let lines = said.lines().filter(|line| line.contains("end="));
    let lines: Vec<Line> = lines.map(Line::parse).collect();
    assert_eq!(lines.len(), 1, "{said}");
    lines[0].clone()
}

/// A decompressor that always fails.
#[derive(Debug)]
struct Unwanted;

impl CertDecompressor for Unwanted {
    fn decompress(&self, _: &[u8], _: &mut [u8]) -> Result<(), DecompressionFailed> {
        Err(DecompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Brotli
    }
}

#[test]
fn a_certificate_for_one_client_is_not_compressed() {
    let site = Site::new();
    let (client, server) = tcp_pair();
    let tlssrv = Inetd::start(&site, &["-c", "cert.pem", "cat"], server);
    let dial = Dial::new().with(|config| config.cert_decompressors = vec![&Unwanted]);
    let mut client = dial.over(client.into(), "a.example");
    client.echoes();
    client.close();
    let (status, said) = tlssrv.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_command_is_served_over_a_tcp_connection() {
    let site = Site::new();
    let (client, server) = tcp_pair();
    let (here, there) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    let script = "read x; echo $x $TCPREMOTEIP:$TCPREMOTEPORT $TCPLOCALIP:$TCPLOCALPORT";
    let tlssrv = Inetd::start(&site, &["-c", "cert.pem", "sh", "-c", script], server);
    let mut client = Dial::new().over(client.into(), "a.example");
    client.send(b"hello\n");
    assert_eq!(client.read_line(), format!("hello {here} {there}"));
    client.read_close_notify();
    drop(client);
    let (status, said) = tlssrv.end();
    assert_eq!(status.code(), Some(0), "{said}");
    let line = connection_line(&said);
    assert_eq!(line.value("peer"), here.to_string());
    assert_eq!(line.value("listen"), "inetd");
    assert_eq!(line.value("end"), "closed");
}

#[test]
fn the_connection_may_be_a_socketpair() {
    let site = Site::new();
    let (client, server) = UnixStream::pair().unwrap();
    let tlssrv = Inetd::start(&site, &["-c", "cert.pem", "cat"], server.into());
    let mut client = Dial::new().over(client.into(), "");
    client.send(b"hello\n");
    client.close_notify();
    assert_eq!(client.read_to_end().bytes, b"hello\n");
    drop(client);
    assert_eq!(tlssrv.end().0.code(), Some(0));
}

#[test]
fn the_exit_status_is_that_of_the_command() {
    for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 128 + 9)] {
        let site = Site::new();
        let (client, server) = tcp_pair();
        let tlssrv = Inetd::start(&site, &["-c", "cert.pem", "sh", "-c", script], server);
        let mut client = Dial::new().over(client.into(), "");
        let (ended, end) = match expected {
            137 => (Ended::Truncated, "command: killed by SIGKILL"),
            _ => (Ended::CloseNotify, "closed"),
        };
        assert_eq!(client.read_to_end().ended, ended);
        drop(client);
        let (status, said) = tlssrv.end();
        assert_eq!(status.code(), Some(expected), "{script}: {said}");
        assert_eq!(connection_line(&said).value("end"), end);
    }
}

#[test]
fn a_signal_to_stop_ends_the_connection_and_the_command_with_it() {
    let site = Site::new();
    let (client, server) = UnixStream::pair().unwrap();
    let args = ["-c", "cert.pem", "sh", "-c", "exec sleep 1000"];
    let inetd = Inetd::start(&site, &args, server.into());
    let mut client = Dial::new().over(Socket::from(client), "a.example");
    client.flush().unwrap();
    let pid = nix::unistd::Pid::from_raw(inetd.child.id().try_into().unwrap());
    eventually("the command runs", || {
        let children = tlssrv_testing::proc::children(pid).into_iter();
        let mut names = children.filter_map(tlssrv_testing::proc::name);
        names.any(|name| name == "sleep").then_some(())
    });
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let (status, said) = inetd.end();
    assert_eq!(status.code(), Some(128 + 15), "{said}");
    assert!(
        said.contains("notice SIGTERM: connections that are ended: 1"),
        "{said}"
    );
    assert_eq!(connection_line(&said).value("exit"), "SIGTERM");
}

#[test]
fn a_handshake_that_fails_ends_with_98() {
    let site = Site::new();
    let (mut client, server) = tcp_pair();
    let tlssrv = Inetd::start(&site, &["-c", "cert.pem", "cat"], server);
    std::io::Write::write_all(&mut client, b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let (alert, _) = Socket::from(client).read_to_end();
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 10]);
    let (status, said) = tlssrv.end();
    assert_eq!(status.code(), Some(98), "{said}");
    assert_eq!(connection_line(&said).value("end"), "handshake: plain HTTP");
}

#[test]
fn a_command_that_is_not_there_ends_with_127() {
    let site = Site::new();
    let (client, server) = tcp_pair();
    let tlssrv = Inetd::start(&site, &["-c", "cert.pem", "./nothing"], server);
    let (status, said) = tlssrv.end();
    assert_eq!(status.code(), Some(127), "{said}");
    // The client got nothing but the end.
    assert_eq!(Socket::from(client).read_to_end().0, b"");
}

#[test]
fn a_command_that_is_no_program_ends_with_126() {
    let site = Site::new();
    for (file, mode) in [("text", 0o644), ("broken", 0o755)] {
        let site = &site;
        std::fs::write(site.file(file), b"\x7fELF, but no more").unwrap();
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(site.file(file), permissions).unwrap();
        let (client, server) = tcp_pair();
        let command = format!("./{file}");
        let tlssrv = Inetd::start(site, &["-c", "cert.pem", &command], server);
        // Errors of exec come after the handshake, so the client gets close_notify.
        if mode == 0o755 {
            let mut client = Dial::new().over(client.into(), "");
            client.read_close_notify();
        }
        let (status, said) = tlssrv.end();
        assert_eq!(status.code(), Some(126), "{said}");
    }
}

#[test]
fn a_descriptor_0_that_is_no_connection_ends_with_100() {
    let site = Site::new();
    let null: OwnedFd = File::open("/dev/null").unwrap().into();
    let listening: OwnedFd = TcpListener::bind("127.0.0.1:0").unwrap().into();
    for no_connection in [null, listening] {
        let tlssrv = Inetd::start(&site, &["-c", "cert.pem", "cat"], no_connection);
        let (status, said) = tlssrv.end();
        assert_eq!(status.code(), Some(100), "{said}");
        assert!(said.contains("descriptor 0"), "{said}");
    }
}

#[test]
fn nothing_is_written_to_standard_error_that_is_the_connection() {
    // Every kind of message: warnings about the command line, the standard error of the command, the
    // log line, a failed handshake.
    let scripts = ["echo complaint >&2; echo answer", "echo answer"];
    // The log is a file, because syslog may not run here.
    let args = |script| ["-l", "./log", "-D", "-c", "cert.pem", "sh", "-c", script];
    for args in scripts.map(args) {
        let site = Site::new();
        let (client, server) = tcp_pair();
        let mut child = on_all_three(&site, &args, server);
        // The client would notice every stray byte, because it would not be a TLS record.
        let mut client = Dial::new().over(client.into(), "");
        let received = client.read_to_end();
        received.assert_whole(b"answer\n");
        drop(client);
        let status = eventually("tlssrv ends", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
        let log = std::fs::read_to_string(site.file("log")).unwrap();
        assert_eq!(connection_line(&log).value("end"), "closed");
    }
}

#[test]
fn a_client_is_served_where_there_is_no_log_for_it() {
    let site = Site::new();
    let (client, server) = tcp_pair();
    // Descriptor 2 is the connection, so the log goes to syslog, which may not run here.
    let mut child = on_all_three(
        &site,
        &["-c", "cert.pem", "sh", "-c", "echo answer"],
        server,
    );
    let mut client = Dial::new().over(client.into(), "");
    assert_eq!(client.read_to_end().bytes, b"answer\n");
    drop(client);
    let status = eventually("tlssrv ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

/// tlssrv with the connection on descriptors 0, 1 and 2, as inetd does it.
fn on_all_three(site: &Site, args: &[&str], server: OwnedFd) -> Child {
    Command::new(tlssrv_path())
        .args(args)
        .current_dir(site.path())
        .stdin(server.try_clone().unwrap())
        .stdout(server.try_clone().unwrap())
        .stderr(server)
        .spawn()
        .unwrap()
}

#[test]
fn a_wrong_command_line_is_not_explained_to_the_client() {
    let site = Site::new();
    for args in [&["--no-such-option"][..], &["-c", "missing.pem", "cat"]] {
        let (client, server) = tcp_pair();
        let mut child = on_all_three(&site, args, server);
        let status = eventually("tlssrv ends", || child.try_wait().unwrap());
        assert!(matches!(status.code(), Some(97 | 100)), "{status}");
        assert_eq!(Socket::from(client).read_to_end().0, b"");
    }
}

#[test]
fn a_command_inherits_the_standard_error_of_tlssrv() {
    let site = Site::new();
    let (client, server) = tcp_pair();
    let script = "echo complaint >&2";
    let tlssrv = Inetd::start(&site, &["-c", "cert.pem", "sh", "-c", script], server);
    let mut client = Dial::new().over(client.into(), "");
    assert_eq!(client.read_to_end().bytes, b"");
    drop(client);
    let (_, said) = tlssrv.end();
    assert!(said.lines().any(|line| line == "complaint"), "{said}");
}

/// Two hosts, and no listener.
const TABLE: &str = r#"
    [[host]]
    names = ["a.example"]
    cert = ["cert.pem"]
    command = ["sh", "-c", "echo a"]
    allow-root = true
    [[host]]
    default = true
    cert = ["cert.pem"]
    command = ["sh", "-c", "echo default; exit 5"]
    allow-root = true
"#;

#[test]
fn a_table_serves_the_one_connection_too() {
    // A default host without others gets every name.
    let (_, alone) = TABLE.split_once("allow-root = true\n").unwrap();
    for (table, name, answer, expected) in [
        (TABLE, "a.example", "a", 0),
        (TABLE, "", "default", 5),
        (alone, "nobody.example", "default", 5),
    ] {
        let site = Site::new().with_file("tlssrv.toml", table);
        let (client, server) = tcp_pair();
        let tlssrv = Inetd::start(&site, &["-f", "tlssrv.toml", "--inetd"], server);
        let mut client = Dial::new().over(client.into(), name);
        assert_eq!(client.read_line(), answer);
        client.read_close_notify();
        drop(client);
        let (status, said) = tlssrv.end();
        assert_eq!(status.code(), Some(expected), "{said}");
    }
}

#[test]
fn a_listeners_rules_hold_for_the_one_connection_of_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listen = format!(
        "[[listen]]\naddress = \"127.0.0.1:1\"\n\
         [[listen]]\naddress = \"{address}\"\nunknown-name = \"default\"\n"
    );
    let site = Site::new().with_file("tlssrv.toml", &(listen + TABLE));
    let client = TcpStream::connect(address).unwrap();
    let server = listener.accept().unwrap().0;
    let tlssrv = Inetd::start(&site, &["-f", "tlssrv.toml", "--inetd"], server.into());
    let mut client = Dial::new().over(client.into(), "nobody.example");
    assert_eq!(client.read_line(), "default");
    client.read_close_notify();
    drop(client);
    assert_eq!(tlssrv.end().0.code(), Some(5));
}

#[test]
fn systemd_socket_activate_passes_one_connection() {
    let activate = [
        "/usr/bin/systemd-socket-activate",
        "/bin/systemd-socket-activate",
    ];
    let Some(activate) = activate.iter().find(|path| Path::new(path).exists()) else {
        return skip("no systemd-socket-activate here");
    };
    let site = Site::new();
    // systemd-socket-activate takes no port 0.
    let address = socket::free_address();
    let child = Command::new(activate)
        .args(["--inetd", "-a", "-l", &address.to_string(), tlssrv_path()])
        .args(["-l", "./log", "-c", "cert.pem", "cat"])
        .current_dir(site.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _activate = Inetd { child };
    for _ in 0..2 {
        let socket = eventually("it listens", || TcpStream::connect(address).ok());
        let mut client = Dial::new().over(socket.into(), "a.example");
        client.send(b"hello\n");
        client.close_notify();
        let received = client.read_to_end();
        received.assert_whole(b"hello\n");
    }
    eventually("two lines in the log", || {
        let log = std::fs::read_to_string(site.file("log")).unwrap();
        (log.matches("end=closed").count() == 2).then_some(())
    });
}
