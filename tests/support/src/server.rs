//! A running tlssrv: start, log lines, stop.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Client, DEADLINE, Dial, Line, Site, eventually, proc, tlssrv_path};

/// A listening tlssrv, which is ended when this is dropped.
pub struct Server {
    /// Where it was started.
    pub site: Site,
    /// Its addresses, in the order of its log lines: `127.0.0.1:4711`, `unix:/tmp/…`.
    pub listens: Vec<String>,
    child: Child,
    lines: Arc<Lines>,
}

/// The lines that a process has written so far.
#[derive(Default)]
pub struct Lines {
    seen: Mutex<Seen>,
    came: Condvar,
}

#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    ended: bool,
}

impl Server {
    /// Starts tlssrv in a [`Site`] of its own, with these arguments. `cert.pem` is there.
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(Site::new(), args)
    }

    /// `tlssrv --listen 127.0.0.1:0 -c cert.pem COMMAND…`
    pub fn of(command: &[&str]) -> Self {
        Self::start(&[&["--listen", "127.0.0.1:0", "-c", "cert.pem"], command].concat())
    }

    /// Starts tlssrv in a site, with these arguments.
    pub fn start_in(site: Site, args: &[&str]) -> Self {
        Self::run(site, Command::new(tlssrv_path()).args(args))
    }

    /// Starts tlssrv with this configuration, in a site of its own.
    pub fn with_config(toml: &str) -> Self {
        Self::with_config_in(Site::new(), toml)
    }

    /// Starts tlssrv with this configuration, in a site.
    pub fn with_config_in(site: Site, toml: &str) -> Self {
        let site = site.with_file("tlssrv.toml", toml);
        Self::start_in(site, &["-f", "tlssrv.toml"])
    }

    /// Runs a command line that starts tlssrv, in a site, and waits until it listens everywhere.
    pub fn run(site: Site, command: &mut Command) -> Self {
        Self::run_passing(site, command.stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// As [`Server::run`], with descriptors 0 and 1 as they are set already.
    pub fn run_passing(site: Site, command: &mut Command) -> Self {
        let child = command
            .current_dir(site.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut server = Self {
            site,
            listens: Vec::new(),
            child,
            lines: Arc::default(),
        };
        let stderr = server.child.stderr.take().unwrap();
        server.lines = Lines::collect(stderr);
        server.listens = server.wait_until_it_listens();
        server
    }

    /// Waits for the line of each listener; their number comes from the arguments and the configuration.
    fn wait_until_it_listens(&self) -> Vec<String> {
        let address = |line: &str| {
            let (_, address) = line.split_once("listening on ")?;
            // In JSON a quotation mark ends the address.
            address.split('"').next().map(str::to_owned)
        };
        self.wait_for_line("it listens", |line| line.contains("listening on "));
        let expected = self.listening_sockets();
        self.lines.wait("it listens everywhere", |lines| {
            let found: Vec<String> = lines.iter().filter_map(|line| address(line)).collect();
            (found.len() >= expected).then_some(found)
        })
    }

    /// The number of listeners in its arguments and its configuration.
    fn listening_sockets(&self) -> usize {
        let arguments = proc::arguments(self.pid());
        let on_the_line = arguments.iter().filter(|a| a.starts_with("--listen"));
        let file = fs::read_to_string(self.site.file("tlssrv.toml")).unwrap_or_default();
        let in_the_file = file.lines().filter(|line| line.trim() == "[[listen]]");
        (on_the_line.count() + in_the_file.count()).max(1)
    }

    /// The process that was started: the monitor.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// The engines, as they are now.
    pub fn engines(&self) -> Vec<Pid> {
        let mut engines = proc::children(self.pid());
        engines.retain(|pid| proc::name(*pid).as_deref() == Some("tlssrv"));
        engines
    }

    /// The commands, as they are now.
    pub fn commands(&self) -> Vec<Pid> {
        let mut commands = proc::children(self.pid());
        commands.retain(|pid| proc::name(*pid).is_some_and(|name| !name.starts_with("tlssrv")));
        commands
    }

    /// The address of its first TCP listener.
    pub fn address(&self) -> SocketAddr {
        let mut addresses = self.listens.iter().filter_map(|l| l.parse().ok());
        addresses.next().expect("a TCP listener")
    }

    /// A client that has asked for this name (none, when it is empty); the handshake is done.
    pub fn connect(&self, name: &str) -> Client {
        Dial::new().connect(self.address(), name)
    }

    /// Waits for the first line for which a condition is true.
    pub fn wait_for_line(&self, what: &str, mut is: impl FnMut(&str) -> bool) -> String {
        self.lines
            .wait(what, |lines| lines.iter().find(|line| is(line)).cloned())
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.seen.lock().unwrap().lines.clone()
    }

    /// The lines of all connections that have ended so far.
    pub fn connection_lines(&self) -> Vec<Line> {
        connections(&self.lines())
    }

    /// Waits for the log lines of this number of connections.
    pub fn wait_for_connections(&self, count: usize) -> Vec<Line> {
        let what = format!("{count} connection lines");
        self.lines.wait(&what, |lines| {
            let lines = connections(lines);
            (lines.len() >= count).then_some(lines)
        })
    }

    /// The line of the only connection; fails if there were several.
    pub fn wait_for_connection(&self) -> Line {
        let mut lines = self.wait_for_connections(1);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually("tlssrv ends", || child.try_wait().unwrap());
        self.lines.wait("its stderr ends", |_| Some(()));
        status
    }

    /// Tells it to stop (SIGTERM), and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Two signals, so that open connections end too and nothing is left behind.
            let _ = kill(self.pid(), Signal::SIGTERM);
            let _ = kill(self.pid(), Signal::SIGINT);
            let until = Instant::now() + DEADLINE;
            while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("what the server said:\n{}", self.lines().join("\n"));
        }
    }
}

impl Lines {
    /// Collects lines in the background.
    pub fn collect(from: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let collected = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                collected.seen.lock().unwrap().lines.push(text);
                collected.came.notify_all();
                line.clear();
            }
            collected.seen.lock().unwrap().ended = true;
            collected.came.notify_all();
        });
        lines
    }

    /// Waits until a function of all lines returns something.
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut(&[String]) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        let mut seen = self.seen.lock().unwrap();
        loop {
            if let Some(found) = look(&seen.lines) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || seen.ended {
                let said = seen.lines.join("\n");
                drop(seen); // the mutex must not be poisoned for others
                panic!("waited in vain for: {what}\n{said}");
            }
            seen = self.came.wait_timeout(seen, left).unwrap().0;
        }
    }
}

fn connections(lines: &[String]) -> Vec<Line> {
    let lines = lines.iter().filter(|line| line.contains("end="));
    let lines = lines.map(|line| Line::parse(line));
    lines.filter(Line::is_connection).collect()
}
