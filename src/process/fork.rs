//! Fork of an engine process.

use std::os::fd::{AsRawFd, RawFd};

use nix::unistd::{ForkResult, Pid, fork};

use super::Channel;

/// The process in which [`fork_engine`] returns.
pub enum Forked {
    /// In the monitor: the engine's process id.
    Monitor(Pid),
    /// In the engine: its end of the channel, the only descriptor it has besides 0, 1 and 2 (which
    /// are `/dev/null`).
    Engine(Channel),
}

/// Forks an engine, which keeps no descriptor but `channel`.
///
/// The descriptors of the monitor are closed in the engine, while the values that own them live on: in the
/// engine, the caller must neither drop nor use any of these values, and must leave by `_exit`.
///
/// Errors: those of fork(2). A failure in the engine ends the engine.
pub fn fork_engine(channel: Channel) -> nix::Result<Forked> {
    // SAFETY: every process here has one thread, so the child finds no lock held by another.
    let forked = unsafe { fork() };
    match forked? {
        ForkResult::Parent { child } => Ok(Forked::Monitor(child)),
        // The signals that the monitor waits for stay blocked: an engine stops when the monitor says so,
        // and a terminal's interrupt reaches the whole foreground group.
        ForkResult::Child => match keep_only(&channel) {
            Ok(()) => Ok(Forked::Engine(channel)),
            Err(_) => exit_now(111),
        },
    }
}

/// Ends the process without running any exit handler of the parent.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) only ends the process.
    unsafe { libc::_exit(status) }
}

fn keep_only(channel: &Channel) -> nix::Result<()> {
    use std::os::fd::AsFd;
    // Descriptors of an engine:
    //   0, 1, 2  /dev/null
    //   kept     the channel, under the number it has
    let kept = channel.as_fd().as_raw_fd();
    close_range(3, kept - 1)?;
    close_range(kept + 1, RawFd::MAX)?;
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|e| nix::errno::Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)
}

fn close_range(first: RawFd, last: RawFd) -> nix::Result<()> {
    if first > last {
        return Ok(());
    }
    let (first, last) = (first.unsigned_abs(), last.unsigned_abs());
    // SAFETY: closing descriptors touches no memory. Values that own them live on in this process's
    // copy of the monitor's memory, and the contract of `fork_engine` forbids to use or drop them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    nix::errno::Errno::result(result).map(drop)
}
