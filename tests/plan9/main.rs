//! What is there for those who come from Plan 9: `mkfile-compat/`, run by Plan 9's own mk and rc.
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

/// A directory of a site that has these programs, to be all of `PATH`.
pub(crate) fn path_of(site: &Site, programs: &[&str]) -> PathBuf {
    let path = site.file("path");
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    for name in programs {
        symlink(find(name).unwrap(), path.join(name)).unwrap();
    }
    path
}

/// `listen1` with these arguments, in a site, where whoever it becomes can run it.
pub(crate) fn listen1(site: &Site, args: &[&str]) -> Command {
    fs::copy(compat("listen1"), site.file("listen1")).unwrap();
    let mut listen1 = program(site.file("listen1").to_str().unwrap());
    listen1.args(args).current_dir(site.path());
    listen1
}

/// A `listen1` or `listen` at work, and what it and its commands write to descriptor 2.
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
    /// Whoever is told to end takes with it what it has started.
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

/// Calls as soon as somebody listens.
pub(crate) fn call(address: impl Into<SocketAddr>) -> TcpStream {
    let address = address.into();
    let socket = eventually("it listens", || TcpStream::connect(address).ok());
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// Calls a port of this machine.
pub(crate) fn call_port(port: u16) -> TcpStream {
    call(([127, 0, 0, 1], port))
}

/// The next line, without its end.
pub(crate) fn line(from: &mut impl Read) -> String {
    let mut line = String::new();
    // One byte at a time: what comes after the line is for others.
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
