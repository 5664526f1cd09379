//! So many lines of a kind in a second, and a count of the rest.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The second.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);
/// Kinds that are told apart in one second; the rest are one kind together.
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
    /// Whether one more line of this kind may be written now; it is counted either way.
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

    /// Forgets the kinds whose second is over, and says of which of them lines were left out.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(String, u64)> {
        let over = self.0.extract_if(|_, window| window.ends <= now);
        over.filter(|(_, window)| window.left_out > 0)
            .map(|(kind, window)| (kind, window.left_out))
            .collect()
    }

    /// When the next second of a kind is over.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.0.values().map(|window| window.ends).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{KINDS, Limiter, WINDOW};

    #[test]
    fn what_is_over_the_allowance_is_counted_and_told_when_the_second_is_over() {
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
