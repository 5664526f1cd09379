//! syslog, in a mount namespace with the `/dev/log` of the test.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::run;
use tlssrv_testing::{DEADLINE, Dial, Line, Server, Site, eventually, proc, skip, tlssrv_path};

/// Makes a `/dev` with a null device and the log, and then becomes tlssrv.
const WITH_LOG: &str = r#"
    mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && { ! test -e "$0" || ln -s "$0" /dev/log; } &&
    exec "$@"
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
    let mut server = start(&site, &["-l", "mytag"]);
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

#[test]
fn a_syslog_that_reads_nothing_stops_nobody_and_gets_every_line_later() {
    if !is_root() {
        return skip("only root can have a /dev/log of its own");
    }
    let site = Site::new();
    let socket = site.file("log.sock");
    let log = UnixDatagram::bind(&socket).unwrap();
    log.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut server = start(&site, &["-l", "mytag"]);
    let tag = format!("mytag[{}]: ", server.0.id());
    let first = line(&log, NOTICE, &tag);
    let address = first.strip_prefix("listening on ").unwrap();

    // The kernel keeps so many datagrams (unix(7)).
    let room = std::fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
    let count = room.trim().parse::<usize>().unwrap() + 20;
    for _ in 0..count {
        Dial::new()
            .connect(address.parse().unwrap(), "")
            .read_to_end();
    }
    for _ in 0..count {
        assert_eq!(connection(&log, &tag).value("end"), "closed");
    }
    kill(
        Pid::from_raw(server.0.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert!(line(&log, NOTICE, &tag).contains("SIGTERM"));
    let status = eventually("it ends", || server.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn without_syslog_a_server_logs_to_standard_error_with_a_warning() {
    if !is_root() {
        return skip("only root can have a /dev without a log");
    }
    for (server, why) in [
        (&["-l", "mytag"][..], "there is no /dev/log"),
        (&["-f", "tlssrv.toml"], "nobody listens at /dev/log"),
    ] {
        let table = "[log]\nto = \"syslog\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\ndefault = true\n\
                     cert = [\"cert.pem\"]\ncommand = [\"true\"]\nallow-root = true\n";
        let mut site = Site::new();
        if server[0] == "-f" {
            site = site.with_file("tlssrv.toml", table);
        }
        if why.starts_with("nobody") {
            drop(UnixDatagram::bind(site.file("log.sock")).unwrap());
        }
        let warning = format!("unable to log to syslog: {why}: is a syslog daemon running?");
        let more: &[&str] = match server[0] {
            "-l" => &["--listen", "127.0.0.1:0", "-c", "cert.pem", "true"],
            _ => &[],
        };
        let mut command = with_log(&site, &[server, more].concat());
        let mut command = Server::run(site, &mut command);
        command.connect("").read_to_end();
        command.wait_for_line("the warning", |line| {
            line.contains(" warning ") && line.contains(&warning)
        });
        assert_eq!(command.wait_for_connection().value("end"), "closed");
        if why.starts_with("nobody") {
            // There is one again, and tlssrv is told to look.
            let path = command.site.file("log.sock");
            fs::remove_file(&path).unwrap();
            let log = UnixDatagram::bind(&path).unwrap();
            log.set_read_timeout(Some(DEADLINE)).unwrap();
            command.signal(Signal::SIGUSR1);
            let is_log = |pid: &Pid| proc::name(*pid).as_deref() == Some("tlssrv-log");
            eventually("nothing is written to standard error any more", || {
                let mut children = proc::children(command.pid()).into_iter();
                (!children.any(|pid| is_log(&pid))).then_some(())
            });
            command.connect("").read_to_end();
            let tag = format!("tlssrv[{}]: ", command.pid());
            assert_eq!(connection(&log, &tag).value("end"), "closed");
        }
        assert_eq!(command.stop().code(), Some(0));

        let check = ["--check"];
        let site = command.site.path();
        let mut command = with_log_in(site, &[&check, server, more].concat());
        let ran = run(&mut command);
        assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
        assert!(
            ran.stderr.contains(&format!("tlssrv: warning: {warning}")),
            "{}",
            ran.stderr
        );
    }
}

/// tlssrv with these options and one command, in a site, with the `log.sock` of the site as `/dev/log`.
fn start(site: &Site, options: &[&str]) -> Running {
    let rest = ["--listen", "127.0.0.1:0", "-c", "cert.pem", "true"];
    let mut command = with_log(site, &[options, &rest].concat());
    Running(command.stderr(Stdio::null()).spawn().unwrap())
}

fn with_log(site: &Site, args: &[&str]) -> Command {
    with_log_in(site.path(), args)
}

fn with_log_in(site: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", WITH_LOG])
        .args([site.join("log.sock").to_str().unwrap(), tlssrv_path()])
        .args(args)
        .current_dir(site);
    command
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
