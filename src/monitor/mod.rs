//! The privileged side: it accepts, starts commands, watches engines and children, and writes the
//! log. It never reads a byte from the network.
#![forbid(unsafe_code)]

mod connection;
mod engines;
mod launch;
mod listener;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Exit;
use crate::complain::complain;
use crate::config::{self, Config, LogTo, OnTruncation};
use crate::environment::{Told, variables};
use crate::log::{Logger, Severity};
use crate::message::{End, Facts, Id, MAX_TEXT, Report, ToEngine, ToMonitor, decode, encode};
use crate::process::{
    LaunchError, Received, Signals, Step, null_standard, raise_descriptor_limit, take_standard,
};
use crate::tls;
use crate::tls::tickets::{TicketKeyRing, TicketKeys};
use connection::{Client, Command, Connection, StderrLog};
use engines::{Blueprint, Slot};
use launch::Commands;
use listener::{Accepted, Listener, Refusal};

/// Events taken from the kernel at a time.
const EVENTS: usize = 256;
/// Clients accepted, or messages of one engine taken, before others get their turn.
const BATCH: usize = 32;
/// Descriptors of a process that belong to no connection: generously.
const OTHER_DESCRIPTORS: usize = 64;
/// How long to accept nobody after the system has run out of something.
const EXHAUSTED: Duration = Duration::from_millis(200);
/// How long engines and commands may take to end when told to end at once.
const AT_ONCE: Duration = Duration::from_secs(1);

const SIGNALS: [Signal; 4] = [
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR1,
];

/// Serves until it is told to stop.
pub fn serve(config: Config) -> Exit {
    let mut monitor = match Monitor::new(config, false) {
        Ok(monitor) => monitor,
        Err(failure) => return failure.report(),
    };
    if let Err(e) = monitor.listen() {
        return Failure {
            exit: Exit::CannotStart,
            why: e,
        }
        .report();
    }
    monitor.run()
}

/// Serves the one connection on descriptor 0, and ends with its command's status.
pub fn inetd(mut config: Config) -> Exit {
    let standard = match null_standard().and_then(|()| take_standard()) {
        Ok(standard) => standard,
        Err(e) => return Failure::system("unable to take descriptor 0", e).report(),
    };
    let connection = match accepted(standard.connection) {
        Ok(connection) => connection,
        Err(e) => {
            let why = format!(
                "descriptor 0 is not a connected socket: {e}; without --listen tlssrv serves the connection that inetd or its like gives it there"
            );
            return Failure {
                exit: Exit::Usage,
                why,
            }
            .report();
        }
    };
    if standard.stderr_is_connection && config.log.to == LogTo::Stderr {
        config.log.to = LogTo::Syslog("tlssrv".to_owned());
    }
    let mut monitor = match Monitor::new(config, standard.stderr_is_connection) {
        Ok(monitor) => monitor,
        Err(failure) => return failure.report(),
    };
    let local = connection.addresses.map(|(_, local)| local);
    let listener = monitor.blueprint.config.listener_for(local);
    monitor.start_engines(Instant::now());
    monitor.admit(listener, connection);
    monitor.begin_stop();
    match monitor.run() {
        Exit::Success => monitor.last_exit,
        exit => exit,
    }
}

fn accepted(socket: OwnedFd) -> io::Result<Accepted> {
    use nix::sys::socket::sockopt::{KeepAlive, TcpNoDelay};
    use nix::sys::socket::{SockaddrStorage, getpeername, getsockname, setsockopt};
    use std::os::fd::AsRawFd;
    let peer: SockaddrStorage = getpeername(socket.as_raw_fd())?;
    let local: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let inet = |address: SockaddrStorage| -> Option<SocketAddr> {
        let v4 = address
            .as_sockaddr_in()
            .map(|a| SocketAddr::from(std::net::SocketAddrV4::from(*a)));
        v4.or_else(|| {
            address
                .as_sockaddr_in6()
                .map(|a| SocketAddr::from(std::net::SocketAddrV6::from(*a)))
        })
    };
    let addresses = inet(peer).zip(inet(local));
    if addresses.is_some() {
        setsockopt(&socket, TcpNoDelay, &true)?;
        setsockopt(&socket, KeepAlive, &true)?;
    }
    Ok(Accepted { socket, addresses })
}

