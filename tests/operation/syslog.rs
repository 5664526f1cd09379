//! syslog, in a mount namespace with the `/dev/log` of the test.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use tlssrv_testing::account::is_root;
use tlssrv_testing::{DEADLINE, Dial, Line, Site, eventually, skip, tlssrv_path};

/// Makes a `/dev` with a null device and the log, and then becomes tlssrv.
const WITH_LOG: &str = r#"
    mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && ln -s "$0" /dev/log && exec "$@"
"#;

/// `daemon.notice`, `daemon.info`: facility 3, severities 5 and 6 (RFC 3164 §4.1.1).
const NOTICE: &str = "<29>";
const INFO: &str = "<30>";

#[test]
fn syslog_gets_every_line_under_the_tag_also_after_a_restart_of_syslog() {
    if !is_root() {
        return skip("only root can have a /dev/log of its own");
    }
    let site = Site::new();
    let socket = site.file("log.sock");
    let listen = || {
        let log = UnixDatagram::bind(&socket).unwrap();
        log.set_read_timeout(Some(DEADLINE)).unwrap();
        log
    };
    let log = listen();
    let child = Command::new("unshare")
        .args(["--mount", "sh", "-c", WITH_LOG])
        .args([socket.to_str().unwrap(), tlssrv_path(), "-l", "mytag"])
        .args(["--listen", "127.0.0.1:0", "-c", "cert.pem", "true"])
        .current_dir(site.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Running(child);
    let pid = server.0.id();
    let tag = format!("mytag[{pid}]: ");

    let line = line(&log, NOTICE, &tag);
    let address = line.strip_prefix("listening on ").unwrap();
    let serve = || {
        let mut client = Dial::new().connect(address.parse().unwrap(), "");
        client.read_to_end();
    };
    serve();
    assert_eq!(connection(&log, &tag).value("end"), "closed");

    drop(log);
    std::fs::remove_file(&socket).unwrap();
    let log = listen();
    serve();
    assert_eq!(connection(&log, &tag).value("end"), "closed");

    let pid = Pid::from_raw(pid.try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let status = eventually("it ends", || server.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The next line, without the priority, time and tag.
fn line(log: &UnixDatagram, priority: &str, tag: &str) -> String {
    let mut datagram = [0; 4096];
    let length = log.recv(&mut datagram).unwrap();
    let text = std::str::from_utf8(&datagram[..length]).unwrap();
    assert!(text.starts_with(priority), "{text}");
    let (_, line) = text.split_once(tag).unwrap();
    line.trim_end().to_owned()
}

fn connection(log: &UnixDatagram, tag: &str) -> Line {
    Line::parse(&format!("now info {}", line(log, INFO, tag)))
}
