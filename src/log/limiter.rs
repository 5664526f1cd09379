//! Limit of lines per second for each kind, and a count of the lines that are left out.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Time for which lines of a kind are counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);
/// Maximum number of kinds in a window; all further kinds count as one.
const KINDS: usize = 64;

/// Counts lines by kind.
#[derive(Default)]
pub(crate) struct Limiter(HashMap<String, Window>);

struct Window {
    ends: Instant,
    written: u32,
    left_out: u64,
}

impl Limiter {
    /// Counts a line of this kind; whether it may be written.
    pub(crate) fn allow(&mut self, kind: &str, most: u32, now: Instant) -> bool {
        let kind = match self.0.len() < KINDS || self.0.contains_key(kind) {
            true => kind,
            false => "other",
        };
        let window = self.0.entry(kind.to_owned()).or_insert(Window {
            ends: now + WINDOW,
            written: 0,
            left_out: 0,
        });
        if window.written < most {
            window.written += 1;
            return true;
        }
        window.left_out += 1;
        false
    }

    /// Forgets the kinds whose window is over. Returns the kinds of which lines were left out, with their
    /// numbers.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(String, u64)> {
        let over = self.0.extract_if(|_, window| window.ends <= now);
        over.filter(|(_, window)| window.left_out > 0)
            .map(|(kind, window)| (kind, window.left_out))
            .collect()
    }

    /// The end of the next window.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.0.values().map(|window| window.ends).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{KINDS, Limiter, WINDOW};

    #[test]
    fn lines_over_the_limit_are_counted_and_reported_when_the_window_is_over() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let written = (0..1000).filter(|_| limiter.allow("a", 50, now)).count();
        assert_eq!(written, 50);
        assert!(
            limiter.allow("b", 50, now),
            "another kind has its own allowance"
        );
        assert!(limiter.expire(now).is_empty());
        assert_eq!(limiter.expire(now + WINDOW), [("a".to_owned(), 950)]);
        assert!(limiter.allow("a", 50, now + WINDOW));
    }

    #[test]
    fn the_number_of_kinds_is_bounded() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        for kind in 0..10 * KINDS {
            limiter.allow(&kind.to_string(), 50, now);
        }
        assert!(limiter.0.len() <= KINDS + 1);
    }
}