/// Why the monitor could not start.
struct Failure {
    exit: Exit,
    why: String,
}

impl Failure {
    fn system(what: &str, e: impl std::fmt::Display) -> Self {
        Self {
            exit: Exit::System,
            why: format!("{what}: {e}"),
        }
    }

    /// Says it where the operator looks; there may be no log yet.
    fn report(self) -> Exit {
        complain(config::Severity::Error, &format!("tlssrv: {}", self.why));
        self.exit
    }
}

struct Monitor {
    blueprint: Blueprint,
    logger: Logger,
    epoll: Epoll,
    signals: Signals,
    listeners: Vec<Listener>,
    /// Whether the listeners are in the epoll set.
    listening: bool,
    /// Nobody is accepted before: something had run out.
    exhausted_until: Option<Instant>,
    slots: Vec<Slot>,
    keys: TicketKeys,
    rotate_at: Instant,
    commands: Commands,
    connections: HashMap<Id, Connection>,
    /// How many of them there may be at a time.
    room: usize,
    children: HashMap<Pid, Id>,
    /// Connections whose clients have ended and whose commands have not, oldest first, with the time
    /// at which their line is written all the same.
    outlived: VecDeque<(Instant, Id)>,
    next_id: Id,
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

/// What an event is about.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener(usize),
    Engine(usize),
    Stderr(Id),
}

impl Source {
    fn token(self) -> u64 {
        match self {
            Self::Signals => 0,
            Self::Listener(index) => 1 | (index as u64) << 2,
            Self::Engine(index) => 2 | (index as u64) << 2,
            Self::Stderr(id) => 3 | id << 2,
        }
    }

    fn of(token: u64) -> Self {
        let index = usize::try_from(token >> 2).unwrap_or(usize::MAX);
        match token & 3 {
            0 => Self::Signals,
            1 => Self::Listener(index),
            2 => Self::Engine(index),
            _ => Self::Stderr(token >> 2),
        }
    }
}

impl Monitor {
    fn new(config: Config, stderr_is_connection: bool) -> Result<Self, Failure> {
        let system = |what: &'static str| move |e: io::Error| Failure::system(what, e);
        null_standard().map_err(system("unable to open /dev/null"))?;
        // The monitor has every private key in its memory.
        nix::sys::prctl::set_dumpable(false)
            .map_err(|e| Failure::system("unable to become undumpable", e))?;
        let limit = raise_descriptor_limit()
            .map_err(|e| Failure::system("unable to raise the limit of descriptors", e))?;
        let cannot_start = |why| Failure {
            exit: Exit::CannotStart,
            why,
        };
        let mut logger = Logger::open(&config.log).map_err(|e| {
            cannot_start(format!(
                "unable to open the log {}: {e}",
                log_name(&config.log.to)
            ))
        })?;

        let no_randomness = |_| Failure::system("unable to make ticket keys", "no randomness");
        let keys = TicketKeys::generate().map_err(no_randomness)?;
        let ring = TicketKeyRing::new(&keys).map_err(no_randomness)?;
        let provider = tls::provider::provider();
        let acceptors = config
            .hosts
            .iter()
            .map(|host| tls::server::config(host, &provider, &ring));
        let acceptors = acceptors
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| cannot_start(format!("unable to set up TLS: {e}")))?;

