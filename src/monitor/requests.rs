//! Requests of engines, of admin clients and of the reporter, carried out; child processes that have ended.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::clients::{PlaintextSide, Remains};
use super::listeners::Incoming;
use super::programs::{Outcome, Request};
use super::report::{Question, ReporterEvent, Waiter, ready_text};
use super::token::Token;
use super::violation::Violation;
use super::workers::FromEngine;
use super::{BATCH, Monitor};
use crate::config::{BackendAddress, Backends, Destination, RunAs};
use crate::environment::left_out;
use crate::exit::Exit;
use crate::message::{End, Summary, ToEngine, ToMonitor, Transport};
use crate::process::{Ended, reap};
use crate::types::{ConnectionId, EngineId, HostId, ListenerId, Program, Severity};

impl Monitor {
    /// Admits a client, and gives it to the engine with the fewest connections.
    pub(super) fn admit(&mut self, listener: ListenerId, incoming: Incoming) {
        let Some(engine) = self.engines.least_loaded(&self.generations) else {
            return;
        };
        let generation = self.generations.current();
        let now = Instant::now();
        match (self.clients).admit(listener, &incoming, engine, generation, now) {
            Ok(id) => {
                if let Some(name) = generation.listener_name(listener) {
                    self.report.metrics.accepted(name);
                }
                self.engines.add_connection(engine);
                let message = ToEngine::Accepted { id, listener };
                self.send(engine, &message, vec![incoming.socket]);
            }
            Err(limit) => {
                self.service.count_refused();
                self.report.metrics.refused(limit);
            }
        }
    }

    /// Takes messages from an engine.
    pub(super) fn serve_engine(&mut self, engine: EngineId) {
        for _ in 0..BATCH {
            let carried_out = match self.engines.receive(engine) {
                FromEngine::Nothing => break,
                FromEngine::Message(message) => self.carry_out(engine, message),
                FromEngine::Violation(violation) => Err(violation),
                FromEngine::Closed => return self.lose_engine(engine, None),
            };
            if let Err(violation) = carried_out {
                return self.lose_engine(engine, Some(violation));
            }
        }
        self.engines.flush(engine, &self.epoll);
    }

    /// Does what an engine asks for.
    fn carry_out(&mut self, engine: EngineId, message: ToMonitor) -> Result<(), Violation> {
        let now = Instant::now();
        match message {
            ToMonitor::Ready => self.engine_ready(engine),
            ToMonitor::Log { severity, id, line } => {
                let of = id.map_or_else(String::new, |id| format!("id={} ", id.name()));
                self.logger.say(severity, &format!("{of}{line}"));
            }
            ToMonitor::ProxyHeader { id, addresses } => {
                let admitted = self.clients.proxy_header(engine, id, addresses, now)?;
                if let Err(limit) = admitted {
                    self.service.count_refused();
                    self.report.metrics.refused(limit);
                }
                self.send(engine, &ToEngine::decision(id, &admitted), Vec::new());
            }
            ToMonitor::HostChosen { id, host } => {
                let admitted = self.clients.host_chosen(engine, id, host)?;
                if let (Err(_), Some(client)) = (admitted, self.clients.get(id))
                    && let Some(host) = client.generation().host(host)
                {
                    self.report.metrics.refused_by_host(&host.label);
                }
                self.send(engine, &ToEngine::decision(id, &admitted), Vec::new());
            }
            ToMonitor::Open {
                id,
                host,
                handshake,
                handshake_us,
            } => {
                let client = (self.clients).open(engine, id, host, handshake, handshake_us)?;
                let time = Duration::from_micros(handshake_us.into());
                self.report.metrics.handshake(client, time);
                let generation = Arc::clone(client.generation());
                match generation.host(host).map(|host| &host.destination) {
                    Some(Destination::Command { program, run_as }) => {
                        self.launch(id, program, run_as);
                    }
                    Some(Destination::Backends(backends)) => self.dial(id, host, backends),
                    None => {}
                }
            }
            ToMonitor::Traffic(traffic) => {
                for traffic in traffic {
                    self.clients.check(engine, traffic.id)?;
                    self.count_traffic(traffic.id, traffic.received, traffic.sent);
                }
            }
            ToMonitor::TrafficReported => {
                self.report.stats.answered(engine);
                self.answer_waiters(now);
            }
            ToMonitor::OutputEnded { id } => {
                // The exit status may be there already.
                if let Some((pid, ended)) = self.clients.reap(id) {
                    self.child_ended(pid, ended);
                }
                if let Some(end) = self.clients.output_ended(engine, id, now)? {
                    self.send(engine, &ToEngine::OutputEnded { id, end }, Vec::new());
                }
            }
            ToMonitor::Kill { id } => self.clients.kill(engine, id)?,
            ToMonitor::Closed { id, mut summary } => {
                let deadline = self.clients.closed(engine, id, &mut summary, now)?;
                self.engines.remove_connection(engine);
                self.client_ended(id, summary, deadline);
            }
        }
        Ok(())
    }

