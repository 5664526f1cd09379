//! Superservers, which accept connections and start tlssrv for each, with the configuration of a [`Site`].

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tlssrv_testing::account::{is_root, me};
use tlssrv_testing::programs::{Daemon, find, missing, program};
use tlssrv_testing::socket::free_address;
use tlssrv_testing::{Site, Socket, eventually, skip, tlssrv_path};

/// A running superserver.
pub(crate) struct Super {
    pub(crate) name: &'static str,
    pub(crate) at: At,
    /// What the superserver reports about a command with this exit status.
    status: fn(u8) -> String,
    /// The file in which it reports.
    said: PathBuf,
    _daemon: Daemon,
}

/// The address that it listens on.
pub(crate) enum At {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Starts a superserver; `None`: it is not installed.
pub(crate) type Start = fn(&Site) -> Option<Super>;

/// Every superserver.
pub(crate) const ALL: [Start; 6] = [
    tcpserver,
    inetd,
    xinetd,
    s6_tcpserver,
    s6_ipcserver,
    systemd,
];

impl Super {
    /// A connection, as soon as it listens.
    pub(crate) fn connect(&self) -> Socket {
        eventually("it listens", || match &self.at {
            At::Tcp(address) => TcpStream::connect(address).ok().map(Socket::from),
            At::Unix(path) => UnixStream::connect(path).ok().map(Socket::from),
        })
    }

