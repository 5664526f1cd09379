//! Requests for up-to-date numbers: the engines are asked how much each connection has moved, and the
//! answer waits for them, within a limited time.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::control::AdminClient;
use crate::reporter::RequestId;
use crate::types::EngineId;

/// Time that engines may take. After it the answer has the numbers that were known before.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The request that is under way, if there is one.
#[derive(Default)]
pub(in crate::monitor) struct Stats(Option<Pending>);

struct Pending {
    /// Engines that have not answered.
    awaited: BTreeSet<EngineId>,
    until: Instant,
    waiters: Vec<Waiter>,
}

/// A client that waits for numbers.
pub(in crate::monitor) enum Waiter {
    /// A client of the reporter, for the metrics.
    Metrics(RequestId),
    /// A client of the control socket, for the status.
    Status(AdminClient),
}

impl Stats {
    /// Lets a client wait. `ask` asks the engines that have connections, unless they are asked already.
    pub(in crate::monitor) fn request(
        &mut self,
        waiter: Waiter,
        ask: impl FnOnce() -> Vec<EngineId>,
        now: Instant,
    ) {
        if let Some(pending) = &mut self.0 {
            return pending.waiters.push(waiter);
        }
        self.0 = Some(Pending {
            awaited: ask().into_iter().collect(),
            until: now + TIMEOUT,
            waiters: vec![waiter],
        });
    }

    /// Notes that an engine has answered, or never will.
    pub(in crate::monitor) fn answered(&mut self, engine: EngineId) {
        if let Some(pending) = &mut self.0 {
            pending.awaited.remove(&engine);
        }
    }

    /// The end of the time that engines may take.
    pub(in crate::monitor) fn due(&self) -> Option<Instant> {
        self.0.as_ref().map(|pending| pending.until)
    }

    /// Whether clients wait, and there is nothing more to wait for.
    pub(in crate::monitor) fn is_complete(&self, now: Instant) -> bool {
        let is_complete = |pending: &Pending| pending.awaited.is_empty() || pending.until <= now;
        self.0.as_ref().is_some_and(is_complete)
    }

    /// The clients that wait. They wait no longer.
    pub(super) fn take_waiters(&mut self) -> Vec<Waiter> {
        self.0
            .take()
            .map(|pending| pending.waiters)
            .unwrap_or_default()
    }
}
