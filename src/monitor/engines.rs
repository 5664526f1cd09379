//! The engines: started, replaced when they die, told to drain.
#![forbid(unsafe_code)]

use std::panic;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Monitor;
use super::limits::Seats;
use crate::config::Config;
use crate::engine::{Acceptor, Engine};
use crate::message::{ToMonitor, bounded, encode};
use crate::process::{Channel, Forked, Jail, exit_now, fork_engine};
use crate::tls::provider::provider;
use crate::tls::tickets::{TicketKeyRing, TicketKeys};
use crate::types::Severity;

/// An engine that lived this long may be replaced at once.
const SETTLED: Duration = Duration::from_secs(60);
/// The longest wait before an engine that keeps dying is started again.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// The wait after its first early death.
const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// What every engine of a configuration is made from.
pub(super) struct Blueprint {
    pub(super) config: Config,
    pub(super) acceptors: Vec<Acceptor>,
    /// What the limit of each host counts by.
    pub(super) seats: Vec<Seats>,
    pub(super) ring: TicketKeyRing,
}

impl Blueprint {
    /// `keys` are for tickets, unless the configuration has keys of its own.
    ///
    /// Errors: why this configuration cannot serve.
    pub(super) fn new(config: Config, keys: &TicketKeys) -> Result<Self, String> {
        let no_randomness = |_| "unable to make ticket keys: no randomness".to_owned();
        let keys = config.ticket_keys.as_ref().unwrap_or(keys);
        let ring = TicketKeyRing::new(keys).map_err(no_randomness)?;
        let provider = provider();
        let acceptors = config.hosts.iter();
        let acceptors = acceptors.map(|host| Acceptor::new(host, config.form, &provider, &ring));
        let acceptors = acceptors
            .collect::<Result<_, _>>()
            .map_err(|e| format!("unable to set up TLS: {e}"))?;
        let seats = Seats::of(config.hosts.iter().map(|host| host.label.as_str()));
        Ok(Self {
            config,
            acceptors,
            seats,
            ring,
        })
    }
}

/// The place of one engine, whether it lives or not.
pub(super) struct Slot {
    pub(super) blueprint: Arc<Blueprint>,
    /// Whether another configuration has taken its place: no engine is started here any more.
    pub(super) retired: bool,
    engine: Option<Running>,
    /// Whether an engine was started here before.
    pub(super) had_engine: bool,
    /// When the next one may be started.
    not_before: Instant,
    backoff: Duration,
}

/// A living engine.
pub(super) struct Running {
    pub(super) pid: Pid,
    pub(super) channel: Channel,
    /// What the epoll set has its channel for.
    pub(super) interest: EpollFlags,
    started: Instant,
    /// Connections that it has.
    pub(super) load: usize,
    /// How it has ended, once that is known: its process id is somebody else's then.
    pub(super) ended: Option<WaitStatus>,
}

impl Slot {
    /// An empty place.
    pub(super) fn new(blueprint: &Arc<Blueprint>, now: Instant) -> Self {
        Self {
            blueprint: Arc::clone(blueprint),
            retired: false,
            engine: None,
            had_engine: false,
            not_before: now,
            backoff: Duration::ZERO,
        }
    }

    /// The engine, where it lives.
    pub(super) fn running(&mut self) -> Option<&mut Running> {
        self.engine.as_mut()
    }

    /// How many connections the engine has, where it lives.
    pub(super) fn load(&self) -> Option<usize> {
        self.engine.as_ref().map(|engine| engine.load)
    }

    /// When an engine is to be started here; `None`: one lives, or none is wanted.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.engine.is_none() && !self.retired).then_some(self.not_before)
    }

    /// Starts an engine.
    ///
    /// Errors: those of fork(2) and socketpair(2).
    pub(super) fn start(&mut self, now: Instant) -> nix::Result<&Running> {
        let (ours, theirs) = Channel::pair()?;
        let pid = match fork_engine(theirs)? {
            Forked::Engine(channel) => be_engine(&self.blueprint, channel),
            Forked::Monitor(pid) => pid,
        };
        self.had_engine = true;
        Ok(self.engine.insert(Running {
            pid,
            channel: ours,
            interest: EpollFlags::EPOLLIN,
            started: now,
            load: 0,
            ended: None,
        }))
    }

    /// Leaves the place empty for a while that grows from one time to the next.
    pub(super) fn rest(&mut self, now: Instant) {
        self.backoff = (self.backoff * 2).clamp(MIN_BACKOFF, MAX_BACKOFF);
        self.not_before = now + self.backoff;
    }

    /// Ends the engine, if it has not ended already, and says how it ended. After an early death the next
    /// one does not come at once.
    pub(super) fn bury(&mut self, now: Instant) -> Option<(Pid, String)> {
        let engine = self.engine.take()?;
        if now.duration_since(engine.started) < SETTLED {
            self.rest(now);
        } else {
            self.backoff = Duration::ZERO;
            self.not_before = now;
        }
        drop(engine.channel);
        let status = engine.ended.map_or_else(
            || {
                let _ = kill(engine.pid, Signal::SIGKILL);
                waitpid(engine.pid, None)
            },
            Ok,
        );
        let how = match status {
            Ok(status) => super::connection::exit_text(status).unwrap_or_default(),
            Err(e) => e.desc().to_owned(),
        };
        Some((engine.pid, how))
    }
}

/// The life of an engine process.
fn be_engine(blueprint: &Blueprint, mut channel: Channel) -> ! {
    let jail = Jail {
        credentials: blueprint.config.engine_credentials.as_ref(),
    };
    let complaint = |what: String| {
        encode(&ToMonitor::Log {
            severity: Severity::Err,
            id: None,
            line: bounded(format!("engine {}: {what}", std::process::id())),
        })
    };
    let last_words = channel.last_words();
    panic::set_hook(Box::new(move |panic| {
        last_words(&complaint(panic.to_string()));
    }));
    if let Err(e) = jail.enter() {
        let _ = channel.send(complaint(e.to_string()), Vec::new());
        exit_now(97);
    }
    let engine = Engine {
        config: &blueprint.config,
        acceptors: &blueprint.acceptors,
        tickets: &blueprint.ring,
        channel,
    };
    match engine.run() {
        Ok(()) => exit_now(0),
        Err(e) => {
            last_words(&complaint(e.desc().to_owned()));
            exit_now(111)
        }
    }
}

impl Monitor {
    /// The engines that new clients go to.
    pub(super) fn current(&self) -> impl Iterator<Item = (usize, &Slot)> {
        let slots = self.slots.iter();
        let current = slots.filter(|(_, slot)| Arc::ptr_eq(&slot.blueprint, &self.blueprint));
        current.map(|(place, slot)| (*place, slot))
    }

    /// The places of all engines.
    pub(super) fn places(&self) -> Vec<usize> {
        self.slots.keys().copied().collect()
    }
}