        let room = room(&config, limit.1);
        if room < config.limits.connections {
            let line = format!(
                "limits: connections is {}, but {} open files for each process are enough for {room}",
                config.limits.connections, limit.1
            );
            logger.say(Severity::Warning, &line);
        }
        let now = Instant::now();
        let slots = (0..config.engines).map(|_| Slot::new(now)).collect();
        let commands = Commands::new(limit, stderr_is_connection)
            .map_err(system("unable to open /dev/null"))?;
        let signals =
            Signals::catch(&SIGNALS).map_err(|e| Failure::system("unable to take signals", e))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|e| Failure::system("unable to make an epoll set", e))?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, Source::Signals.token());
        epoll
            .add(&signals, event)
            .map_err(|e| Failure::system("unable to wait for signals", e))?;
        Ok(Self {
            blueprint: Blueprint {
                config: Arc::new(config),
                acceptors,
                ring,
            },
            logger,
            epoll,
            signals,
            listeners: Vec::new(),
            listening: false,
            exhausted_until: None,
            slots,
            keys,
            rotate_at: now + tls::tickets::ROTATION,
            commands,
            connections: HashMap::new(),
            room,
            children: HashMap::new(),
            outlived: VecDeque::new(),
            next_id: 1,
            stop: Stop::No,
            last_exit: Exit::System,
            ready: false,
            failed: None,
        })
    }

    /// Binds every listener, and says where.
    fn listen(&mut self) -> Result<(), String> {
        let config = Arc::clone(&self.blueprint.config);
        for (index, listener) in config.listeners.iter().enumerate() {
            self.listeners
                .extend(Listener::bind(index, &listener.address)?);
        }
        self.start_engines(Instant::now());
        Ok(())
    }

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
                    Source::Listener(index) => self.accept(index),
                    Source::Engine(index) => self.hear(index),
                    Source::Stderr(id) => self.read_stderr(id),
                }
            }
        }
        // They have nothing left to do.
        for slot in &mut self.slots {
            slot.bury(Instant::now());
        }
        self.logger.finish();
        self.failed.unwrap_or(Exit::Success)
    }

    fn is_done(&self) -> bool {
        self.stop != Stop::No && self.connections.is_empty()
    }

    /// Does what is due at this time.
    fn deadlines(&mut self, now: Instant) {
        self.logger.tick(now);
        self.start_engines(now);
        if now >= self.rotate_at {
            self.rotate_keys(now);
        }
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
        let slots = self.slots.iter().filter(|_| self.stop == Stop::No);
        let engines = slots.filter_map(Slot::due).min();
        let next = [
            outlived,
            engines,
            self.exhausted_until,
            self.logger.next_tick(),
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

    /// Clients are accepted while there is room for them, and an engine to serve them.
    fn set_listening(&mut self, now: Instant) {
        self.exhausted_until = self.exhausted_until.filter(|until| *until > now);
        let wanted = self.stop == Stop::No
            && self.exhausted_until.is_none()
            && self.connections.len() < self.room
            && self.slots.iter().any(|slot| slot.load().is_some());
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

    fn take_signals(&mut self) {
        while let Some(signal) = self.signals.take() {
            match signal {
                Signal::SIGCHLD => self.reap(),
                Signal::SIGUSR1 => self.logger.reopen(),
                signal => self.stop_further(signal),
            }
        }
    }

    fn stop_further(&mut self, signal: Signal) {
        match self.stop {
            Stop::No => {
                let open = self.connections.len();
                self.logger.say(
                    Severity::Notice,
                    &format!(
                        "{signal}: no more clients; connections that go on to their end: {open}"
                    ),
                );
                self.begin_stop();
            }
            Stop::Draining => {
                self.logger.say(
                    Severity::Notice,
                    &format!(
                        "{signal} again: connections that are ended: {}",
                        self.connections.len()
                    ),
                );
                self.stop_now();
            }
            Stop::Now => {}
        }
    }

    /// Accepts nobody any more.
    fn begin_stop(&mut self) {
        self.stop = Stop::Draining;
        self.listeners.clear();
        self.listening = false;
        for place in 0..self.slots.len() {
            self.tell(place, &ToEngine::Drain, Vec::new());
        }
    }

    /// Ends every connection and every command.
    fn stop_now(&mut self) {
        self.stop = Stop::Now;
        let now = Instant::now();
        for slot in &mut self.slots {
            slot.bury(now);
        }
        self.signal_commands(Signal::SIGTERM);
        let ids: Vec<Id> = self.connections.keys().copied().collect();
        for &id in &ids {
            self.client_ended(id, Report::unknown(End::Reset), now);
        }
        self.outlived = ids.into_iter().map(|id| (now + AT_ONCE, id)).collect();
    }

    fn signal_commands(&self, signal: Signal) {
        for &pid in self.children.keys() {
            // Its group is its own; it may have ended meanwhile.
            let _ = killpg(pid, signal);
        }
    }

    fn accept(&mut self, index: usize) {
        for _ in 0..BATCH {
            let room = self.connections.len() < self.room;
            let Some(listener) = self.listeners.get(index).filter(|_| room) else {
                break;
            };
            let place = listener.index;
            match listener.accept() {
                Ok(client) => self.admit(place, client),
                Err(Refusal::Nobody) => break,
                Err(Refusal::Exhausted(e)) => {
                    let wait = EXHAUSTED.as_millis();
                    self.logger.say(
                        Severity::Err,
                        &format!("unable to accept a client: {e}; trying again in {wait} ms"),
                    );
                    self.exhausted_until = Instant::now().checked_add(EXHAUSTED);
                    break;
                }
            }
        }
    }

    /// Gives a client to the engine that has the fewest.
    fn admit(&mut self, listener: usize, client: Accepted) {
        let least = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(place, slot)| Some((slot.load()?, place)))
            .min();
        let Some((_, place)) = least else { return };
        let Some(engine) = self.slots.get_mut(place).and_then(Slot::running) else {
            return;
        };
        let id = self.next_id;
        self.next_id += 1;
        let message = ToEngine::Accepted {
            id,
            listener: u32::try_from(listener).unwrap_or(u32::MAX),
        };
        engine.load += 1;
        let connection = Connection {
            name: connection::name(id),
            engine: place,
            listener,
            addresses: client.addresses,
            accepted: Instant::now(),
            host: None,
            facts: Facts::default(),
            handshake_ms: None,
            command: Command::Unwanted,
            stderr: None,
            client: Client::Served,
        };
        self.connections.insert(id, connection);
        self.tell(place, &message, vec![client.socket]);
    }

    /// Takes messages from an engine.
    fn hear(&mut self, place: usize) {
        for _ in 0..BATCH {
            let Some(engine) = self.slots.get_mut(place).and_then(Slot::running) else {
                return;
            };
            let message = match engine.channel.receive() {
                Ok(Received::Empty) => break,
                Ok(Received::Message(bytes, descriptors)) if descriptors.is_empty() => {
                    decode::<ToMonitor>(bytes)
                }
                Ok(Received::Message(..)) => None,
                Ok(Received::Closed) | Err(_) => return self.lose_engine(place, None),
            };
            let understood = message.is_some_and(|message| self.obey(place, message));
            if !understood {
                return self.lose_engine(place, Some("it broke the protocol"));
            }
        }
        self.flush(place);
    }

    /// Does what an engine asks for; `false`: it may not ask for that.
    fn obey(&mut self, place: usize, message: ToMonitor) -> bool {
        match message {
            ToMonitor::Ready => {
                if !std::mem::replace(&mut self.ready, true) {
                    for listener in &self.listeners {
                        let line = format!("listening on {listener}");
                        self.logger.say(Severity::Notice, &line);
                    }
                }
                true
            }
            ToMonitor::Log { severity, id, line } => {
                if line.len() > MAX_TEXT {
                    return false;
                }
                let line = match id {
                    Some(id) => format!("id={} {line}", connection::name(id)),
                    None => line,
                };
                self.logger.say(severity, &line);
                true
            }
            ToMonitor::Open {
                id,
                host,
                facts,
                handshake_ms,
            } => {
                let host = host as usize;
                let known = self.blueprint.config.hosts.get(host).is_some();
                let Some(connection) = self.connections.get_mut(&id) else {
                    return false;
                };
                let asked = connection.command != Command::Unwanted
                    || !matches!(connection.client, Client::Served);
                if !known || asked || connection.engine != place {
                    return false;
                }
                connection.host = Some(host);
                connection.facts = facts;
                connection.handshake_ms = Some(handshake_ms);
                self.open(id, host);
                true
            }
            ToMonitor::Closed { id, mut report } => {
                let Some(connection) = self.connections.get_mut(&id) else {
                    return false;
                };
                if connection.engine != place || !matches!(connection.client, Client::Served) {
                    return false;
                }
                if connection.command == Command::Unwanted {
                    connection.host = report.host.map(|host| host as usize);
                    connection.facts = report.facts.take().unwrap_or_default();
                }
                if let Some(engine) = self.slots.get_mut(place).and_then(Slot::running) {
                    engine.load = engine.load.saturating_sub(1);
                }
                let linger = self.blueprint.config.limits.linger;
                let now = Instant::now();
                self.client_ended(id, report, now.checked_add(linger).unwrap_or(now));
                true
            }
        }
    }

    /// Starts a connection's command.
    fn open(&mut self, id: Id, host: usize) {
        let config = Arc::clone(&self.blueprint.config);
        let (Some(connection), Some(host)) =
            (self.connections.get_mut(&id), config.hosts.get(host))
        else {
            return;
        };
        let first_name = host.names.first().map(ToString::to_string);
        let told = Told {
            id: &connection.name,
            host: first_name.as_deref(),
            addresses: connection.addresses,
            remote_name: config.remote_name.as_deref(),
            facts: &connection.facts,
        };
        let (message, descriptors) = match self.commands.start(&host.program, variables(&told)) {
            Ok(launched) => {
                connection.command = Command::Running(launched.pid);
                self.children.insert(launched.pid, id);
                if let Some(pipe) = launched.stderr {
                    let event = EpollEvent::new(EpollFlags::EPOLLIN, Source::Stderr(id).token());
                    if self.epoll.add(&pipe, event).is_ok() {
                        connection.stderr = Some(StderrLog::new(pipe));
                    }
                }
                let stdio = host.program.stdio;
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

    /// A client has ended; its command may go on until this time before the line is written.
    fn client_ended(&mut self, id: Id, report: Report, until: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if !matches!(connection.client, Client::Served) {
            return;
        }
        if let Command::Running(pid) = connection.command {
            let host = connection
                .host
                .and_then(|host| self.blueprint.config.hosts.get(host));
            let vanished = matches!(report.end, End::Truncated | End::Reset);
            if vanished && host.is_some_and(|host| host.on_truncation == OnTruncation::Kill) {
                let _ = killpg(pid, Signal::SIGKILL);
            }
            self.outlived.push_back((until, id));
        }
        connection.client = Client::Ended(report, Instant::now());
        if connection.is_over() {
            self.conclude(id);
        }
    }

    /// Waits for every child that has ended.
    fn reap(&mut self) {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(status) => status,
                Err(_) => continue,
            };
            let Some(pid) = status.pid() else { continue };
            // What an engine has said before its end is still to be heard; then its channel ends.
            let mut engines = self.slots.iter_mut().filter_map(Slot::running);
            if let Some(engine) = engines.find(|engine| engine.pid == pid) {
                engine.ended = Some(status);
            }
            // A child that is in neither table was there before us.
            let Some(id) = self.children.remove(&pid) else {
                continue;
            };
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            connection.command = Command::Exited(pid, status);
            if connection.is_over() {
                self.conclude(id);
            }
        }
    }

    /// Writes a connection's line, and forgets it.
    fn conclude(&mut self, id: Id) {
        let Some(mut connection) = self.connections.remove(&id) else {
            return;
        };
        if let Some(stderr) = connection.stderr.take() {
            stderr.finish(&connection.name, &mut self.logger);
        }
        connection.log(&self.blueprint.config, &mut self.logger);
        self.last_exit = exit_of(&connection);
    }

    fn read_stderr(&mut self, id: Id) {
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

    /// Starts the engines that are due.
    fn start_engines(&mut self, now: Instant) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            // While draining, a dead engine's work is lost, and there is no new work.
            if self.stop != Stop::No || slot.due().is_none_or(|due| due > now) {
                continue;
            }
            match slot.start(&self.blueprint, now) {
                Ok(engine) => {
                    let event = EpollEvent::new(EpollFlags::EPOLLIN, Source::Engine(place).token());
                    if let Err(e) = self.epoll.add(&engine.channel, event) {
                        self.logger
                            .say(Severity::Err, &format!("unable to wait for an engine: {e}"));
                    }
                }
                Err(e) => {
                    self.logger
                        .say(Severity::Err, &format!("unable to start an engine: {e}"));
                    slot.bury(now);
                }
            }
        }
    }

    /// An engine is gone, or has to go.
    fn lose_engine(&mut self, place: usize, why: Option<&str>) {
        let now = Instant::now();
        let Some((pid, how)) = self.slots.get_mut(place).and_then(|slot| slot.bury(now)) else {
            return;
        };
        let ids: Vec<Id> = self
            .connections
            .iter()
            .filter(|(_, c)| c.engine == place && matches!(c.client, Client::Served))
            .map(|(id, _)| *id)
            .collect();
        if self.stop == Stop::No || !ids.is_empty() {
            let why = why.unwrap_or(&how);
            self.logger.say(
                Severity::Err,
                &format!(
                    "engine {pid} ended: {why}; connections lost with it: {}",
                    ids.len()
                ),
            );
        }
        let linger = self.blueprint.config.limits.linger;
        for id in ids {
            self.client_ended(
                id,
                Report::unknown(End::Reset),
                now.checked_add(linger).unwrap_or(now),
            );
        }
        if !self.ready && self.stop == Stop::No {
            self.logger.say(Severity::Err, "no engine can start");
            self.failed = Some(Exit::CannotStart);
            self.begin_stop();
        }
    }

    fn rotate_keys(&mut self, now: Instant) {
        self.rotate_at = now + tls::tickets::ROTATION;
        // Engines of a later day are born with what the ring has.
        if self
            .keys
            .rotate()
            .and_then(|()| self.blueprint.ring.set(&self.keys))
            .is_err()
        {
            self.logger.say(
                Severity::Err,
                "unable to make new ticket keys: no randomness; the old ones stay",
            );
            return;
        }
        for place in 0..self.slots.len() {
            self.tell(place, &ToEngine::TicketKeys(self.keys.clone()), Vec::new());
        }
    }

    /// Sends a message to an engine, if it lives.
    fn tell(&mut self, place: usize, message: &ToEngine, descriptors: Vec<OwnedFd>) {
        if let Some(engine) = self.slots.get_mut(place).and_then(Slot::running) {
            // An engine that is gone is found out by the end of its channel.
            let _ = engine.channel.send(encode(message), descriptors);
            self.flush(place);
        }
    }

    /// Sends what is queued for an engine, and waits for room while there is none.
    fn flush(&mut self, place: usize) {
        let Some(engine) = self.slots.get_mut(place).and_then(Slot::running) else {
            return;
        };
        if engine.channel.wants_write() {
            let _ = engine.channel.flush();
        }
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, engine.channel.wants_write());
        if engine.interest != flags {
            engine.interest = flags;
            let mut event = EpollEvent::new(flags, Source::Engine(place).token());
            let _ = self.epoll.modify(&engine.channel, &mut event);
        }
    }
}

