//! Waiting for what is to come, never longer than a deadline and never for luck.

use std::time::{Duration, Instant};

/// How long anything may take that is expected to happen; far more than it takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often to look again.
const AGAIN: Duration = Duration::from_millis(5);

/// Looks until there is something; panics with `what` when the deadline passes.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(AGAIN);
    }
}
