//! Child processes that have ended.
#![forbid(unsafe_code)]

use std::fs;
use std::process;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Waits for a child that has ended; `None`: there is none.
pub fn reap() -> Option<(Pid, WaitStatus)> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(status) => {
                if let Some(pid) = status.pid() {
                    return Some((pid, status));
                }
            }
            Err(_) => {}
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

/// The exit status of a process as text: a number, or the name of a signal.
pub fn exit_text(status: WaitStatus) -> Option<String> {
    match status {
        WaitStatus::Exited(_, status) => Some(status.to_string()),
        WaitStatus::Signaled(_, signal, _) => Some(signal.as_str().to_owned()),
        _ => None,
    }
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
    fn nothing_is_known_of_processes_that_are_no_children() {
        assert_eq!(is_exiting(Pid::from_raw(1)), None);
    }
}
