//! The privileged side: it accepts, starts commands, watches engines and children, and writes the
//! log. It never reads a byte from the network.
#![forbid(unsafe_code)]

mod clients;
mod connection;
mod control;
mod dial;
mod engines;
mod event;
mod inquiry;
mod launch;
mod limits;
mod listener;
mod manager;
mod numbers;
mod pool;
mod reload;
mod reporting;
mod resolver;
mod socket;
mod staples;
mod start;
mod status;
mod stop;
mod talk;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::exit::Exit;
use crate::log::Logger;
use crate::process::Signals;
use crate::systemd::Passed;
use crate::tls::tickets::TicketKeys;
use crate::types::{ConnectionId, Severity};
use connection::Connection;
pub use control::{Question, ask};
use dial::Dials;
use engines::{Blueprint, Slot};
use event::Source;
use launch::Commands;
use limits::Admission;
use listener::Listener;
use manager::Manager;
use pool::Pool;
pub use reload::Origin;
use resolver::Names;
pub use start::{inetd, serve};

use control::{Asker, Control, Slow};
use inquiry::Inquiry;
use numbers::Numbers;
use reload::Candidate;
use reporting::Reporting;

/// Events taken from the kernel at a time.
const EVENTS: usize = 256;
/// Clients accepted, or messages of one engine taken, before others get their turn.
const BATCH: usize = 32;

struct Monitor {
    /// What clients are accepted for now.
    blueprint: Arc<Blueprint>,
    logger: Logger,
    epoll: Epoll,
    signals: Signals,
    listeners: Vec<Listener>,
    /// The sockets that we were started with, whether or not somebody listens on them now.
    passed: Vec<Rc<Passed>>,
    /// Who is told how it goes.
    manager: Manager,
    /// Whether the listeners are in the epoll set.
    listening: bool,
    /// Nobody is accepted before: something had run out.
    exhausted_until: Option<Instant>,
    /// Where all of it was read; `None`: it is not read anew.
    origin: Option<Origin>,
    /// A new configuration, until an engine of it can serve.
    candidate: Option<Candidate>,
    /// Who asked for it, and waits.
    askers: Vec<Asker>,
    /// Who has asked for the one after it, if that was asked for at all.
    next_reload: Option<Vec<Asker>>,
    controls: Vec<Control>,
    /// What is counted for those who ask.
    numbers: Numbers,
    /// Where metrics are asked for.
    reporting: Reporting,
    /// What the engines are asked now.
    inquiry: Option<Inquiry>,
    /// Those who take long answers slowly, the oldest first.
    slow: BTreeMap<u64, Slow>,
    next_slow: u64,
    /// Engines, by places that are never used twice.
    slots: BTreeMap<usize, Slot>,
    next_place: usize,
    keys: TicketKeys,
    rotate_at: Instant,
    /// When the first of the OCSP responses runs out that are stapled.
    staples_until: Option<SystemTime>,
    commands: Commands,
    connections: HashMap<ConnectionId, Connection>,
    admission: Admission,
    pool: Pool,
    dials: Dials,
    names: Names,
    /// How many of them there may be at a time.
    room: usize,
    children: HashMap<Pid, ConnectionId>,
    /// Connections whose clients have ended and whose commands have not, oldest first, with the time
    /// at which their line is written all the same.
    outlived: VecDeque<(Instant, ConnectionId)>,
    next_id: ConnectionId,
    stop: Stop,
    /// How the connection that ended last ended; until then, that none has.
    last_exit: Exit,
    /// Whether an engine has ever been ready to serve.
    ready: bool,
    /// Why it has to stop, where nobody told it to.
    failed: Option<Exit>,
}

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It serves.
    No,
    /// Nobody is accepted any more; what runs ends by itself.
    Draining,
    /// What runs is ended.
    Now,
}

impl Monitor {
    /// The loop, until nothing is left to do.
    fn run(&mut self) -> Exit {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        loop {
            let now = Instant::now();
            self.deadlines(now);
            if self.is_done() {
                break;
            }
            self.set_listening(now);
            self.report_metrics(now);
            let timeout = self.timeout(now);
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(e) => {
                    self.logger
                        .say(Severity::Err, &format!("unable to wait for events: {e}"));
                    return Exit::System;
                }
            };
            for event in events.get(..count).unwrap_or_default() {
                match Source::of(event.data()) {
                    Source::Signals => self.take_signals(),
                    Source::Control => self.asked(),
                    Source::Reporter => self.hear_reporter(),
                    Source::Metrics(index) => self.accept_metrics(index),
                    Source::Asker(number) => self.send_more(number),
                    Source::Listener(index) => self.accept(index),
                    Source::Engine(index) => self.hear(index),
                    Source::Stderr(id) => self.read_stderr(id),
                    Source::Dial(id) => self.dialled(id),
                    Source::Resolver => self.hear_resolver(),
                }
            }
        }
        // They have nothing left to do.
        for slot in self.slots.values_mut() {
            slot.bury(Instant::now());
        }
        self.resolve_no_more();
        if let Some(line) = self.admission.last_report() {
            self.logger.say(Severity::Info, &line);
        }
        self.reporting.bury();
        self.logger.finish();
        self.failed.unwrap_or(Exit::Success)
    }

    fn is_done(&self) -> bool {
        self.stop != Stop::No && self.connections.is_empty()
    }

    /// Does what is due at this time.
    fn deadlines(&mut self, now: Instant) {
        self.logger.tick(now);
        if let Some(line) = self.admission.report(now) {
            self.logger.say(Severity::Info, &line);
        }
        self.start_engines(now);
        self.tell_manager(now);
        self.dial_deadlines(now);
        self.resolve(now);
        self.answer_inquiry(now);
        if now >= self.rotate_at {
            self.rotate_keys(now);
        }
        self.watch_staples(SystemTime::now());
        while let Some(&(when, id)) = self.outlived.front() {
            if when > now {
                break;
            }
            self.outlived.pop_front();
            if self.stop == Stop::Now {
                self.signal_commands(Signal::SIGKILL);
            }
            self.conclude(id);
        }
    }

    fn timeout(&self, now: Instant) -> EpollTimeout {
        let outlived = self.outlived.front().map(|(when, _)| *when);
        // While draining none is started.
        let slots = self.slots.values().filter(|_| self.stop == Stop::No);
        let engines = slots.filter_map(Slot::due).min();
        let next = [
            outlived,
            engines,
            self.exhausted_until,
            self.logger.next_tick(),
            self.admission.next_report(),
            self.manager_due(),
            self.dials.due(),
            self.names.due().filter(|_| self.stop == Stop::No),
            self.reporting.due(now),
            self.inquiry.as_ref().map(|inquiry| inquiry.until),
            Some(self.rotate_at),
        ];
        let wait = next
            .into_iter()
            .flatten()
            .min()
            .map_or(Duration::MAX, |when| when.saturating_duration_since(now));
        let milliseconds = u16::try_from(wait.as_millis().saturating_add(1)).unwrap_or(60_000);
        EpollTimeout::from(milliseconds)
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.signals.take() {
            match signal {
                Signal::SIGCHLD => self.reap(),
                Signal::SIGUSR1 => self.logger.reopen(),
                Signal::SIGHUP if self.origin.is_some() => self.reload(None),
                Signal::SIGHUP => {}
                signal => self.stop_further(signal),
            }
        }
    }
}
