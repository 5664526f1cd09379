//! The time to wait for events.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use nix::sys::epoll::EpollTimeout;

/// The time until the first of these is due, a minute at most.
pub(super) fn until(due: impl IntoIterator<Item = Option<Instant>>, now: Instant) -> EpollTimeout {
    let due = due.into_iter().flatten().min();
    let wait = due.map_or(Duration::MAX, |due| due.saturating_duration_since(now));
    EpollTimeout::from(u16::try_from(wait.as_millis().saturating_add(1)).unwrap_or(60_000))
}
