//! Clients: admission, what is known of each, the end of its connection and its one log line.
//!
//! Nothing here talks to an engine, starts a command or dials a backend: the methods return what is to
//! happen.
#![forbid(unsafe_code)]

mod client;
mod first_refusals;
mod limits;
mod log_line;
mod messages;
mod output;
mod stderr;

use std::collections::{HashMap, VecDeque};
use std::io::PipeReader;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::generation::Generation;
use super::listeners::Incoming;
use super::socket_options::apply_limits;
use crate::exit::Exit;
use crate::log::Logger;
use crate::message::{OutputEnd, Summary};
use crate::process::Ended;
use crate::types::{ConnectionId, EngineId, HandshakeInfo, ListenerId, Severity};
use client::{ClientSide, Output};
use first_refusals::FirstRefusals;
use limits::{AdmissionControl, Source};
use output::Questions;
use stderr::{Progress, StderrLog};

pub(super) use client::{Client, PlaintextSide};
pub(super) use limits::LimitExceeded;

/// All clients: those that are connected, and those whose commands still run.
pub(super) struct Clients {
    clients: HashMap<ConnectionId, Client>,
    /// The connections of the commands that run.
    commands: HashMap<Pid, ConnectionId>,
    /// Connections whose clients have ended and whose commands have not, oldest first, with the time at
    /// which their line is written nevertheless.
    lingering: VecDeque<(Instant, ConnectionId)>,
    /// Engines that wait for the exit status of a command.
    questions: Questions,
    control: AdmissionControl,
    first_refusals: FirstRefusals,
    /// Maximum number of connections.
    capacity: usize,
    next_id: ConnectionId,
    /// Exit status of the connection that ended last; before the first one, [`Exit::System`].
    last_exit: Exit,
}

/// What [`Clients::end`] leaves of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// The command still runs, or no open connection has this id.
    Command,
    /// Nothing: it is time for [`Clients::conclude`].
    Nothing,
}

