//! The privileged side: it accepts clients, starts commands, watches engines and children, and writes
//! the log. It never reads a byte from the network.
//!
//! Each room owns its state and its descriptors. Its methods return what concerns another room; the loop here, and
//! `requests.rs` beside it, carry that out.
#![forbid(unsafe_code)]

mod check;
mod clients;
mod generation;
mod lifecycle;
mod listeners;
mod programs;
mod reload;
mod report;
mod requests;
mod service;
mod socket_options;
mod start;
mod timeout;
mod token;
mod violation;
mod workers;

use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollTimeout};
use nix::sys::signal::Signal;

use crate::config::NameLookup;
use crate::exit::Exit;
use crate::log::Logger;
use crate::message::{End, Summary};
use crate::process::Signals;
use crate::types::{Severity, cause};
use clients::Clients;
use generation::{Generations, NoRandomness};
use lifecycle::{Lifecycle, Stage};
use listeners::{AcceptError, Listeners};
use programs::{ForReload, Programs};
use reload::{Candidate, Reload, Requested, Setback};
use report::{AdminClient, Present, ReloadResult, Report, unready};
use service::Service;
use token::Token;
use workers::Engines;

pub use check::check;
pub use reload::LoadArguments;
pub use report::{Question, ask};
pub use start::{inetd, serve};

/// Events taken from the kernel at a time.
const EVENTS: usize = 256;
/// Clients accepted, or messages of one engine taken, before other descriptors get their turn.
const BATCH: usize = 32;
/// Time that commands have to end when they are told to end at once.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// The monitor: its rooms, and the loop that connects them.
struct Monitor {
    logger: Logger,
    epoll: Epoll,
    signals: Signals,
    lifecycle: Lifecycle,
    service: Service,
    listeners: Listeners,
    clients: Clients,
    engines: Engines,
    programs: Programs,
    generations: Generations,
    reload: Reload,
    report: Report,
}