    /// Starts the command of a client.
    fn launch(&mut self, id: ConnectionId, program: &Program, run_as: &RunAs) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let engine = client.engine();
        let Some(role) = run_as.role(client.handshake()) else {
            return self.refuse(id, engine, PlaintextSide::NoUser);
        };
        for line in left_out(client.handshake()) {
            let line = format!("id={} {line}", client.name());
            self.logger.say(Severity::Info, &line);
        }
        let begun = Instant::now();
        match (self.programs).start(program, role, client.variables()) {
            Ok(launched) => {
                let (metrics, event) = (&self.report.metrics, Token::Stderr(id).readable());
                metrics.launched(client.host_label(), begun.elapsed());
                let registered = |pipe: &_| self.epoll.add(pipe, event).is_ok();
                let stderr = launched.stderr.filter(registered);
                self.clients.command_started(id, launched.pid, stderr);
                let stdio = program.stdio;
                self.send(engine, &ToEngine::Opened { id, stdio }, launched.plaintext);
            }
            Err(e) => self.refuse(id, engine, PlaintextSide::LaunchFailed(e)),
        }
    }

    /// Tells an engine that a client gets neither a command nor a backend.
    fn refuse(&mut self, id: ConnectionId, engine: EngineId, plaintext: PlaintextSide) {
        self.clients.set_plaintext(id, plaintext);
        self.send(engine, &ToEngine::Refused { id }, Vec::new());
    }

    /// Connects a client to a backend.
    fn dial(&mut self, id: ConnectionId, host: HostId, backends: &Backends) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        let request = Request {
            generation: Arc::clone(client.generation()),
            host,
            header: backends
                .proxy
                .map_or_else(Vec::new, |version| client.proxy_header(version)),
        };
        self.clients.set_plaintext(id, PlaintextSide::Dialling);
        let outcome = (self.programs).dial(id, request, &self.epoll, &mut self.logger);
        self.dialled(id, outcome);
    }

    /// Goes on with a client whose connection to a backend is made, or has failed.
    pub(super) fn dial_ready(&mut self, id: ConnectionId) {
        let outcome = (self.programs).dial_ready(id, &self.epoll, &mut self.logger);
        self.dialled(id, outcome);
    }

    /// Gives up connections to backends that have taken too long.
    pub(super) fn expire_dials(&mut self, now: Instant) {
        while let Some((id, outcome)) =
            (self.programs).expire_dial(&self.epoll, &mut self.logger, now)
        {
            self.dialled(id, outcome);
        }
    }

    /// Tells an engine what has become of a client that waits for a backend; `None`: it still waits.
    fn dialled(&mut self, id: ConnectionId, outcome: Option<Outcome>) {
        let (Some(outcome), Some(client)) = (outcome, self.clients.get(id)) else {
            return;
        };
        let engine = client.engine();
        match outcome {
            Outcome::Connected {
                target,
                socket,
                time,
            } => {
                self.report.metrics.launched(client.host_label(), time);
                let transport = match target {
                    BackendAddress::Tcp(_) => Transport::Tcp,
                    BackendAddress::Unix(_) => Transport::Unix,
                };
                let message = ToEngine::Connected { id, transport };
                (self.clients).set_plaintext(id, PlaintextSide::Connected(target));
                self.send(engine, &message, vec![socket]);
            }
            Outcome::Failed(why) => self.refuse(id, engine, PlaintextSide::NoBackend(why)),
        }
    }

    /// Counts what a connection has moved by now.
    fn count_traffic(&mut self, id: ConnectionId, received: u64, sent: u64) {
        if let Some((host, received, sent)) = self.clients.count_traffic(id, received, sent) {
            self.report.metrics.traffic(host, received, sent);
        }
    }

    /// Notes that a client has ended. Its command may go on until `deadline` before the line is written.
    pub(super) fn client_ended(&mut self, id: ConnectionId, summary: Summary, deadline: Instant) {
        self.programs.hang_up(id, &self.epoll);
        self.count_traffic(id, summary.received, summary.sent);
        if let Remains::Nothing = self.clients.end(id, summary, deadline) {
            self.conclude(id);
        }
    }

    /// Writes the line of a connection, and forgets it.
    pub(super) fn conclude(&mut self, id: ConnectionId) {
        let Some(client) = self.clients.conclude(id, &mut self.logger) else {
            return;
        };
        self.report.metrics.ended(&client);
        match client.plaintext() {
            PlaintextSide::Running(_) | PlaintextSide::Exited(..) => self.service.count_served(),
            PlaintextSide::Connected(target) => {
                self.service.count_served();
                self.programs.release(target);
            }
            _ => {}
        }
    }

    /// Notes which children have ended.
    pub(super) fn reap(&mut self) {
        while let Some((pid, ended)) = reap() {
            self.child_ended(pid, ended);
        }
    }

    fn child_ended(&mut self, pid: Pid, ended: Ended) {
        self.engines.exited(pid, ended);
        self.programs.exited(pid);
        self.report.reporter.exited(pid, ended);
        self.logger.exited(pid);
        // A child that is none of these was there before the monitor.
        if let Some((id, client)) = self.clients.command_exited(pid, ended) {
            (self.report.metrics).exited(client.host_label(), ended);
            match client.is_open() {
                true => self.answer(id),
                false => self.conclude(id),
            }
        }
    }

    /// Answers the questions about the output of commands that have waited too long for an exit status.
    pub(super) fn answer_overdue(&mut self, now: Instant) {
        while let Some(id) = self.clients.overdue_question(now) {
            self.answer(id);
        }
    }

    /// Answers the engine that asks how the output of a command has ended, if one waits.
    fn answer(&mut self, id: ConnectionId) {
        if let Some((engine, end)) = self.clients.answer(id) {
            self.send(engine, &ToEngine::OutputEnded { id, end }, Vec::new());
        }
    }

    /// Accepts clients of the control sockets, unless accepting is paused.
    pub(super) fn accept_admin_clients(&mut self) {
        if self.lifecycle.is_paused() {
            return;
        }
        let (clients, accepted) = self.report.control.accept_some();
        for (question, client) in clients {
            match question {
                Question::Reload => self.begin_reload(Some(client)),
                Question::Status => self.request_stats(Waiter::Status(client)),
            }
        }
        if let Err(why) = accepted {
            self.pause(&why);
        }
    }

    /// Answers the reporter.
    pub(super) fn serve_reporter(&mut self) {
        for _ in 0..BATCH {
            match self.report.reporter.receive(&self.epoll) {
                ReporterEvent::Nothing => break,
                ReporterEvent::Answered => {}
                ReporterEvent::Readiness(id) => {
                    let text = ready_text(&self.programs);
                    let readiness = self.unready().map_or(Ok(text.as_str()), Err);
                    (self.report.reporter).answer_readiness(id, readiness, &self.epoll);
                }
                ReporterEvent::Request(id) => self.request_stats(Waiter::Metrics(id)),
                ReporterEvent::Lost(line) => self.logger.say(Severity::Err, &line),
            }
        }
    }

    /// Lets a client wait for up-to-date numbers.
    fn request_stats(&mut self, waiter: Waiter) {
        let now = Instant::now();
        let ask = || self.engines.ask_for_traffic(&self.epoll);
        self.report.stats.request(waiter, ask, now);
        self.answer_waiters(now);
    }

    /// Notes that an engine can serve. If it is the first one of the candidate, the candidate takes over.
    fn engine_ready(&mut self, engine: EngineId) {
        let generation = self.engines.generation(engine);
        let candidate = generation.and_then(|of| self.reload.take_candidate_of(of));
        if let Some(candidate) = candidate {
            self.take_over(candidate);
        }
        if self.lifecycle.set_ready() {
            self.logger
                .say_all(Severity::Notice, self.listeners.lines().collect());
            self.service.ready(self.clients.len());
        }
    }

    /// Starts the engines that are due. While draining, a dead engine is not replaced: there is no new work.
    pub(super) fn start_engines(&mut self, now: Instant) {
        if !self.lifecycle.is_serving() {
            return;
        }
        let started = (self.engines).start_due(&self.generations, &self.epoll, now);
        self.report.metrics.restarted(started.restarts);
        self.logger.say_all(Severity::Err, started.failures);
        if let Some(e) = started.candidate {
            self.candidate_failed(e.desc());
        }
    }

    /// Ends an engine that is gone, or has broken the protocol, and its connections.
    fn lose_engine(&mut self, engine: EngineId, violation: Option<Violation>) {
        let now = Instant::now();
        let Some(lost) = self.engines.end(engine, now) else {
            return;
        };
        let broke = |violation| format!("it broke the protocol: {violation}");
        let why = violation.map_or(lost.how, broke);
        if !lost.retired && !self.generations.is_current(&lost.generation) {
            return self.candidate_failed(&why);
        }
        let vanished = self.clients.lose_engine(engine, now);
        if (self.lifecycle.is_serving() && !lost.retired) || !vanished.is_empty() {
            let (pid, count) = (lost.pid, vanished.len());
            let line = format!("engine {pid} ended: {why}; connections lost with it: {count}");
            self.logger.say(Severity::Err, &line);
        }
        for (id, deadline) in vanished {
            self.client_ended(id, Summary::unknown(End::Reset), deadline);
        }
        self.report.stats.answered(engine);
        self.answer_waiters(now);
        if !self.lifecycle.is_ready() && self.lifecycle.is_serving() {
            self.logger.say(Severity::Err, "no engine can start");
            self.lifecycle.fail(Exit::CannotStart);
            self.begin_stop();
        }
    }

    /// Sends a message to an engine, if it lives.
    pub(super) fn send(&mut self, engine: EngineId, message: &ToEngine, with: Vec<OwnedFd>) {
        self.engines.send(engine, message, with, &self.epoll);
    }
}
