//! Waiting for a condition, until a deadline.

use std::time::{Duration, Instant};

/// Time limit for anything that is expected to happen; far more than it takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Time between two looks.
const AGAIN: Duration = Duration::from_millis(5);

/// Calls a function until it returns something; panics with `what` when the deadline passes.
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
