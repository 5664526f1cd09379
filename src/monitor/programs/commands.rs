//! Commands: a host's program → a running command, and the descriptors of it that the monitor keeps.
#![forbid(unsafe_code)]

use std::env;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::Pid;

use crate::config::{BackendName, Role};
use crate::process::{Launch, LaunchError, Launcher, Step};
use crate::resolve;
use crate::types::{Credentials, NewPrivileges, Program, Stderr, Stdio};

/// A command that has been started.
pub(in crate::monitor) struct Launched {
    /// The process id.
    pub(in crate::monitor) pid: Pid,
    /// The engine's end of the plaintext: a socket, or the pipes that the command writes and reads.
    /// Non-blocking.
    pub(in crate::monitor) plaintext: Vec<OwnedFd>,
    /// The reading end of standard error, where that goes into the log. Non-blocking.
    pub(in crate::monitor) stderr: Option<PipeReader>,
}

/// Starts commands.
pub(super) struct Commands {
    launcher: Launcher,
    null: File,
    /// Whether tlssrv's own standard error is the connection, so that no command may inherit it.
    stderr_is_connection: bool,
}

impl Commands {
    /// `descriptor_limit`: the limits of open descriptors that commands get.
    ///
    /// Errors: those of opening `/dev/null`.
    pub(super) fn new(
        descriptor_limit: (u64, u64),
        stderr_is_connection: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            launcher: Launcher::new(descriptor_limit),
            null: File::options().read(true).write(true).open("/dev/null")?,
            stderr_is_connection,
        })
    }

    /// Starts a program in a role, with these variables added to those of the role.
    ///
    /// Errors: the step that failed; nothing is left of the command then.
    pub(super) fn start(
        &mut self,
        program: &Program,
        role: &Role,
        variables: Vec<CString>,
    ) -> Result<Launched, LaunchError> {
        let mut environment = role.environment.clone();
        environment.extend(variables);
        let Plaintext {
            ours,
            stdin,
            stdout,
        } = Plaintext::make(program.stdio).map_err(|e| no_descriptors(&e))?;
        let (log, stderr) = match program.stderr {
            Stderr::Log => {
                let (reader, writer) = io::pipe().map_err(|e| no_descriptors(&e))?;
                set_nonblocking(reader.as_fd()).map_err(|e| no_descriptors(&e))?;
                (Some(reader), Some(OwnedFd::from(writer)))
            }
            Stderr::Inherit if !self.stderr_is_connection => (None, None),
            Stderr::Inherit | Stderr::Null => (
                None,
                Some(OwnedFd::from(
                    self.null.try_clone().map_err(|e| no_descriptors(&e))?,
                )),
            ),
        };
        let pid = self.launcher.start(&Launch {
            program,
            credentials: role.credentials.as_ref(),
            environment: &environment,
            stdin: stdin.as_fd(),
            stdout: stdout.as_ref().unwrap_or(&stdin).as_fd(),
            stderr: stderr.as_ref().map(AsFd::as_fd),
        })?;
        Ok(Launched {
            pid,
            plaintext: ours,
            stderr: log,
        })
    }

    /// Starts a process with these credentials that looks up names; its process id, and the pipe that it
    /// writes the addresses to. Non-blocking.
    ///
    /// Errors: the step that failed.
    pub(super) fn look_up(
        &mut self,
        names: &[BackendName],
        credentials: Option<&Credentials>,
    ) -> Result<(Pid, PipeReader), LaunchError> {
        // None of these texts can have a NUL.
        let text = |text: &[u8]| CString::new(text).unwrap_or_default();
        let mut argv = vec![text(resolve::ARGUMENT_0.as_bytes())];
        argv.extend(names.iter().map(|name| text(name.to_string().as_bytes())));
        let program = Program {
            path: c"/proc/self/exe".into(),
            argv,
            directory: Some(c"/".into()),
            umask: None,
            rlimits: Vec::new(),
            stdio: Stdio::Pipe,
            stderr: Stderr::Null,
            new_privileges: NewPrivileges::Forbidden,
        };
        // RES_OPTIONS and the like hold here as they did when the configuration was loaded.
        let environment: Vec<CString> = env::vars_os()
            .map(|(name, value)| text(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect();
        let (reader, writer) = io::pipe().map_err(|e| no_descriptors(&e))?;
        set_nonblocking(reader.as_fd()).map_err(|e| no_descriptors(&e))?;
        let pid = self.launcher.start(&Launch {
            program: &program,
            credentials,
            environment: &environment,
            stdin: self.null.as_fd(),
            stdout: writer.as_fd(),
            stderr: Some(self.null.as_fd()),
        })?;
        Ok((pid, reader))
    }
}

/// The engine's ends of the plaintext, which are non-blocking, and the command's standard input and output;
/// without the latter, `stdin` is both.
struct Plaintext {
    ours: Vec<OwnedFd>,
    stdin: OwnedFd,
    stdout: Option<OwnedFd>,
}

impl Plaintext {
    fn make(stdio: Stdio) -> io::Result<Self> {
        match stdio {
            Stdio::Socket => {
                let (ours, theirs) = UnixStream::pair()?;
                ours.set_nonblocking(true)?;
                Ok(Self {
                    ours: vec![ours.into()],
                    stdin: theirs.into(),
                    stdout: None,
                })
            }
            Stdio::Pipe => {
                let (read, stdout) = io::pipe()?;
                let (stdin, write) = io::pipe()?;
                set_nonblocking(read.as_fd())?;
                set_nonblocking(write.as_fd())?;
                Ok(Self {
                    ours: vec![read.into(), write.into()],
                    stdin: stdin.into(),
                    stdout: Some(stdout.into()),
                })
            }
        }
    }
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

fn no_descriptors(e: &io::Error) -> LaunchError {
    LaunchError {
        step: Step::Descriptors,
        errno: Errno::from_raw(e.raw_os_error().unwrap_or_default()),
    }
}
