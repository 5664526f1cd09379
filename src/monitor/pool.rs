//! The backends of all hosts: how busy each is, and which are left alone because they have failed.
//!
//! What is known of a backend is known by its address, so that it holds for every host that has it, and
//! from one configuration to the next.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::config::Target;

/// How long a backend that has failed once is left alone.
const MIN_WAIT: Duration = Duration::from_millis(100);
/// How long one is left alone that keeps failing.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Idle backends that are remembered before somebody looks for those to forget.
const IDLE: usize = 1024;

/// What is known of backends.
#[derive(Default)]
pub(super) struct Pool {
    states: HashMap<Target, State>,
    /// Counts choices.
    clock: u64,
}

/// The better comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Good,
    /// It has failed, and its while is not over until then.
    LeftAlone(Instant),
    /// It has failed, and somebody tries whether it is back.
    Tried,
}

#[derive(Default)]
struct State {
    /// Connections that it has of us, and those that are being made.
    open: usize,
    /// When it was last chosen.
    chosen: u64,
    away: Option<Away>,
}

/// A backend that has failed.
struct Away {
    /// It comes after all others before.
    until: Instant,
    wait: Duration,
    /// When it failed last.
    failed: Instant,
    /// Until when somebody tries whether it is back.
    tried: Option<Instant>,
}

impl Pool {
    /// Takes the best of these: the one with the fewest connections, and among equals the one that was
    /// chosen longest ago. `None`: there are none.
    ///
    /// One that has failed comes after all others for its while, and then one client tries it for as long
    /// as that may `take`, while others still have a better choice. Where there is nothing better it is
    /// taken nevertheless: a client that is turned away without a try loses more than a backend that is
    /// tried.
    pub(super) fn choose<'a>(
        &mut self,
        targets: impl Iterator<Item = &'a Target>,
        take: Duration,
        now: Instant,
    ) -> Option<Target> {
        if self.states.len() >= IDLE && self.states.len() == self.states.capacity() {
            self.states
                .retain(|_, state| state.open > 0 || state.away.is_some());
        }
        let rank = |target: &&Target| match self.states.get(*target) {
            None => (Standing::Good, 0, 0),
            Some(state) => (state.standing(now), state.open, state.chosen),
        };
        let target = targets.min_by_key(rank)?;
        self.clock += 1;
        let state = self.states.entry(target.clone()).or_default();
        state.open += 1;
        state.chosen = self.clock;
        if let Some(away) = &mut state.away {
            away.tried = Some(now + take);
        }
        Some(target.clone())
    }

    /// A backend that was chosen at `since` has failed. How long it is left alone, if it did not count as
    /// one that has failed before.
    pub(super) fn failed(
        &mut self,
        target: &Target,
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
        // Those that were on their way when it failed first say nothing new.
        if since >= away.failed {
            away.wait = (away.wait * 2).min(MAX_WAIT);
            away.until = now + away.wait;
            away.failed = now;
        }
        None
    }

    /// A backend that was chosen has accepted; whether it had failed before.
    pub(super) fn connected(&mut self, target: &Target) -> bool {
        let state = self.states.get_mut(target);
        state.is_some_and(|state| state.away.take().is_some())
    }

    /// Whoever chose a backend at `since` doesn't wait for it any more; what became of that, nobody knows.
    pub(super) fn give_up(&mut self, target: &Target, since: Instant) {
        self.release(target);
        let state = self.states.get_mut(target);
        if let Some(away) = state.and_then(|state| state.away.as_mut())
            && since >= away.failed
        {
            away.tried = None;
        }
    }

    /// A connection to a backend that was chosen is no more.
    pub(super) fn release(&mut self, target: &Target) {
        if let Some(state) = self.states.get_mut(target) {
            state.open = state.open.saturating_sub(1);
        }
    }
}

