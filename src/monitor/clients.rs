//! A connection in the monitor: accepted, given to an engine, given a command, concluded.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::connection::{self, Client, Command, Connection, StderrLog};
use super::engines::Slot;
use super::event::Source;
use super::limits::{self, Over};
use super::listener::{Accepted, Refusal};
use super::{BATCH, Monitor, Stop, socket};
use crate::config::{Answer, OnTruncation};
use crate::environment::{Told, left_out, variables};
use crate::exit::Exit;
use crate::message::{Report, ToEngine};
use crate::process::{LaunchError, Step};
use crate::types::{ConnectionId, HandshakeInfo, HostId, ListenerId, Severity};

/// How long to accept nobody after the system has run out of something.
const EXHAUSTED: Duration = Duration::from_millis(200);
impl Monitor {
    /// Clients are accepted while there is room for them, and an engine to serve them.
    pub(super) fn set_listening(&mut self, now: Instant) {
        if self.exhausted_until.is_some_and(|until| until <= now) {
            self.exhausted_until = None;
            // Its event has come and gone.
            self.asked();
        }
        let wanted = self.stop == Stop::No
            && self.exhausted_until.is_none()
            && self.current().any(|(_, slot)| slot.load().is_some());
        if wanted == self.listening {
            return;
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            let result = match wanted {
                true => self.epoll.add(
                    listener,
                    EpollEvent::new(EpollFlags::EPOLLIN, Source::Listener(index).token()),
                ),
                false => self.epoll.delete(listener),
            };
            if let Err(e) = result {
                self.logger.say(
                    Severity::Err,
                    &format!("unable to wait for clients on {listener}: {e}"),
                );
            }
        }
        self.listening = wanted;
    }

    /// Takes the listeners out of the epoll set; those that stay come back in the next turn.
    pub(super) fn deafen(&mut self) {
        if std::mem::take(&mut self.listening) {
            for listener in &self.listeners {
                let _ = self.epoll.delete(listener);
            }
        }
    }

    pub(super) fn accept(&mut self, index: usize) {
        for _ in 0..BATCH {
            let Some(listener) = self.listeners.get(index) else {
                break;
            };
            let place = listener.index;
            match listener.accept() {
                Ok(client) => self.admit(place, client),
                Err(Refusal::Nobody) => break,
                Err(Refusal::Exhausted(e)) => {
                    self.pause(&format!("unable to accept a client: {e}"));
                    break;
                }
            }
        }
    }

    /// Accepts nobody for a while: something has run out.
    pub(super) fn pause(&mut self, why: &str) {
        let wait = EXHAUSTED.as_millis();
        self.logger
            .say(Severity::Err, &format!("{why}; trying again in {wait} ms"));
        self.exhausted_until = Instant::now().checked_add(EXHAUSTED);
    }

    /// Takes a client, if it is within the limits, and gives it to the engine that has the fewest.
    pub(super) fn admit(&mut self, listener: ListenerId, client: Accepted) {
        let loads = self.current();
        let least = loads
            .filter_map(|(place, slot)| Some((slot.load()?, place)))
            .min();
        let Some((_, place)) = least else { return };
        let Some(engine) = self.slots.get_mut(&place).and_then(Slot::running) else {
            return;
        };
        let peer = client.addresses.map(|(peer, _)| peer.ip());
        let proxies = self
            .blueprint
            .config
            .listener(listener)
            .and_then(|l| l.proxy_from.as_ref());
        let now = Instant::now();
        if proxies.is_some_and(|from| !from.contains(peer)) {
            self.admission
                .refuse(Over::ProxyFrom, peer.map(limits::Source::of), now);
            self.numbers.refused(Over::ProxyFrom);
            self.manager.refused += 1;
            self.last_exit = Exit::Handshake;
            return; // closes it
        }
        // One that has come by a load balancer counts for where it came from, once that is known.
        let awaits_header = proxies.is_some();
        let source = peer.filter(|_| !awaits_header).map(limits::Source::of);
        let open = (self.connections.len(), self.room);
        let limits = &self.blueprint.config.limits;
        if let Err(over) = self.admission.admit(source, open, limits, now) {
            self.manager.refused += 1;
            self.numbers.refused(over);
            return; // closes it
        }
        socket::limit(&client.socket, limits);
        if let Some(listener) = self.blueprint.config.listener(listener) {
            self.numbers.accepted(&listener.name);
        }
        let id = self.next_id;
        self.next_id = id.next();
        let message = ToEngine::Accepted { id, listener };
        engine.load += 1;
        let connection = Connection {
            name: connection::name(id),
            blueprint: Arc::clone(&self.blueprint),
            engine: place,
            listener,
            addresses: client.addresses,
            accepted: now,
            awaits_header,
            proxy: None,
            source,
            reserved: None,
            host: None,
            facts: HandshakeInfo::default(),
            handshake_ms: None,
            command: Command::Unwanted,
            stderr: None,
            client: Client::Served,
            moved: (0, 0),
        };
        self.connections.insert(id, connection);
        self.tell(place, &message, vec![client.socket]);
    }

