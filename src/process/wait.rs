//! Child processes that have ended.

use std::fmt;
use std::fs;
use std::process;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// How a process has ended. `Display` is the exit status as a number, or the name of the signal.
///
/// nix's `WaitStatus` has no place for real-time signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit status.
    Exited(u8),
    /// A signal of this number has killed it.
    Killed(i32),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(status) => status.fmt(f),
            Self::Killed(number) => match Signal::try_from(number) {
                Ok(signal) => signal.fmt(f),
                Err(_) => write!(f, "SIGRTMIN+{}", number - libc::SIGRTMIN()),
            },
        }
    }
}

/// Waits for a child that has ended; `None`: there is none.
pub fn reap() -> Option<(Pid, Ended)> {
    wait_for(Pid::from_raw(-1), libc::WNOHANG).ok()
}

/// How this child has ended; `None`: it has not.
pub fn reap_child(child: Pid) -> Option<Ended> {
    wait_for(child, libc::WNOHANG).ok().map(|(_, ended)| ended)
}

/// Waits until this child has ended.
///
/// Errors: those of waitpid(2).
pub fn wait_until_ended(child: Pid) -> nix::Result<Ended> {
    wait_for(child, 0).map(|(_, ended)| ended)
}

/// Errors: those of waitpid(2), and ECHILD if no child has ended yet.
fn wait_for(child: Pid, flags: libc::c_int) -> nix::Result<(Pid, Ended)> {
    loop {
        let mut status = 0;
        // SAFETY: the status outlives the call.
        let result = unsafe { libc::waitpid(child.as_raw(), &raw mut status, flags) };
        match Errno::result(result) {
            Ok(0) => return Err(Errno::ECHILD),
            Ok(pid) => {
                let ended = match libc::WIFSIGNALED(status) {
                    true => Ended::Killed(libc::WTERMSIG(status)),
                    false => {
                        Ended::Exited(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))
                    }
                };
                return Ok((Pid::from_raw(pid), ended));
            }
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Whether a child that is not reaped has begun to end: its descriptors may be closed, and its exit status may
/// not be there yet. `None`: `/proc` does not tell.
pub fn is_exiting(child: Pid) -> Option<bool> {
    /// `PF_EXITING` of the kernel (`include/linux/sched.h`), which is set before descriptors are closed.
    const EXITING: u64 = 0x4;
    // proc_pid_stat(5): pid (name) state ppid pgrp session tty_nr tpgid flags …; the name may be anything.
    let stat = fs::read(format!("/proc/{child}/stat")).ok()?;
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace().skip(1);
    // This may be the /proc of another PID namespace.
    let parent: u32 = fields.next()?.parse().ok()?;
    let flags: u64 = fields.nth(4)?.parse().ok()?;
    (parent == process::id() && flags != 0).then_some(flags & EXITING != 0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_is_exiting_from_its_end_until_it_is_reaped() {
        let mut child = Command::new("cat");
        let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        assert_eq!(is_exiting(pid), Some(false));
        drop(child.stdin.take());
        while is_exiting(pid) == Some(false) {
            std::thread::yield_now();
        }
        assert_eq!(is_exiting(pid), Some(true));
        child.wait().unwrap();
        assert_eq!(is_exiting(pid), None);
    }

    #[test]
    fn an_end_is_shown_as_status_or_signal() {
        for (script, ended, shown) in [
            ("exit 0", Ended::Exited(0), "0"),
            ("exit 255", Ended::Exited(255), "255"),
            ("kill -9 $$", Ended::Killed(9), "SIGKILL"),
            (
                "kill -36 $$",
                Ended::Killed(36),
                &format!("SIGRTMIN+{}", 36 - libc::SIGRTMIN()),
            ),
        ] {
            let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
            let pid = Pid::from_raw(child.id().try_into().unwrap());
            assert_eq!(wait_until_ended(pid), Ok(ended));
            assert_eq!(ended.to_string(), shown);
            assert!(child.wait().is_err(), "nothing is left to wait for");
        }
        assert_eq!(wait_until_ended(Pid::from_raw(1)), Err(Errno::ECHILD));
    }

    #[test]
    fn nothing_is_known_of_processes_that_are_no_children() {
        assert_eq!(is_exiting(Pid::from_raw(1)), None);
    }
}