impl State {
    fn standing(&self, now: Instant) -> Standing {
        match &self.away {
            Some(away) if away.tried.is_some_and(|until| now < until) => Standing::Tried,
            Some(away) if now < away.until => Standing::LeftAlone(away.until),
            _ => Standing::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKE: Duration = Duration::from_secs(5);

    fn targets<const N: usize>() -> [Target; N] {
        std::array::from_fn(|n| Target::Unix(n.to_string().into()))
    }

    #[test]
    fn the_one_with_the_fewest_connections_is_chosen_and_equals_take_turns() {
        let (mut pool, now, [a, b]) = (Pool::default(), Instant::now(), targets());
        let each = [a.clone(), b.clone()];
        let choose = |pool: &mut Pool| pool.choose(each.iter(), TAKE, now).unwrap();
        assert_eq!(choose(&mut pool), a, "in the order of the file");
        assert_eq!(choose(&mut pool), b);
        pool.release(&b);
        assert_eq!(choose(&mut pool), b, "it has fewer");
        pool.release(&a);
        pool.release(&b);
        assert_eq!(choose(&mut pool), a, "its turn is longer ago");
    }

    #[test]
    fn one_that_fails_is_left_alone_for_a_growing_while() {
        let (mut pool, mut now, [bad, good]) = (Pool::default(), Instant::now(), targets());
        let each = [bad.clone(), good];
        let mut waits = Vec::new();
        for round in 0..12 {
            assert_eq!(pool.choose(each.iter(), TAKE, now), Some(bad.clone()));
            assert_eq!(pool.failed(&bad, now, now).is_some(), round == 0);
            let failed = now;
            loop {
                let chosen = pool.choose(each.iter(), TAKE, now).unwrap();
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
        assert_eq!(pool.choose(each.iter(), TAKE, now), Some(bad.clone()));
        assert!(pool.connected(&bad), "it is back");
        assert!(!pool.connected(&bad));
        pool.release(&bad);
        assert_eq!(pool.states[&bad].open, 0);
    }

    #[test]
    fn where_all_have_failed_each_is_tried_the_one_whose_turn_comes_first_before() {
        let (mut pool, now, each) = (Pool::default(), Instant::now(), targets::<2>());
        let later = now + Duration::from_millis(1);
        for (target, failed) in each.iter().zip([later, now]) {
            assert_eq!(pool.choose(each.iter(), TAKE, now).as_ref(), Some(target));
            pool.failed(target, now, failed);
        }
        let tried = pool.choose(each.iter(), TAKE, later);
        assert_eq!(tried.as_ref(), Some(&each[1]));
        let tried = pool.choose(each.iter(), TAKE, later);
        assert_eq!(tried.as_ref(), Some(&each[0]));
        assert!(pool.choose(each.iter(), TAKE, later).is_some());
        assert_eq!(pool.choose([].iter(), TAKE, later), None);
    }

    #[test]
    fn many_that_fail_together_have_failed_once() {
        let (mut pool, now, each) = (Pool::default(), Instant::now(), targets::<1>());
        for _ in 0..100 {
            assert!(pool.choose(each.iter(), TAKE, now).is_some());
        }
        let later = now + Duration::from_millis(1);
        for place in 0..100 {
            assert_eq!(pool.failed(&each[0], now, later).is_some(), place == 0);
        }
        let away = pool.states[&each[0]].away.as_ref().unwrap();
        assert_eq!(away.until, later + MIN_WAIT);
    }

    #[test]
    fn one_at_a_time_tries_whether_it_is_back() {
        let (mut pool, now, [bad, good]) = (Pool::default(), Instant::now(), targets());
        let each = [bad.clone(), good.clone()];
        let choose = |pool: &mut Pool, now| pool.choose(each.iter(), TAKE, now).unwrap();
        assert_eq!(choose(&mut pool, now), bad);
        assert_eq!(choose(&mut pool, now), good);
        pool.failed(&bad, now, now);
        let due = now + MIN_WAIT;
        assert_eq!(choose(&mut pool, due), bad);
        assert_eq!(choose(&mut pool, due), good);
        assert_eq!(choose(&mut pool, due), good, "however many it has");
        // Who tried it has gone, or is not heard of again.
        pool.give_up(&bad, due);
        assert_eq!(choose(&mut pool, due), bad);
        assert_eq!(choose(&mut pool, due), good);
        assert_eq!(choose(&mut pool, due + TAKE), bad);
    }
}
