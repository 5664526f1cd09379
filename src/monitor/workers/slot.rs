//! The slot of one engine, whether it lives or not, and the back-off after an early death.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::engine;
use crate::monitor::generation::Generation;
use crate::process::{Channel, Ended, wait_until_ended};

/// Life time after which a dead engine is replaced at once.
const SETTLED: Duration = Duration::from_secs(60);
/// Longest wait before the next start of an engine that keeps dying.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// Wait after the first early death.
const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// A slot for an engine of a generation.
pub(super) struct Slot {
    generation: Arc<Generation>,
    /// Whether another generation has taken over: no engine is started here any more.
    retired: bool,
    engine: Option<RunningEngine>,
    /// Whether an engine was started here before.
    had_engine: bool,
    /// Earliest start of the next engine.
    not_before: Instant,
    backoff: Duration,
}

/// An engine that lives.
pub(super) struct RunningEngine {
    pub(super) pid: Pid,
    pub(super) channel: Channel,
    /// Events that the channel is registered for.
    pub(super) interest: EpollFlags,
    started: Instant,
    /// Number of connections.
    pub(super) load: usize,
    /// Exit status, once the process has been waited for: another process may have its id then.
    pub(super) ended: Option<Ended>,
}

impl Slot {
    /// An empty slot.
    pub(super) fn new(generation: &Arc<Generation>, now: Instant) -> Self {
        Self {
            generation: Arc::clone(generation),
            retired: false,
            engine: None,
            had_engine: false,
            not_before: now,
            backoff: Duration::ZERO,
        }
    }

    /// The generation that the slot belongs to.
    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// Whether another generation has taken over.
    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Lets the engine be the last one here.
    pub(super) fn retire(&mut self) {
        self.retired = true;
    }

    /// The engine, if it lives.
    pub(super) fn engine(&mut self) -> Option<&mut RunningEngine> {
        self.engine.as_mut()
    }

    /// Whether an engine was started here before.
    pub(super) fn had_engine(&self) -> bool {
        self.had_engine
    }

    /// Number of connections of the engine, if it lives.
    pub(super) fn load(&self) -> Option<usize> {
        self.engine.as_ref().map(|engine| engine.load)
    }

    /// Time of the next start; `None`: an engine lives, or none is wanted.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.engine.is_none() && !self.retired).then_some(self.not_before)
    }

    /// Starts an engine.
    ///
    /// Errors: those of fork(2) and socketpair(2).
    pub(super) fn start(&mut self, now: Instant) -> nix::Result<&RunningEngine> {
        let (pid, channel) = engine::fork(&self.generation)?;
        self.had_engine = true;
        Ok(self.engine.insert(RunningEngine {
            pid,
            channel,
            interest: EpollFlags::EPOLLIN,
            started: now,
            load: 0,
            ended: None,
        }))
    }

    /// Leaves the slot empty for a time that doubles with each call.
    pub(super) fn back_off(&mut self, now: Instant) {
        self.backoff = (self.backoff * 2).clamp(MIN_BACKOFF, MAX_BACKOFF);
        self.not_before = now + self.backoff;
    }

    /// Ends the engine, if it has not ended by itself; its process id and how it ended. After an early death
    /// the next engine is not started at once.
    pub(super) fn end(&mut self, now: Instant) -> Option<(Pid, String)> {
        let engine = self.engine.take()?;
        if now.duration_since(engine.started) < SETTLED {
            self.back_off(now);
        } else {
            self.backoff = Duration::ZERO;
            self.not_before = now;
        }
        drop(engine.channel);
        let status = engine.ended.map_or_else(
            || {
                let _ = kill(engine.pid, Signal::SIGKILL);
                wait_until_ended(engine.pid)
            },
            Ok,
        );
        let how = match status {
            Ok(ended) => ended.to_string(),
            Err(e) => e.desc().to_owned(),
        };
        Some((engine.pid, how))
    }
}
