//! `mkfile-compat/`, for users of Plan 9, run by the mk and rc of Plan 9.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod dial;
mod listen1;
mod mk;
mod page;
mod services;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use tlssrv_testing::programs::{Daemon, find, program};
use tlssrv_testing::server::Lines;
use tlssrv_testing::{DEADLINE, Site, eventually};

/// A file of `mkfile-compat/`.
pub(crate) fn compat(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("mkfile-compat")
        .join(file)
}

/// A directory of a site with these programs, as the whole of `PATH`.
pub(crate) fn path_of(site: &Site, programs: &[&str]) -> PathBuf {
    let path = site.file("path");
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    for name in programs {
        symlink(find(name).unwrap(), path.join(name)).unwrap();
    }
    path
}

/// `listen1` with these arguments, copied to a site, where other users can run it.
pub(crate) fn listen1(site: &Site, args: &[&str]) -> Command {
    fs::copy(compat("listen1"), site.file("listen1")).unwrap();
    let mut listen1 = program(site.file("listen1").to_str().unwrap());
    listen1.args(args).current_dir(site.path());
    listen1
}

/// A running `listen1` or `listen`, and the standard error of it and its commands.
pub(crate) struct Listening {
    pub(crate) daemon: Daemon,
    pub(crate) said: std::sync::Arc<Lines>,
}

impl Listening {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut daemon = Daemon::start(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let said = Lines::collect(daemon.0.stderr.take().unwrap());
        Self { daemon, said }
    }

    /// Tells it to end (TERM).
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(self.daemon.0.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
    }
}

impl Drop for Listening {
    /// SIGTERM, because it then ends what it has started, too.
    fn drop(&mut self) {
        if let Ok(None) = self.daemon.0.try_wait() {
            self.terminate();
            let until = Instant::now() + DEADLINE;
            while Instant::now() < until && matches!(self.daemon.0.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Connects, as soon as the address is listened on.
pub(crate) fn call(address: impl Into<SocketAddr>) -> TcpStream {
    let address = address.into();
    let socket = eventually("it listens", || TcpStream::connect(address).ok());
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// Connects to a port of this machine.
pub(crate) fn call_port(port: u16) -> TcpStream {
    call(([127, 0, 0, 1], port))
}

/// The next line, without its end.
pub(crate) fn line(from: &mut impl Read) -> String {
    let mut line = String::new();
    // One byte at a time, because the bytes after the line are read by others.
    BufReader::with_capacity(1, from)
        .read_line(&mut line)
        .unwrap();
    line.trim_end().to_owned()
}

/// Everything until the end.
pub(crate) fn rest(from: &mut impl Read) -> String {
    let mut rest = String::new();
    from.read_to_string(&mut rest).unwrap();
    rest
}
