//! State of the server: serving, draining or stopping, whether an engine was ever ready, and whether accepting is
//! paused.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::exit::Exit;

/// Pause in accepting after descriptors or memory have run out.
const PAUSE: Duration = Duration::from_millis(200);

/// The state of the whole server.
pub(super) struct Lifecycle {
    stage: Stage,
    /// Whether an engine has ever been ready to serve.
    ready: bool,
    /// Accepting is paused until then, because descriptors or memory had run out.
    paused_until: Option<Instant>,
    /// Status to exit with when the server ends without having been told to.
    failure: Option<Exit>,
}

/// A stage of a server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// New clients are accepted.
    Serving,
    /// No new clients are accepted; open connections go on.
    Draining,
    /// Open connections are being ended.
    Stopping,
}

impl Stage {
    /// The line about a signal that ends this stage; `connections`: those that are open. `None`: no signal ends it.
    pub(super) fn ending(self, signal: Signal, connections: usize) -> Option<String> {
        let what = match self {
            Self::Serving => "no more clients; connections that go on to their end",
            Self::Draining => "connections that are ended",
            Self::Stopping => return None,
        };
        Some(format!("{signal}: {what}: {connections}"))
    }
}

impl Lifecycle {
    /// A server that starts.
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Serving,
            ready: false,
            paused_until: None,
            failure: None,
        }
    }

    /// The stage.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the server has not been told to stop.
    pub(super) fn is_serving(&self) -> bool {
        self.stage == Stage::Serving
    }

    /// Whether an engine has ever been ready.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Notes that an engine is ready; whether it is the first one ever.
    pub(super) fn set_ready(&mut self) -> bool {
        !std::mem::replace(&mut self.ready, true)
    }

    /// Moves on to a later stage.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Sets the status to exit with.
    pub(super) fn fail(&mut self, exit: Exit) {
        self.failure = Some(exit);
    }

    /// The status to exit with.
    pub(super) fn exit(&self) -> Exit {
        self.failure.unwrap_or(Exit::Success)
    }

    /// Pauses accepting for [`PAUSE`]. Returns a line that says why.
    pub(super) fn pause(&mut self, why: &str, now: Instant) -> String {
        self.paused_until = now.checked_add(PAUSE);
        format!("{why}; trying again in {} ms", PAUSE.as_millis())
    }

    /// Whether accepting is paused.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// The end of the pause.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Ends the pause if it is over.
    pub(super) fn resume(&mut self, now: Instant) {
        let is_over = |until: &mut Instant| *until <= now;
        self.paused_until.take_if(is_over);
    }
}
