//! The choice of a backend: connections of each, and the back-off time after a failure.
//!
//! Backends are known by their addresses, so that one state holds for every host that has the backend,
//! and from one configuration to the next.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::config::BackendAddress;

/// Back-off time after the first failure.
const MIN_WAIT: Duration = Duration::from_millis(100);
/// Longest back-off time.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Number of known backends from which on idle ones are forgotten.
const IDLE: usize = 1024;

/// The states of all backends.
#[derive(Default)]
pub(super) struct Pool {
    states: HashMap<BackendAddress, State>,
    /// Number of choices so far.
    clock: u64,
}

/// Order of preference; the best comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Good,
    /// The backend has failed, and its back-off time ends then.
    BackingOff(Instant),
    /// The backend has failed, and a connection tries whether it is back.
    Tried,
}

#[derive(Default)]
struct State {
    /// Number of connections, those that are being made included.
    open: usize,
    /// Number of the last choice of this backend.
    chosen: u64,
    away: Option<Away>,
}

/// A backend that has failed.
struct Away {
    /// End of the back-off time.
    until: Instant,
    wait: Duration,
    /// Time of the last failure.
    failed: Instant,
    /// Time until which a connection tries whether the backend is back.
    tried: Option<Instant>,
}

impl Pool {
    /// Chooses the backend with the fewest connections, and among equals the one that was chosen longest
    /// ago. `None`: there are no backends.
    ///
    /// A backend that has failed comes after all others during its back-off time. Then one client tries it
    /// for at most `timeout`, while others still prefer the rest. Without a better choice a backend is
    /// chosen even then: a client that is refused without a try loses more than a backend that is tried.
    pub(super) fn choose<'a>(
        &mut self,
        targets: impl Iterator<Item = &'a BackendAddress>,
        timeout: Duration,
        now: Instant,
    ) -> Option<BackendAddress> {
        if self.states.len() >= IDLE && self.states.len() == self.states.capacity() {
            self.states
                .retain(|_, state| state.open > 0 || state.away.is_some());
        }
        let rank = |target: &&BackendAddress| match self.states.get(*target) {
            None => (Standing::Good, 0, 0),
            Some(state) => (state.standing(now), state.open, state.chosen),
        };
        let target = targets.min_by_key(rank)?;
        self.clock += 1;
        let state = self.states.entry(target.clone()).or_default();
        state.open += 1;
        state.chosen = self.clock;
        if let Some(away) = &mut state.away {
            away.tried = Some(now + timeout);
        }
        Some(target.clone())
    }

    /// Notes that a backend that was chosen at `since` has failed; the back-off time, if it had not failed
    /// before.
    pub(super) fn failed(
        &mut self,
        target: &BackendAddress,
        since: Instant,
        now: Instant,
    ) -> Option<Duration> {
        self.give_up(target, since);
        let state = self.states.get_mut(target)?;
        let Some(away) = &mut state.away else {
            state.away = Some(Away {
                until: now + MIN_WAIT,
                wait: MIN_WAIT,
                failed: now,
                tried: None,
            });
            return Some(MIN_WAIT);
        };
        // Attempts that were under way at the first failure tell nothing new.
        if since >= away.failed {
            away.wait = (away.wait * 2).min(MAX_WAIT);
            away.until = now + away.wait;
            away.failed = now;
        }
        None
    }

    /// Notes that a chosen backend has accepted; whether it had failed before.
    pub(super) fn connected(&mut self, target: &BackendAddress) -> bool {
        let state = self.states.get_mut(target);
        state.is_some_and(|state| state.away.take().is_some())
    }

    /// Gives up an attempt of which the result is unknown. The backend was chosen at `since`.
    pub(super) fn give_up(&mut self, target: &BackendAddress, since: Instant) {
        self.release(target);
        let state = self.states.get_mut(target);
        if let Some(away) = state.and_then(|state| state.away.as_mut())
            && since >= away.failed
        {
            away.tried = None;
        }
    }

    /// Forgets a connection to a backend.
    pub(super) fn release(&mut self, target: &BackendAddress) {
        if let Some(state) = self.states.get_mut(target) {
            state.open = state.open.saturating_sub(1);
        }
    }
}

