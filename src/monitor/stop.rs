//! The end: first nobody new, then nobody at all.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};

use super::{Monitor, Stop};
use crate::message::{End, Report, ToEngine};
use crate::types::{ConnectionId, Severity};

/// How long commands may take to end when told to end at once.
const AT_ONCE: Duration = Duration::from_secs(1);

impl Monitor {
    pub(super) fn stop_further(&mut self, signal: Signal) {
        match self.stop {
            Stop::No => {
                self.begin_stop();
                let open = self.connections.len();
                self.logger.say(
                    Severity::Notice,
                    &format!(
                        "{signal}: no more clients; connections that go on to their end: {open}"
                    ),
                );
            }
            Stop::Draining => {
                self.logger.say(
                    Severity::Notice,
                    &format!(
                        "{signal}: connections that are ended: {}",
                        self.connections.len()
                    ),
                );
                self.stop_now();
            }
            Stop::Now => {}
        }
    }

    /// Accepts nobody any more.
    pub(super) fn begin_stop(&mut self) {
        self.stop = Stop::Draining;
        // Closed or not: what somebody else has open as well stays in an epoll set.
        self.deafen();
        self.listeners.clear();
        self.passed.clear();
        self.tell_stopping();
        self.resolve_no_more();
        for place in self.places() {
            self.tell(place, &ToEngine::Drain, Vec::new());
        }
    }

    /// Ends every connection and every command.
    pub(super) fn stop_now(&mut self) {
        self.stop = Stop::Now;
        let now = Instant::now();
        for slot in self.slots.values_mut() {
            slot.bury(now);
        }
        self.signal_commands(Signal::SIGTERM);
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for &id in &ids {
            self.client_ended(id, Report::unknown(End::Reset), now);
        }
        self.outlived = ids.into_iter().map(|id| (now + AT_ONCE, id)).collect();
    }

    pub(super) fn signal_commands(&self, signal: Signal) {
        for &pid in self.children.keys() {
            // Its group is its own; it may have ended meanwhile.
            let _ = killpg(pid, signal);
        }
    }
}