    /// Waits until it reports this number of tlssrv processes that ended with this status.
    pub(crate) fn wait_for_status(&self, status: u8, count: usize) {
        let what = (self.status)(status);
        eventually(
            &format!("{} says {what:?} {count} times", self.name),
            || {
                let said = fs::read_to_string(&self.said).ok()?;
                (said.matches(&what).count() == count).then_some(())
            },
        );
    }
}

/// tcpserver, of ucspi-tcp.
pub(crate) fn tcpserver(site: &Site) -> Option<Super> {
    if missing(&["tcpserver"]) {
        return None;
    }
    let mut daemon = Daemon::start(
        stale(&mut program("tcpserver"))
            .args(["-1", "-v", "-H", "-R", "-l", "localhost", "127.0.0.1", "0"])
            .args([tlssrv_path(), "-f", "tlssrv.toml", "--inetd"])
            .current_dir(site.path())
            .stdout(Stdio::piped())
            .stderr(said(site)),
    );
    let mut port = String::new();
    let mut stdout = BufReader::new(daemon.0.stdout.take().unwrap());
    stdout.read_line(&mut port).unwrap();
    Some(Super {
        name: "tcpserver",
        at: At::Tcp(SocketAddr::from((
            [127, 0, 0, 1],
            port.trim_end().parse().unwrap(),
        ))),
        status: |status| format!(" status {}\n", u32::from(status) << 8),
        said: site.file("said"),
        _daemon: daemon,
    })
}

/// The inetd of OpenBSD, which makes the connection descriptor 2, too.
pub(crate) fn inetd(site: &Site) -> Option<Super> {
    if missing(&["inetd"]) {
        return None;
    }
    if !is_root() {
        skip("inetd wants to be root");
        return None;
    }
    let (address, table) = (free_address(), site.file("tlssrv.toml"));
    let (ip, port, table) = (address.ip(), address.port(), table.display());
    let tlssrv = tlssrv_path();
    let line = format!("{ip}:{port} stream tcp nowait root {tlssrv} tlssrv -f {table} --inetd\n");
    fs::write(site.file("inetd.conf"), line).unwrap();
    // It reports exit statuses to syslog or, in debug mode, on standard error.
    let daemon = Daemon::start(
        stale(&mut program("inetd"))
            .args(["-d", "-i"])
            .arg(site.file("inetd.conf"))
            .stdout(Stdio::null())
            .stderr(said(site)),
    );
    Some(Super {
        name: "openbsd-inetd",
        at: At::Tcp(address),
        status: |status| format!(" reaped, status {:x}\n", u32::from(status) << 8),
        said: site.file("said"),
        _daemon: daemon,
    })
}

/// xinetd, which makes the connection descriptor 2, too.
pub(crate) fn xinetd(site: &Site) -> Option<Super> {
    if missing(&["xinetd"]) {
        return None;
    }
    let (address, at) = (free_address(), site.path().display());
    let conf = format!(
        "service tlssrv\n{{\n\
         type = UNLISTED\nsocket_type = stream\nprotocol = tcp\nwait = no\n\
         bind = {}\nport = {}\nuser = {}\n\
         server = {}\nserver_args = -f {at}/tlssrv.toml --inetd\n\
         log_type = FILE {at}/said\nlog_on_success = PID HOST EXIT\n}}\n",
        address.ip(),
        address.port(),
        me().name,
        tlssrv_path(),
    );
    fs::write(site.file("xinetd.conf"), conf).unwrap();
    let daemon = Daemon::start(
        stale(&mut program("xinetd"))
            .args(["-dontfork", "-f"])
            .arg(site.file("xinetd.conf"))
            .arg("-pidfile")
            .arg(site.file("xinetd.pid"))
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    Some(Super {
        name: "xinetd",
        at: At::Tcp(address),
        status: |status| format!(" status={status} "),
        said: site.file("said"),
        _daemon: daemon,
    })
}

/// s6-tcpserver, of s6-networking. Debian 12 does not have it; without it, a stand-in does what any such
/// program does: it accepts a connection and passes it as descriptors 0 and 1.
pub(crate) fn s6_tcpserver(site: &Site) -> Option<Super> {
    let address = free_address();
    let mut server = match find("s6-tcpserver") {
        Some(_) => {
            let mut server = program("s6-tcpserver");
            server.args(["-v", "--"]);
            server.args([address.ip().to_string(), address.port().to_string()]);
            server
        }
        None if missing(&["python3"]) => return None,
        None => {
            let mut server = program("python3");
            server.args(["-c", S6_TCPSERVER]);
            server.args([address.ip().to_string(), address.port().to_string()]);
            server
        }
    };
    let daemon = Daemon::start(
        stale(&mut server)
            .args([tlssrv_path(), "-f", "tlssrv.toml", "--inetd"])
            .current_dir(site.path())
            .stdout(Stdio::null())
            .stderr(said(site)),
    );
    Some(Super {
        name: "s6-tcpserver",
        at: At::Tcp(address),
        status: |status| format!(" exitcode {status}\n"),
        said: site.file("said"),
        _daemon: daemon,
    })
}

/// The stand-in: the variables and descriptors of s6-tcpserver, and its output with `-v`.
const S6_TCPSERVER: &str = "
import os, socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    connection, (ip, port) = listener.accept()
    os.environ.update(PROTO='TCP', TCPREMOTEIP=ip, TCPREMOTEPORT=str(port), TCPCONNNUM='1')
    pid = os.fork()
    if pid == 0:
        os.dup2(connection.fileno(), 0)
        os.dup2(connection.fileno(), 1)
        os.execv(sys.argv[3], sys.argv[3:])
    connection.close()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print('end pid', pid, 'exitcode', status, file=sys.stderr, flush=True)
";

/// s6-ipcserver, of s6, on a Unix-domain socket.
pub(crate) fn s6_ipcserver(site: &Site) -> Option<Super> {
    if missing(&["s6-ipcserver"]) {
        return None;
    }
    let daemon = Daemon::start(
        stale(&mut program("s6-ipcserver"))
            .args(["-v", "--", "socket"])
            .args([tlssrv_path(), "-f", "tlssrv.toml", "--inetd"])
            .current_dir(site.path())
            .stdout(Stdio::null())
            .stderr(said(site)),
    );
    Some(Super {
        name: "s6-ipcserver",
        at: At::Unix(site.file("socket")),
        status: |status| format!(" exitcode {status}\n"),
        said: site.file("said"),
        _daemon: daemon,
    })
}

/// systemd, with `Accept=yes`.
pub(crate) fn systemd(site: &Site) -> Option<Super> {
    if missing(&["systemd-socket-activate"]) {
        return None;
    }
    let address = free_address();
    let daemon = Daemon::start(
        stale(&mut program("systemd-socket-activate"))
            .args(["--inetd", "--accept", "--listen", &address.to_string()])
            .args([tlssrv_path(), "-f", "tlssrv.toml", "--inetd"])
            .current_dir(site.path())
            .stdout(Stdio::null())
            .stderr(said(site)),
    );
    Some(Super {
        name: "systemd-socket-activate",
        at: At::Tcp(address),
        status: |status| format!(" died with code {status}\n"),
        said: site.file("said"),
        _daemon: daemon,
    })
}

/// The file in which superservers report.
fn said(site: &Site) -> File {
    File::create(site.file("said")).unwrap()
}

/// With nothing to read, and stale variables of another connection, which no command may get.
fn stale(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .env("SSL_CLIENT_S_DN", "CN=stale")
        .env("TCPREMOTEINFO", "stale")
        .env("REMOTE_HOST", "stale")
}
