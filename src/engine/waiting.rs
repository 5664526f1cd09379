//! What connections wait for: descriptors in the epoll set, and deadlines.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};

use super::program::ProgramStream;
use super::{COMMAND, COMMAND_INPUT, Running};
use crate::types::ConnectionId;

impl Running<'_> {
    pub(super) fn timeout(&self) -> EpollTimeout {
        let Some(Reverse((when, _))) = self.timers.peek() else {
            return EpollTimeout::NONE;
        };
        let wait = when.saturating_duration_since(self.shared.now);
        // A millisecond late rather than early, and at most a minute at a time.
        let milliseconds = u16::try_from(wait.as_millis().saturating_add(1)).unwrap_or(60_000);
        EpollTimeout::from(milliseconds)
    }

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
                continue; // it has ended, or has an earlier timer
            };
            entry.timer = None;
            match entry.connection.deadline {
                Some(deadline) if deadline <= self.shared.now => {
                    self.turn(id, |connection, shared| connection.expire(shared));
                }
                _ => self.arm(id), // it has moved since
            }
        }
    }

    /// Tells epoll what a connection waits for, where that has changed. A descriptor that it waits for
    /// nothing on leaves the set, because a hang-up cannot be masked.
    pub(super) fn register(&mut self, id: ConnectionId) {
        let Some(entry) = self.connections.get_mut(&id) else {
            return;
        };
        let wanted = entry.connection.wanted();
        let flags = |reads, takes| {
            let mut flags = EpollFlags::empty();
            flags.set(EpollFlags::EPOLLIN, reads);
            flags.set(EpollFlags::EPOLLOUT, takes);
            flags
        };
        let command = entry.connection.command().map(ProgramStream::descriptors);
        let mut sides: [Option<(BorrowedFd<'_>, EpollFlags)>; 3] = [
            Some((
                entry.connection.socket().as_fd(),
                flags(wanted.client, wanted.client_takes),
            )),
            None,
            None,
        ];
        match command {
            None => {}
            Some((socket, None)) => {
                sides[COMMAND] = Some((socket, flags(wanted.command, wanted.command_takes)));
            }
            Some((read, Some(write))) => {
                sides[COMMAND] = Some((read, flags(wanted.command, false)));
                sides[COMMAND_INPUT] = Some((write, flags(false, wanted.command_takes)));
            }
        }
        for (side, (registered, wanted)) in entry.registered.iter_mut().zip(sides).enumerate() {
            let Some((descriptor, flags)) = wanted else {
                *registered = EpollFlags::empty(); // closed, so out of the set
                continue;
            };
            let mut event = EpollEvent::new(flags, id.0 << 2 | side as u64);
            let result = match (registered.is_empty(), flags.is_empty()) {
                _ if *registered == flags => continue,
                (true, _) => self.epoll.add(descriptor, event),
                (false, true) => self.epoll.delete(descriptor),
                (false, false) => self.epoll.modify(descriptor, &mut event),
            };
            // Without memory for it the connection meets its deadline.
            if result.is_ok() {
                *registered = flags;
            }
        }
    }

    /// Sets a timer, unless one goes off before the deadline anyway.
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
