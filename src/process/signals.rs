//! Signals, blocked and read from a `signalfd(2)`. No handler ever runs.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that a process waits for.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks these signals, and receives them from now on.
    ///
    /// Errors: those of `sigprocmask(2)` and `signalfd(2)`.
    pub fn catch(signals: &[Signal]) -> nix::Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        SignalFd::with_flags(&set, flags).map(Self)
    }

    /// The next signal that has come.
    pub fn take(&self) -> Option<Signal> {
        let taken = self.0.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(taken.ssi_signo).ok()?).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
