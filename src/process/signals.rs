//! Signals as readable descriptors (the self-pipe trick), through signal-hook.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, Signal};

/// The signals that a process waits for, one socket each.
pub struct Signals(Vec<(Signal, UnixStream)>);

impl Signals {
    /// Catches these signals from now on.
    ///
    /// Errors: those of socketpair(2) and sigaction(2).
    pub fn catch(signals: &[Signal]) -> io::Result<Self> {
        let mut caught = Vec::new();
        for &signal in signals {
            let (ours, handlers) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal as i32, handlers)?;
            caught.push((signal, ours));
        }
        // Whoever started us may have blocked them.
        signals
            .iter()
            .copied()
            .collect::<SigSet>()
            .thread_unblock()?;
        Ok(Self(caught))
    }

    /// What to wait on: each signal's descriptor, in the order given to [`Signals::catch`].
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|(_, socket)| socket.as_fd())
    }

    /// Which of them came since the last call, and how often, in that same order.
    pub fn take(&mut self) -> Vec<(Signal, usize)> {
        let mut came = Vec::new();
        for (signal, socket) in &mut self.0 {
            let mut marks = [0; 256];
            let mut count = 0;
            while let Ok(n @ 1..) = socket.read(&mut marks) {
                count += n;
            }
            if count > 0 {
                came.push((*signal, count));
            }
        }
        came
    }
}
