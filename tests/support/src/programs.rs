//! Programs of others: found, run to their end, and kept running.

use std::env;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Time limit of a program; far more than one that moves a lot of data takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// Whether a test must be skipped because one of these programs is not installed; reports that. Where
/// `TLSSRV_TEST_REQUIRE_ALL` is set, the test fails.
pub fn missing(programs: &[&str]) -> bool {
    let mut missing = programs.iter().filter(|program| find(program).is_none());
    let Some(program) = missing.next() else {
        return false;
    };
    crate::skip(&format!("{program} is not installed"));
    assert!(
        env::var_os("TLSSRV_TEST_REQUIRE_ALL").is_none(),
        "{program} is not installed, and nothing may be left out"
    );
    true
}

/// The path of a program: in `PATH`, in the directories of daemons, or in that of 9base.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let elsewhere = ["/usr/sbin", "/sbin", "/usr/lib/plan9/bin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(elsewhere)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// A command line of a program with no environment but `PATH` and `LC_ALL`.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(find(name).unwrap_or_else(|| name.into()));
    command.env_clear().env("LC_ALL", "C.UTF-8");
    if let Some(path) = env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// The exit status and output of a program.
#[derive(Debug)]
pub struct Ran {
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The standard output of a program that succeeded.
    pub fn text(self) -> String {
        String::from_utf8(self.succeeded().stdout).unwrap()
    }

    /// Fails unless the program succeeded.
    pub fn succeeded(self) -> Self {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
        self
    }
}

/// Runs a program to its end, with nothing to read.
pub fn run(command: &mut Command) -> Ran {
    run_with(command, b"")
}

/// Runs a program to its end, with this to read, and then end-of-file.
pub fn run_with(command: &mut Command, input: &[u8]) -> Ran {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = loop {
        match command.spawn() {
            // A process that another test forks holds the file open for writing until its own exec.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(1));
            }
            started => break started.unwrap(),
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    thread::spawn(move || stdin.write_all(&input));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child);
    let stdout = stdout.join().unwrap();
    let stderr = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
    let Some(status) = status else {
        let program = command.get_program().to_string_lossy();
        panic!("{program} does not end: {stderr}");
    };
    Ran {
        status,
        stdout,
        stderr,
    }
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// Waits for the end of a program; `None`: it had to be killed.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// A running program, which is killed when this is dropped.
pub struct Daemon(
    /// The process.
    pub Child,
);

impl Daemon {
    /// Starts a program whose descriptors are set already.
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Starts a program with nothing to read, whose output is discarded.
    pub fn silent(command: &mut Command) -> Self {
        let [stdin, stdout, stderr] = [(); 3].map(|()| Stdio::null());
        Self::start(command.stdin(stdin).stdout(stdout).stderr(stderr))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes to standard error what the test runner may not hide.
pub(crate) fn aloud(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}