/// How many connections there may be at a time, if a process may have so many descriptors: an engine
/// needs up to three for each of its own, the monitor one for each.
fn room(config: &Config, descriptors: u64) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let spare = descriptors.saturating_sub(OTHER_DESCRIPTORS);
    let engines = (spare / 3).saturating_mul(config.engines);
    config.limits.connections.min(engines).min(spare).max(1)
}

/// The exit status of the one-connection form.
fn exit_of(connection: &Connection) -> Exit {
    match connection.command {
        Command::Unwanted => Exit::Handshake,
        Command::Failed(LaunchError {
            step: Step::Exec,
            errno: Errno::ENOENT,
        }) => Exit::NotFound,
        Command::Failed(_) => Exit::NotExecutable,
        Command::Exited(_, WaitStatus::Exited(_, status)) => {
            Exit::Command(u8::try_from(status).unwrap_or(u8::MAX))
        }
        // As a shell says it.
        Command::Exited(_, WaitStatus::Signaled(_, signal, _)) => {
            Exit::Command(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX))
        }
        Command::Exited(..) | Command::Running(_) => Exit::Success,
    }
}

fn log_name(to: &LogTo) -> String {
    match to {
        LogTo::Syslog(_) => "syslog".to_owned(),
        LogTo::Stderr => "stderr".to_owned(),
        LogTo::File(path) => path.display().to_string(),
    }
}
