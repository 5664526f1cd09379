//! Child processes that have ended.
#![forbid(unsafe_code)]

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

/// The exit status of a process as text: a number, or the name of a signal.
pub fn exit_text(status: WaitStatus) -> Option<String> {
    match status {
        WaitStatus::Exited(_, status) => Some(status.to_string()),
        WaitStatus::Signaled(_, signal, _) => Some(signal.as_str().to_owned()),
        _ => None,
    }
}