impl State {
    fn standing(&self, now: Instant) -> Standing {
        match &self.away {
            Some(away) if away.tried.is_some_and(|until| now < until) => Standing::Tried,
            Some(away) if now < away.until => Standing::BackingOff(away.until),
            _ => Standing::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn targets<const N: usize>() -> [BackendAddress; N] {
        std::array::from_fn(|n| BackendAddress::Unix(n.to_string().into()))
    }

    #[test]
    fn the_backend_with_the_fewest_connections_is_chosen_and_equals_take_turns() {
        let (mut pool, now, [a, b]) = (Pool::default(), Instant::now(), targets());
        let each = [a.clone(), b.clone()];
        let choose = |pool: &mut Pool| pool.choose(each.iter(), TIMEOUT, now).unwrap();
        assert_eq!(choose(&mut pool), a, "in the order of the file");
        assert_eq!(choose(&mut pool), b);
        pool.release(&b);
        assert_eq!(choose(&mut pool), b, "it has fewer");
        pool.release(&a);
        pool.release(&b);
        assert_eq!(choose(&mut pool), a, "its turn is longer ago");
    }

    #[test]
    fn a_failed_backend_is_skipped_for_a_time_that_grows() {
        let (mut pool, mut now, [bad, good]) = (Pool::default(), Instant::now(), targets());
        let each = [bad.clone(), good];
        let mut waits = Vec::new();
        for round in 0..12 {
            assert_eq!(pool.choose(each.iter(), TIMEOUT, now), Some(bad.clone()));
            assert_eq!(pool.failed(&bad, now, now).is_some(), round == 0);
            let failed = now;
            loop {
                let chosen = pool.choose(each.iter(), TIMEOUT, now).unwrap();
                if chosen == bad {
                    pool.give_up(&bad, now);
                    break;
                }
                now += Duration::from_millis(100);
            }
            waits.push((now - failed).as_millis());
        }
        assert_eq!(waits[..5], [100, 200, 400, 800, 1600]);
        assert_eq!(waits[10..], [30_000, 30_000]);
        assert_eq!(pool.choose(each.iter(), TIMEOUT, now), Some(bad.clone()));
        assert!(pool.connected(&bad), "it is back");
        assert!(!pool.connected(&bad));
        pool.release(&bad);
        assert_eq!(pool.states[&bad].open, 0);
    }

    #[test]
    fn when_all_backends_have_failed_the_one_whose_back_off_ends_first_is_tried() {
        let (mut pool, now, each) = (Pool::default(), Instant::now(), targets::<2>());
        let later = now + Duration::from_millis(1);
        for (target, failed) in each.iter().zip([later, now]) {
            assert_eq!(
                pool.choose(each.iter(), TIMEOUT, now).as_ref(),
                Some(target)
            );
            pool.failed(target, now, failed);
        }
        let tried = pool.choose(each.iter(), TIMEOUT, later);
        assert_eq!(tried.as_ref(), Some(&each[1]));
        let tried = pool.choose(each.iter(), TIMEOUT, later);
        assert_eq!(tried.as_ref(), Some(&each[0]));
        assert!(pool.choose(each.iter(), TIMEOUT, later).is_some());
        assert_eq!(pool.choose([].iter(), TIMEOUT, later), None);
    }

    #[test]
    fn failures_at_the_same_time_count_once() {
        let (mut pool, now, each) = (Pool::default(), Instant::now(), targets::<1>());
        for _ in 0..100 {
            assert!(pool.choose(each.iter(), TIMEOUT, now).is_some());
        }
        let later = now + Duration::from_millis(1);
        for place in 0..100 {
            assert_eq!(pool.failed(&each[0], now, later).is_some(), place == 0);
        }
        let away = pool.states[&each[0]].away.as_ref().unwrap();
        assert_eq!(away.until, later + MIN_WAIT);
    }

    #[test]
    fn one_connection_at_a_time_tries_whether_a_backend_is_back() {
        let (mut pool, now, [bad, good]) = (Pool::default(), Instant::now(), targets());
        let each = [bad.clone(), good.clone()];
        let choose = |pool: &mut Pool, now| pool.choose(each.iter(), TIMEOUT, now).unwrap();
        assert_eq!(choose(&mut pool, now), bad);
        assert_eq!(choose(&mut pool, now), good);
        pool.failed(&bad, now, now);
        let due = now + MIN_WAIT;
        assert_eq!(choose(&mut pool, due), bad);
        assert_eq!(choose(&mut pool, due), good);
        assert_eq!(choose(&mut pool, due), good, "however many it has");
        // The client that tried the backend has gone, or gets no answer.
        pool.give_up(&bad, due);
        assert_eq!(choose(&mut pool, due), bad);
        assert_eq!(choose(&mut pool, due), good);
        assert_eq!(choose(&mut pool, due + TIMEOUT), bad);
    }
}
