//! The two ways to start: with listeners, or with one connection on descriptor 0.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::signal::Signal;

use super::control::{Control, Question};
use super::dial::Dials;
use super::engines::{Blueprint, Slot};
use super::event::Source;
use super::launch::Commands;
use super::limits::Admission;
use super::listener::{Accepted, Listener};
use super::manager::Manager;
use super::numbers::Numbers;
use super::pool::Pool;
use super::reload::Origin;
use super::reporting::Reporting;
use super::resolver::Names;
use super::{Monitor, Stop};
use crate::complain::complain;
use crate::config::{self, Config, LogTo};
use crate::exit::Exit;
use crate::log::Logger;
use crate::process::{Signals, null_standard, raise_descriptor_limit, take_standard};
use crate::systemd::{Notifier, Passed};
use crate::tls;
use crate::tls::tickets::TicketKeys;
use crate::types::{ConnectionId, ListenerId, Severity};

/// Descriptors of a process that belong to no connection: generously.
const OTHER_DESCRIPTORS: usize = 64;

const SIGNALS: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR1,
];
/// Serves until it is told to stop. `origin`: where the configuration came from; `passed`: the sockets that
/// we were started with; `notifier`: where to say how it goes.
pub fn serve(config: Config, origin: Origin, passed: Vec<Rc<Passed>>, notifier: Notifier) -> Exit {
    let mut monitor = match Monitor::new(config, false) {
        Ok(monitor) => monitor,
        Err(failure) => return failure.report(),
    };
    monitor.passed = passed;
    monitor.manager = Manager::new(notifier);
    monitor.listen_for_orders(&origin);
    monitor.origin = Some(origin);
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
        if Logger::open(&config.log).is_err() {
            // Nobody asked for this log, and the client is not to suffer for its absence.
            config.log.to = LogTo::File("/dev/null".into());
        }
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
        complain(Severity::Err, &format!("tlssrv: {}", self.why));
        self.exit
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
        let room = room(&config, limit.1);
        if room < config.limits.connections {
            let line = format!(
                "limits: connections is {}, but {} open files for each process are enough for {room}",
                config.limits.connections, limit.1
            );
            logger.say(Severity::Warning, &line);
        }
        let now = Instant::now();
        let names = Names::of(&config, now);
        let blueprint = Arc::new(Blueprint::new(config, &keys).map_err(cannot_start)?);
        let numbers = Numbers::new().map_err(|e| cannot_start(format!("unable to count: {e}")))?;
        numbers.configured(&blueprint.config);
        let slots = (0..blueprint.config.engines).map(|place| (place, Slot::new(&blueprint, now)));
        let slots: BTreeMap<_, _> = slots.collect();
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
            blueprint,
            logger,
            epoll,
            signals,
            listeners: Vec::new(),
            passed: Vec::new(),
            manager: Manager::default(),
            listening: false,
            exhausted_until: None,
            next_place: slots.len(),
            slots,
            keys,
            rotate_at: now + tls::tickets::ROTATION,
            staples_until: None,
            commands,
            connections: HashMap::new(),
            admission: Admission::new(),
            pool: Pool::default(),
            dials: Dials::default(),
            names,
            origin: None,
            candidate: None,
            askers: Vec::new(),
            next_reload: None,
            controls: Vec::new(),
            numbers,
            reporting: Reporting::default(),
            inquiry: None,
            slow: BTreeMap::new(),
            next_slow: 0,
            room,
            children: HashMap::new(),
            outlived: VecDeque::new(),
            next_id: ConnectionId(1),
            stop: Stop::No,
            last_exit: Exit::System,
            ready: false,
            failed: None,
        })
    }

    /// Binds every listener, and says where.
    fn listen(&mut self) -> Result<(), String> {
        for (index, listener) in self.blueprint.config.listeners.iter().enumerate() {
            for place in Listener::places(&listener.address, &self.passed) {
                self.listeners
                    .push(Listener::bind(ListenerId::new(index), place)?);
            }
        }
        for place in self
            .blueprint
            .config
            .metrics
            .iter()
            .flat_map(|address| Listener::places(address, &[]))
        {
            let listener = Listener::bind(ListenerId::new(0), place)?;
            let line = format!("metrics at {listener}");
            self.logger.say(Severity::Notice, &line);
            self.reporting.listeners.push(listener);
        }
        self.start_engines(Instant::now());
        self.next_staple(SystemTime::now());
        Ok(())
    }

    /// Waits for those who ask it to reload its table, if it has one.
    fn listen_for_orders(&mut self, origin: &Origin) {
        let config::ConfigSource::File(table) = &origin.source else {
            return;
        };
        let listen = |question| {
            let control = Control::listen(table, question)?;
            // Whoever cannot be accepted yet is not to keep us awake.
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            let event = EpollEvent::new(flags, Source::Control.token());
            self.epoll.add(&control, event)?;
            Ok::<_, io::Error>(control)
        };
        let controls = [Question::Reload, Question::Status].map(listen);
        match controls.into_iter().collect() {
            Ok(controls) => self.controls = controls,
            Err(e) => {
                let line = format!("tlssrv --reload and --status do not reach this server: {e}");
                self.logger.say(Severity::Warning, &line);
            }
        }
    }
}

/// How many connections there may be at a time, if a process may have so many descriptors: an engine
/// needs up to three for each of its own, the monitor one for each.
pub(super) fn room(config: &Config, descriptors: u64) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let spare = descriptors.saturating_sub(OTHER_DESCRIPTORS);
    let engines = (spare / 3).saturating_mul(config.engines);
    config.limits.connections.min(engines).min(spare).max(1)
}

fn log_name(to: &LogTo) -> String {
    match to {
        LogTo::Syslog(_) => "syslog".to_owned(),
        LogTo::Stderr => "stderr".to_owned(),
        LogTo::File(path) => path.display().to_string(),
    }
}