    /// A client's PROXY header has come: from here on it is who that says. `false`: none was to come.
    pub(super) fn proxied(
        &mut self,
        place: usize,
        id: ConnectionId,
        addresses: Option<(SocketAddr, SocketAddr)>,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else {
            return false;
        };
        let served = matches!(connection.client, Client::Served);
        if !connection.awaits_header || connection.engine != place || !served {
            return false;
        }
        connection.awaits_header = false;
        let mut message = ToEngine::Admitted { id };
        if let Some(addresses) = addresses {
            let proxy = connection.addresses.replace(addresses);
            connection.proxy = proxy.map(|(peer, _)| peer);
            let source = limits::Source::of(addresses.0.ip());
            let limits = &connection.blueprint.config.limits;
            match self.admission.identify(source, limits, Instant::now()) {
                Ok(()) => connection.source = Some(source),
                Err(over) => {
                    self.manager.refused += 1;
                    self.numbers.refused(over);
                    message = ToEngine::Refused { id };
                }
            }
        }
        self.tell(place, &message, Vec::new());
        true
    }

    /// A client has chosen a host that has a limit of its own.
    pub(super) fn reserve(&mut self, id: ConnectionId, host: HostId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let blueprint = &connection.blueprint;
        let chosen = blueprint.config.hosts.get(host);
        let Some(most) = chosen.and_then(|host| host.connections) else {
            return;
        };
        let Some(seats) = blueprint.seats.get(host.index()) else {
            return;
        };
        let place = connection.engine;
        let message = match self.admission.reserve(seats, most) {
            true => {
                connection.reserved = Some(host);
                ToEngine::Admitted { id }
            }
            false => {
                chosen.inspect(|host| self.numbers.refused_by(host));
                ToEngine::Refused { id }
            }
        };
        self.tell(place, &message, Vec::new());
    }

    /// Connects a client to what its host has for it.
    pub(super) fn open(&mut self, id: ConnectionId, host: HostId) {
        let connection = self.connections.get(&id);
        let chosen = connection.and_then(|c| c.blueprint.config.hosts.get(host));
        match chosen.map(|host| &host.answer) {
            Some(Answer::Backends(_)) => self.dial(id, host),
            Some(Answer::Command { .. }) => self.launch(id, host),
            None => {}
        }
    }

    /// Starts a connection's command.
    fn launch(&mut self, id: ConnectionId, host: HostId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let blueprint = Arc::clone(&connection.blueprint);
        let config = &blueprint.config;
        let Some(host) = config.hosts.get(host) else {
            return;
        };
        let Answer::Command { program, run_as } = &host.answer else {
            return;
        };
        let Some(role) = run_as.role(&connection.facts) else {
            connection.command = Command::NoUser;
            let place = connection.engine;
            return self.tell(place, &ToEngine::Refused { id }, Vec::new());
        };
        for line in left_out(&connection.facts) {
            let line = format!("id={} {line}", connection.name);
            self.logger.say(Severity::Info, &line);
        }
        let first_name = host.names.first().map(ToString::to_string);
        let told = Told {
            id: &connection.name,
            host: first_name.as_deref(),
            addresses: connection.addresses,
            remote_name: config.remote_name.as_deref(),
            facts: &connection.facts,
        };
        let begun = Instant::now();
        let launched = self.commands.start(program, role, variables(&told));
        let (message, descriptors) = match launched {
            Ok(launched) => {
                self.numbers.launched(&host.label, begun.elapsed());
                connection.command = Command::Running(launched.pid);
                self.children.insert(launched.pid, id);
                if let Some(pipe) = launched.stderr {
                    let event = EpollEvent::new(EpollFlags::EPOLLIN, Source::Stderr(id).token());
                    if self.epoll.add(&pipe, event).is_ok() {
                        connection.stderr = Some(StderrLog::new(pipe));
                    }
                }
                let stdio = program.stdio;
                (ToEngine::Opened { id, stdio }, launched.plaintext)
            }
            Err(e) => {
                connection.command = Command::Failed(e);
                (ToEngine::Refused { id }, Vec::new())
            }
        };
        let place = connection.engine;
        self.tell(place, &message, descriptors);
    }