impl Monitor {
    /// Runs the loop until nothing is left to do.
    fn run(&mut self) -> Exit {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        loop {
            let now = Instant::now();
            self.deadlines(now);
            if !self.lifecycle.is_serving() && self.clients.len() == 0 {
                break;
            }
            self.listen(now);
            let timeout = self.timeout(now);
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(e) => {
                    let line = format!("unable to wait for events: {}", e.desc());
                    self.logger.say(Severity::Err, &line);
                    return Exit::System;
                }
            };
            self.logger.hold();
            for event in events.get(..count).unwrap_or_default() {
                self.handle(Token::from(*event));
            }
            self.logger.release();
            self.accept_admin_clients();
        }
        self.engines.end_all(Instant::now());
        self.stop_lookup();
        if let Some(line) = self.clients.last_refusals() {
            self.logger.say(Severity::Info, &line);
        }
        self.report.reporter.end();
        self.logger.close();
        self.lifecycle.exit()
    }

    /// Gives an event to the room that owns its descriptor.
    fn handle(&mut self, token: Token) {
        match token {
            Token::Signals => self.take_signals(),
            Token::Control => self.report.control.wake(),
            Token::AdminClient(number) => self.report.control.send_more(number),
            Token::Reporter => self.serve_reporter(),
            Token::MetricsListener(index) => {
                if let Err(e) = self.report.reporter.accept(index, BATCH, &self.epoll) {
                    let why = cause(&e);
                    self.pause(&format!("unable to accept who asks for metrics: {why}"));
                }
            }
            Token::Listener(index) => self.accept(index),
            Token::Engine(engine) => self.serve_engine(engine),
            Token::Stderr(id) => self.clients.read_stderr(id, &mut self.logger),
            Token::Dial(id) => self.dial_ready(id),
            Token::Resolver => {
                let found = (self.programs).read_names(&self.epoll, &mut self.logger);
                if let Some(found) = found {
                    self.load(found);
                }
            }
        }
    }

    /// Does what is due at this time.
    fn deadlines(&mut self, now: Instant) {
        self.logger.tick(now);
        for (severity, line) in self.clients.report_refusals(now) {
            self.logger.say(severity, &line);
        }
        self.start_engines(now);
        self.service.tick(self.clients.len(), now);
        self.expire_dials(now);
        self.answer_overdue(now);
        if self.lifecycle.is_serving() {
            let config = &self.generations.current().config;
            let (epoll, logger) = (&self.epoll, &mut self.logger);
            if let Some(found) = self.programs.refresh_names(config, epoll, logger, now) {
                self.load(found);
            }
        }
        self.answer_waiters(now);
        if let Err(NoRandomness) =
            (self.engines).rotate_tickets(&mut self.generations, &self.epoll, now)
        {
            let line = "unable to make new ticket keys: no randomness; the old ones stay";
            self.logger.say(Severity::Err, line);
        }
        for line in self.generations.expired_staples(SystemTime::now()) {
            self.logger.say(Severity::Warning, &line);
        }
        while let Some(id) = self.clients.expired(now) {
            if self.lifecycle.stage() == Stage::Stopping {
                self.clients.signal_commands(Signal::SIGKILL);
            }
            self.conclude(id);
        }
    }

    /// Answers the clients that wait for numbers, if the engines have answered or have had their time.
    fn answer_waiters(&mut self, now: Instant) {
        if !self.report.stats.is_complete(now) {
            return;
        }
        let present = Present {
            config: &self.generations.current().config,
            clients: &self.clients,
            engines: self.engines.alive(),
            backends: self.programs.names().collect(),
            unready: self.unready(),
            sockets: self.report.sockets(&self.listeners),
        };
        if let Err(e) = self.report.answer_waiters(&present, &self.epoll, now) {
            let line = format!("unable to write metrics: {}", cause(&e));
            self.logger.say(Severity::Err, &line);
        }
    }

    /// Why new clients are not served; `None`: they are.
    fn unready(&self) -> Option<&'static str> {
        unready(
            &self.lifecycle,
            &self.engines,
            &self.generations,
            &self.programs,
        )
    }

    /// The time to wait for events.
    fn timeout(&self, now: Instant) -> EpollTimeout {
        // While draining, no engine is started and no name is looked up.
        let serving = |due: Option<Instant>| due.filter(|_| self.lifecycle.is_serving());
        let due = [
            self.clients.due(),
            serving(self.engines.due()),
            (self.lifecycle.paused_until()).or(self.report.control.is_waiting().then_some(now)),
            self.logger.next_tick(),
            self.clients.refusals_due(),
            self.service.due(self.clients.len()),
            self.programs.dial_due(),
            serving(self.programs.names_due()),
            self.report.reporter.due(now),
            self.report.stats.due(),
            Some(self.generations.rotation_due()),
        ];
        timeout::until(due, now)
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.signals.take() {
            match signal {
                Signal::SIGCHLD => self.reap(),
                Signal::SIGUSR1 => self.logger.reopen(),
                Signal::SIGHUP if self.reload.is_possible() => self.begin_reload(None),
                Signal::SIGHUP => {}
                signal => self.stop_further(signal),
            }
        }
    }

    /// Waits for clients while there is an engine to serve them, and for clients of the metrics; for neither
    /// while accepting is paused.
    fn listen(&mut self, now: Instant) {
        self.lifecycle.resume(now);
        let paused = self.lifecycle.is_paused();
        let lines = match !paused
            && self.lifecycle.is_serving()
            && self.engines.can_serve(&self.generations)
        {
            true => self.listeners.register(&self.epoll),
            false => self.listeners.unregister(&self.epoll),
        };
        self.logger.say_all(Severity::Err, lines);

        let (reporter, generation) = (&mut self.report.reporter, self.generations.current());
        let mut lines = reporter.start_due(generation, &self.epoll, now);
        lines.extend(reporter.listen(paused, &self.epoll));
        self.logger.say_all(Severity::Err, lines);
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..BATCH {
            match self.listeners.accept(index) {
                Ok((listener, incoming)) => self.admit(listener, incoming),
                Err(AcceptError::Empty) => break,
                Err(AcceptError::Exhausted(e)) => {
                    return self.pause(&format!("unable to accept a client: {}", cause(&e)));
                }
            }
        }
    }

    /// Pauses accepting, because descriptors or memory have run out.
    fn pause(&mut self, why: &str) {
        let line = self.lifecycle.pause(why, Instant::now());
        self.logger.say(Severity::Err, &line);
    }

    /// Begins to load the configuration again, for a signal or for a client that waits for the result.
    fn begin_reload(&mut self, client: Option<AdminClient>) {
        let waits_for_names = self.programs.reload_waits();
        if self.reload.request(client, waits_for_names) == Requested::Later {
            return;
        }
        if !self.lifecycle.is_serving() || !self.lifecycle.is_ready() {
            return self.reload_failed(&[(Severity::Err, "unable to reload: not serving".into())]);
        }
        self.service.reloading();
        self.load(ForReload::new());
    }

    /// Loads the configuration, with the addresses of names that have been looked up.
    fn load(&mut self, found: ForReload) {
        let metrics = self.report.reporter.listeners();
        let lookups = NameLookup::Done(&found);
        let prepared = (self.reload).prepare(lookups, &self.generations, &self.listeners, metrics);
        match prepared {
            Ok((candidate, warnings)) => {
                self.reload.tell(&warnings, &mut self.logger);
                let now = Instant::now();
                self.engines.add(&candidate.generation, now);
                self.reload.set_candidate(candidate);
                self.start_engines(now);
            }
            Err(Setback::Wrong(problems)) => self.reload_failed(&problems),
            Err(Setback::Unresolved(names)) => {
                let config = &self.generations.current().config;
                let programs = &mut self.programs;
                let begun = programs.look_up_for_reload(names, found, config, &self.epoll);
                if let Err(e) = begun {
                    let line = format!("unable to look names up: {e}");
                    self.reload_failed(&[(Severity::Err, line)]);
                }
            }
        }
    }

    /// Makes a candidate the current generation.
    fn take_over(&mut self, candidate: Candidate) {
        let generation = candidate.generation;
        let retired = self.generations.replace(generation.clone());
        self.clients.set_capacity(candidate.capacity);
        let config = &generation.config;
        self.programs.configure(config, Instant::now());
        (self.logger).change(config.log.level, candidate.logger);
        let mut lines = self.listeners.adopt(candidate.listeners, &self.epoll);
        let reporter = &mut self.report.reporter;
        lines.extend(reporter.adopt(candidate.metrics, &generation, &self.epoll));
        self.logger.say_all(Severity::Notice, lines);
        self.report.metrics.configure(config);
        self.engines.retire(&retired, &self.epoll);
        self.finish_reload("reloaded", ReloadResult::Ok);
    }

    /// Gives up the candidate, because one of its engines cannot start.
    fn candidate_failed(&mut self, why: &str) {
        if let Some(candidate) = self.reload.take_candidate() {
            self.engines.remove(&candidate.generation, Instant::now());
            let line = format!("unable to start an engine: {why}");
            self.reload_failed(&[(Severity::Err, line)]);
        }
    }

    fn reload_failed(&mut self, problems: &[(Severity, String)]) {
        self.reload.tell(problems, &mut self.logger);
        self.service.reload_failed(problems);
        let line = "not reloaded: the old configuration stays";
        self.finish_reload(line, ReloadResult::Failed);
    }

    fn finish_reload(&mut self, line: &str, result: ReloadResult) {
        self.logger.say(result.severity(), line);
        self.report.metrics.reloaded(result);
        // First the service manager, which is to know of the end before `ExecReload=` has ended.
        self.service.reloaded(self.clients.len());
        self.reload.finish(line, result);
        if self.reload.begin_next() {
            self.begin_reload(None);
        }
    }

    fn stop_further(&mut self, signal: Signal) {
        let stage = self.lifecycle.stage();
        if stage == Stage::Serving {
            self.begin_stop();
        }
        let Some(line) = stage.ending(signal, self.clients.len()) else {
            return;
        };
        self.logger.say(Severity::Notice, &line);
        if stage == Stage::Draining {
            self.stop_now();
        }
    }

    /// Accepts no more clients.
    fn begin_stop(&mut self) {
        self.lifecycle.enter(Stage::Draining);
        self.listeners.close(&self.epoll);
        self.service.stopping(self.clients.len());
        self.stop_lookup();
        self.engines.drain_all(&self.epoll);
    }

    /// Ends every connection and every command.
    fn stop_now(&mut self) {
        self.lifecycle.enter(Stage::Stopping);
        let now = Instant::now();
        self.engines.end_all(now);
        self.clients.signal_commands(Signal::SIGTERM);
        for id in self.clients.ids() {
            self.client_ended(id, Summary::unknown(End::Reset), now);
        }
        self.clients.expire_all(now + LAST_GRACE);
    }

    /// Ends a look-up of names, which no client needs any more.
    fn stop_lookup(&mut self) {
        if self.programs.stop_lookup(&self.epoll) {
            self.reload_failed(&[(Severity::Err, "unable to reload: told to stop".to_owned())]);
        }
    }
}