impl Clients {
    /// No client as yet, and at most `capacity` at a time.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            clients: HashMap::new(),
            commands: HashMap::new(),
            lingering: VecDeque::new(),
            questions: Questions::default(),
            control: AdmissionControl::new(),
            first_refusals: FirstRefusals::default(),
            capacity,
            next_id: ConnectionId(1),
            last_exit: Exit::System,
        }
    }

    /// Changes the maximum number of connections, because there are new limits.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.first_refusals.forget();
    }

    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// The client of a connection.
    pub(super) fn get(&self, id: ConnectionId) -> Option<&Client> {
        self.clients.get(&id)
    }

    /// All clients, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Client)> {
        self.clients.iter().map(|(id, client)| (*id, client))
    }

    /// All connections.
    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.clients.keys().copied().collect()
    }

    /// Kills the commands of a lost engine's clients, if their hosts kill commands of vanished clients. Returns the
    /// open connections of the engine, with the times until which their commands may go on.
    pub(super) fn lose_engine(
        &self,
        engine: EngineId,
        now: Instant,
    ) -> Vec<(ConnectionId, Instant)> {
        let clients = self.iter();
        let served = clients.filter(|(_, client)| client.engine == engine && client.is_open());
        served
            .map(|(id, client)| {
                client.kill_command();
                (id, client.deadline(now))
            })
            .collect()
    }

    /// Exit status of the one-connection form.
    pub(super) fn last_exit(&self) -> Exit {
        self.last_exit
    }

    /// Admits a client of the current generation, for an engine.
    ///
    /// Errors: the limit that the client is over. The socket is to be closed then.
    pub(super) fn admit(
        &mut self,
        listener: ListenerId,
        incoming: &Incoming,
        engine: EngineId,
        generation: &Arc<Generation>,
        now: Instant,
    ) -> Result<ConnectionId, LimitExceeded> {
        let config = &generation.config;
        let peer = incoming.addresses.map(|(peer, _)| peer.ip());
        let proxy_from = config.listener(listener);
        let proxy_from = proxy_from.and_then(|listener| listener.proxy_from.as_ref());
        if proxy_from.is_some_and(|from| !from.contains(peer)) {
            let limit = LimitExceeded::ProxyFrom;
            let source = peer.map(Source::of);
            self.control.refuse(limit, source, now);
            (self.first_refusals).note(limit, source, &config.limits, self.capacity);
            self.last_exit = Exit::Handshake;
            return Err(limit);
        }
        // A client of a load balancer has its own source, which the PROXY header tells.
        let awaits_header = proxy_from.is_some();
        let source = peer.filter(|_| !awaits_header).map(Source::of);
        let open = (self.clients.len(), self.capacity);
        let admitted = self.control.admit(source, open, &config.limits, now);
        if let Err(limit) = admitted {
            (self.first_refusals).note(limit, source, &config.limits, self.capacity);
            return Err(limit);
        }
        apply_limits(&incoming.socket, &config.limits);
        let id = self.next_id;
        self.next_id = id.next();
        let client = Client {
            name: id.name(),
            generation: Arc::clone(generation),
            engine,
            listener,
            addresses: incoming.addresses,
            accepted: now,
            awaits_header,
            load_balancer: None,
            source,
            admitted_to: None,
            host: None,
            handshake: HandshakeInfo::default(),
            handshake_ms: None,
            plaintext: PlaintextSide::NotRequested,
            output: Output::Open,
            stderr: None,
            side: ClientSide::Open,
            traffic: (0, 0),
        };
        self.clients.insert(id, client);
        Ok(id)
    }

    /// Notes what has become of the plaintext side, other than a command that runs.
    pub(super) fn set_plaintext(&mut self, id: ConnectionId, plaintext: PlaintextSide) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.plaintext = plaintext;
        }
    }

    /// Notes that the command runs; `stderr`: its standard error, where that goes into the log.
    pub(super) fn command_started(
        &mut self,
        id: ConnectionId,
        pid: Pid,
        stderr: Option<PipeReader>,
    ) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.plaintext = PlaintextSide::Running(pid);
            client.stderr = stderr.map(StderrLog::new);
            self.commands.insert(pid, id);
        }
    }

    /// Logs what a command has written to standard error.
    pub(super) fn read_stderr(&mut self, id: ConnectionId, logger: &mut Logger) {
        if let Some(client) = self.clients.get_mut(&id)
            && let Some(stderr) = &mut client.stderr
            && stderr.read(&client.name, logger) == Progress::End
            && let Some(stderr) = client.stderr.take()
        {
            stderr.finish(&client.name, logger);
        }
    }

    /// Notes that a child process has ended, if it was a command; its client.
    pub(super) fn command_exited(
        &mut self,
        pid: Pid,
        ended: Ended,
    ) -> Option<(ConnectionId, &Client)> {
        let id = self.commands.remove(&pid)?;
        let client = self.clients.get_mut(&id)?;
        client.plaintext = PlaintextSide::Exited(pid, ended);
        Some((id, client))
    }

    /// Sends a signal to every command.
    pub(super) fn signal_commands(&self, signal: Signal) {
        for &pid in self.commands.keys() {
            // The process group is the command's own. It may have ended meanwhile.
            let _ = killpg(pid, signal);
        }
    }

    /// Counts the plaintext bytes that an open connection has moved by now; its host's label and the bytes
    /// that were not counted before.
    pub(super) fn count_traffic(
        &mut self,
        id: ConnectionId,
        received: u64,
        sent: u64,
    ) -> Option<(&str, u64, u64)> {
        let client = self.clients.get_mut(&id).filter(|c| c.is_open())?;
        let (up, down) = client.traffic;
        client.traffic = (up.max(received), down.max(sent));
        let new = (received.saturating_sub(up), sent.saturating_sub(down));
        Some((client.host_label(), new.0, new.1))
    }

    /// Notes that a client has ended. Its command may run until `deadline` before the line is written.
    pub(super) fn end(&mut self, id: ConnectionId, summary: Summary, deadline: Instant) -> Remains {
        let client = self.clients.get_mut(&id);
        let Some(client) = client.filter(|client| client.is_open()) else {
            return Remains::Command;
        };
        if client.plaintext == PlaintextSide::Dialling {
            client.plaintext = PlaintextSide::NoBackend("the client has gone".to_owned());
        }
        client.side = ClientSide::Ended(summary, Instant::now());
        if client.runs() {
            self.lingering.push_back((deadline, id));
            return Remains::Command;
        }
        Remains::Nothing
    }

    /// Time of the next [`Clients::expired`] or [`Clients::overdue_question`].
    pub(super) fn due(&self) -> Option<Instant> {
        let lingering = self.lingering.front().map(|(deadline, _)| *deadline);
        lingering.into_iter().chain(self.questions.due()).min()
    }

    /// The next connection about whose command an engine has asked, and has waited long enough.
    pub(super) fn overdue_question(&mut self, now: Instant) -> Option<ConnectionId> {
        self.questions.overdue(now)
    }

    /// The answer to an engine that waits for the end of a command, if one does.
    pub(super) fn answer(&mut self, id: ConnectionId) -> Option<(EngineId, OutputEnd)> {
        let client = self.clients.get_mut(&id)?;
        let end = client.answer()?;
        Some((client.engine, end))
    }

    /// The next connection whose client has ended, and whose command has had its time.
    pub(super) fn expired(&mut self, now: Instant) -> Option<ConnectionId> {
        let next = self.lingering.front();
        next.filter(|(deadline, _)| *deadline <= now)?;
        self.lingering.pop_front().map(|(_, id)| id)
    }

    /// Gives every connection this deadline, whether or not its client has ended.
    pub(super) fn expire_all(&mut self, deadline: Instant) {
        let ids = self.clients.keys();
        self.lingering = ids.map(|id| (deadline, *id)).collect();
    }

    /// Writes the line of a connection, and forgets it.
    pub(super) fn conclude(&mut self, id: ConnectionId, logger: &mut Logger) -> Option<Client> {
        let mut client = self.clients.remove(&id)?;
        let host = client.admitted_to;
        let host = host.and_then(|host| client.generation.host_key(host));
        self.control.release(client.source, host);
        if let Some(stderr) = client.stderr.take() {
            stderr.finish(&client.name, logger);
        }
        client.log(logger);
        self.last_exit = client.exit();
        Some(client)
    }

    /// Time of the next line about refused clients.
    pub(super) fn refusals_due(&self) -> Option<Instant> {
        self.control.next_report()
    }

    /// The lines about first refusals, and the one about refused clients if it is due.
    pub(super) fn report_refusals(&mut self, now: Instant) -> Vec<(Severity, String)> {
        let first = self.first_refusals.take_lines();
        let first = first.into_iter().map(|line| (Severity::Notice, line));
        let sum = self.control.report(now).map(|line| (Severity::Info, line));
        first.chain(sum).collect()
    }

    /// The last line about refused clients.
    pub(super) fn last_refusals(&mut self) -> Option<String> {
        self.control.last_report()
    }
}
