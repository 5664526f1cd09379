//! Registrations in the epoll set, and timers.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};

use super::event_loop::{EventLoop, PROGRAM, PROGRAM_INPUT};
use super::program::ProgramStream;
use crate::types::ConnectionId;

impl EventLoop<'_> {
    /// Time until the next timer.
    pub(super) fn timeout(&self) -> EpollTimeout {
        let Some(Reverse((when, _))) = self.timers.peek() else {
            return EpollTimeout::NONE;
        };
        let wait = when.saturating_duration_since(self.shared.now);
        // The wait ends a millisecond late rather than early, and lasts a minute at most.
        let milliseconds = u16::try_from(wait.as_millis().saturating_add(1)).unwrap_or(60_000);
        EpollTimeout::from(milliseconds)
    }

    /// Handles the timers that have gone off.
    pub(super) fn expire(&mut self) {
        while let Some(&Reverse((when, id))) = self.timers.peek() {
            if when > self.shared.now {
                break;
            }
            self.timers.pop();
            let Some(entry) = self
                .connections
                .get_mut(&id)
                .filter(|e| e.timer == Some(when))
            else {
                continue; // the connection has ended, or has an earlier timer
            };
            entry.timer = None;
            match entry.connection.deadline {
                Some(deadline) if deadline <= self.shared.now => {
                    self.advance(id, |connection, shared| connection.expire(shared));
                }
                _ => self.arm(id), // the deadline has been put off since
            }
        }
    }

    /// Registers the descriptors of a connection for the events that it waits for, if those have changed. A
    /// descriptor without any is removed from the epoll set, because a hang-up cannot be masked.
    pub(super) fn register(&mut self, id: ConnectionId) {
        let Some(entry) = self.connections.get_mut(&id) else {
            return;
        };
        let awaited = entry.connection.awaited();
        let flags = |read, write| {
            let mut flags = EpollFlags::empty();
            flags.set(EpollFlags::EPOLLIN, read);
            flags.set(EpollFlags::EPOLLOUT, write);
            flags
        };
        let program = entry.connection.program().map(ProgramStream::descriptors);
        let mut sides: [Option<(BorrowedFd<'_>, EpollFlags)>; 3] = [
            Some((
                entry.connection.socket().as_fd(),
                flags(awaited.client_read, awaited.client_write),
            )),
            None,
            None,
        ];
        match program {
            None => {}
            Some((socket, None)) => {
                sides[PROGRAM] = Some((socket, flags(awaited.program_read, awaited.program_write)));
            }
            Some((read, Some(write))) => {
                sides[PROGRAM] = Some((read, flags(awaited.program_read, false)));
                sides[PROGRAM_INPUT] = Some((write, flags(false, awaited.program_write)));
            }
        }
        for (side, (registered, wanted)) in entry.registered.iter_mut().zip(sides).enumerate() {
            let Some((descriptor, flags)) = wanted else {
                *registered = EpollFlags::empty(); // closing has removed the descriptor from the set
                continue;
            };
            let mut event = EpollEvent::new(flags, id.0 << 2 | side as u64);
            let result = match (registered.is_empty(), flags.is_empty()) {
                _ if *registered == flags => continue,
                (true, _) => self.epoll.add(descriptor, event),
                (false, true) => self.epoll.delete(descriptor),
                (false, false) => self.epoll.modify(descriptor, &mut event),
            };
            // If memory has run out, the connection meets its deadline.
            if result.is_ok() {
                *registered = flags;
            }
        }
    }

    /// Sets a timer for the deadline of a connection, unless an earlier one is set.
    pub(super) fn arm(&mut self, id: ConnectionId) {
        let Some(entry) = self.connections.get_mut(&id) else {
            return;
        };
        let Some(deadline) = entry.connection.deadline else {
            return;
        };
        if entry.timer.is_none_or(|timer| deadline < timer) {
            entry.timer = Some(deadline);
            self.timers.push(Reverse((deadline, id)));
        }
    }
}