    pub(super) fn read_stderr(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Some(stderr) = &mut connection.stderr else {
            return;
        };
        if stderr.read(&connection.name, &mut self.logger).is_none()
            && let Some(stderr) = connection.stderr.take()
        {
            stderr.finish(&connection.name, &mut self.logger);
        }
    }

    /// A client has ended; its command may go on until this time before the line is written.
    pub(super) fn client_ended(&mut self, id: ConnectionId, report: Report, until: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !matches!(connection.client, Client::Served) {
            return;
        }
        if connection.command == Command::Dialling {
            self.hang_up(id);
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if let Command::Running(_) = connection.command {
            self.outlived.push_back((until, id));
        }
        connection.count_moved(report.received, report.sent, &self.numbers);
        connection.client = Client::Ended(report, Instant::now());
        if connection.is_over() {
            self.conclude(id);
        }
    }

    /// Kills a connection's command, where its host wants that done when a client vanishes; `false`: it
    /// does not.
    pub(super) fn kill(&self, connection: &Connection) -> bool {
        let hosts = &connection.blueprint.config.hosts;
        let host = connection.host.and_then(|host| hosts.get(host));
        if host.is_none_or(|host| host.on_truncation != OnTruncation::Kill) {
            return false;
        }
        if let Command::Running(pid) = connection.command {
            // Its group is its own; it may have ended meanwhile.
            let _ = killpg(pid, Signal::SIGKILL);
        }
        true
    }

    /// Waits for every child that has ended.
    pub(super) fn reap(&mut self) {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(status) => status,
                Err(_) => continue,
            };
            let Some(pid) = status.pid() else { continue };
            // What an engine has said before its end is still to be heard; then its channel ends.
            let mut engines = self.slots.values_mut().filter_map(Slot::running);
            if let Some(engine) = engines.find(|engine| engine.pid == pid) {
                engine.ended = Some(status);
            }
            self.names.reaped(pid);
            self.reporting.reaped(pid, status);
            // A child that is in neither table was there before us.
            let Some(id) = self.children.remove(&pid) else {
                continue;
            };
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            connection.command = Command::Exited(pid, status);
            self.numbers.exited(connection.host_label(), status);
            if connection.is_over() {
                self.conclude(id);
            }
        }
    }

    /// Writes a connection's line, and forgets it.
    pub(super) fn conclude(&mut self, id: ConnectionId) {
        let Some(mut connection) = self.connections.remove(&id) else {
            return;
        };
        let seats = &connection.blueprint.seats;
        let reserved = connection.reserved.and_then(|host| seats.get(host.index()));
        self.admission.release(connection.source, reserved);
        if let Some(stderr) = connection.stderr.take() {
            stderr.finish(&connection.name, &mut self.logger);
        }
        connection.log(&mut self.logger);
        self.numbers.ended(&connection);
        match &connection.command {
            Command::Running(_) | Command::Exited(..) => self.manager.served += 1,
            Command::Connected(target) => {
                self.manager.served += 1;
                self.pool.release(target);
            }
            _ => {}
        }
        self.last_exit = exit_of(&connection);
    }
}

/// The exit status of the one-connection form.
fn exit_of(connection: &Connection) -> Exit {
    match connection.command {
        Command::Unwanted => Exit::Handshake,
        Command::Failed(LaunchError {
            step: Step::Exec,
            errno: Errno::ENOENT,
        }) => Exit::NotFound,
        Command::Failed(_) | Command::NoUser => Exit::NotExecutable,
        Command::Exited(_, WaitStatus::Exited(_, status)) => {
            Exit::Command(u8::try_from(status).unwrap_or(u8::MAX))
        }
        // As a shell says it.
        Command::Exited(_, WaitStatus::Signaled(_, signal, _)) => {
            Exit::Command(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX))
        }
        Command::NoBackend(_) => Exit::System,
        Command::Exited(..) | Command::Running(_) => Exit::Success,
        Command::Dialling | Command::Connected(_) => Exit::Success,
    }
}
