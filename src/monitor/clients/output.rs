//! How the output of a command has ended: an engine asks before it tells the client.
//!
//! The kernel closes the descriptors of a process that ends before it tells its parent, so the engine may ask
//! before the exit status is there. The answer waits for the status then, but for a bounded time.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::Clients;
use super::client::{Client, Output, PlaintextSide};
use crate::message::OutputEnd;
use crate::process::{Ended, is_exiting, reap_child};
use crate::types::ConnectionId;

/// Time limit for the exit status of a command that is about to exit.
const EXITING: Duration = Duration::from_secs(1);
/// Time limit where `/proc` does not tell whether the command is about to exit. A command that has closed its
/// output and lives on delays the end of its connection by this time there.
const UNKNOWN: Duration = Duration::from_millis(100);

/// Questions that wait for an exit status.
#[derive(Default)]
pub(super) struct Questions(BinaryHeap<Reverse<(Instant, ConnectionId)>>);

/// What is known of the output of a client's command, which has ended.
pub(super) enum Knowledge {
    /// How it ended.
    Known(OutputEnd),
    /// The answer waits for the exit status, for this time at most.
    Wait(Duration),
    /// There is no command.
    NoCommand,
}

impl Clients {
    /// Waits for the command of a client if it has ended; how it has.
    pub(in crate::monitor) fn reap(&self, id: ConnectionId) -> Option<(Pid, Ended)> {
        match self.get(id)?.plaintext {
            PlaintextSide::Running(pid) => reap_child(pid).map(|ended| (pid, ended)),
            _ => None,
        }
    }
}

impl Client {
    /// How the output has ended.
    pub(super) fn output_end(&self) -> Knowledge {
        match self.plaintext {
            PlaintextSide::Exited(_, Ended::Killed(_)) => Knowledge::Known(OutputEnd::Cut),
            PlaintextSide::Exited(..) => Knowledge::Known(OutputEnd::Whole),
            PlaintextSide::Running(pid) => match is_exiting(pid) {
                Some(false) => Knowledge::Known(OutputEnd::Whole),
                Some(true) => Knowledge::Wait(EXITING),
                None => Knowledge::Wait(UNKNOWN),
            },
            _ => Knowledge::NoCommand,
        }
    }

    /// The answer to a question that waits; `None`: none does.
    pub(super) fn answer(&mut self) -> Option<OutputEnd> {
        if !self.is_open() || self.output != Output::Asked {
            return None;
        }
        self.output = Output::Answered;
        Some(match self.output_end() {
            Knowledge::Known(end) => end,
            // A command that has not ended in its time was not killed.
            Knowledge::Wait(_) | Knowledge::NoCommand => OutputEnd::Whole,
        })
    }
}

impl Questions {
    /// Lets the question about a connection wait until this time.
    pub(super) fn add(&mut self, id: ConnectionId, until: Instant) {
        self.0.push(Reverse((until, id)));
    }

    /// Time of the next [`Questions::overdue`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((until, _))| *until)
    }

    /// The next connection whose question has waited for its time. It may have been answered since.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<ConnectionId> {
        self.due().filter(|until| *until <= now)?;
        self.0.pop().map(|Reverse((_, id))| id)
    }
}
