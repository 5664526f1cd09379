//! The two ways to start: with listeners, or with one connection on standard input.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::signal::Signal;
use nix::sys::socket::sockopt::{KeepAlive, TcpNoDelay};
use nix::sys::socket::{SockaddrStorage, getpeername, getsockname, setsockopt};

use super::Monitor;
use super::clients::Clients;
use super::generation::{self, Generations, TicketRotation};
use super::lifecycle::Lifecycle;
use super::listeners::{Incoming, Listeners, Purpose};
use super::programs::Programs;
use super::reload::{LoadArguments, Reload};
use super::report::Report;
use super::service::Service;
use super::token::Token;
use super::workers::Engines;
use crate::config::{Config, ConfigSource, LogTo};
use crate::exit::Exit;
use crate::log::{self, Logger};
use crate::process::{Signals, null_standard, raise_descriptor_limit, take_standard};
use crate::startup_report;
use crate::systemd::{Notifier, Passed};
use crate::types::{Severity, cause};

const SIGNALS: [Signal; 5] = [
    Signal::SIGHUP,
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR1,
];

/// What a monitor is started with, beside its configuration.
#[derive(Default)]
struct Inherited {
    /// The arguments of a reload; `None`: there is no reload.
    arguments: Option<LoadArguments>,
    /// Sockets of the service manager.
    passed: Vec<Rc<Passed>>,
    /// The way to the service manager.
    notifier: Notifier,
    /// Whether standard error is the connection.
    stderr_is_connection: bool,
}

/// Serves until it is told to stop. `arguments`: those of the configuration, for reloads; `passed`: sockets of
/// the service manager; `notifier`: the way to the service manager.
pub fn serve(
    config: Config,
    arguments: LoadArguments,
    passed: Vec<Rc<Passed>>,
    notifier: Notifier,
) -> Exit {
    let table = match &arguments.source {
        ConfigSource::File(table) => Some(table.clone()),
        ConfigSource::CommandLine(_) => None,
    };
    let inherited = Inherited {
        arguments: Some(arguments),
        passed,
        notifier,
        stderr_is_connection: false,
    };
    let mut monitor = match monitor(config, inherited) {
        Ok(monitor) => monitor,
        Err(failure) => return failure.report(),
    };
    if let Some(table) = table {
        match monitor.report.control.listen(&table, &monitor.epoll) {
            Ok(None) => {}
            Ok(Some(why)) => {
                let line = format!(
                    "tlssrv --reload and --status use an abstract socket, which any user can take first: \
                     unable to use /run/tlssrv: {why}"
                );
                monitor.logger.say(Severity::Notice, &line);
            }
            Err(e) => {
                let why = match e.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another process has its control socket, such as a server of the same table"
                            .to_owned()
                    }
                    _ => cause(&e),
                };
                let line = format!("tlssrv --reload and --status do not reach this server: {why}");
                monitor.logger.say(Severity::Warning, &line);
            }
        }
    }
    match listen(&mut monitor) {
        Ok(()) => monitor.run(),
        Err(why) => {
            monitor.logger.close();
            let exit = Exit::CannotStart;
            Failure { exit, why }.report()
        }
    }
}

/// Serves the one connection on standard input, and ends with the status of its command.
pub fn inetd(mut config: Config) -> Exit {
    let standard = match null_standard().and_then(|()| take_standard()) {
        Ok(standard) => standard,
        Err(e) => return Failure::system("unable to take descriptor 0", e).report(),
    };
    let connection = match incoming(standard.connection) {
        Ok(connection) => connection,
        Err(e) => {
            let why = format!(
                "descriptor 0 is not a connected socket: {}; without --listen tlssrv serves the connection that inetd or its like gives it there",
                cause(&e)
            );
            let exit = Exit::Usage;
            return Failure { exit, why }.report();
        }
    };
    if standard.stderr_is_connection && config.log.to == LogTo::Stderr {
        // Without syslog it goes to standard error after all, which is /dev/null by now.
        config.log.to = LogTo::Syslog("tlssrv".to_owned());
    }
    let inherited = Inherited {
        stderr_is_connection: standard.stderr_is_connection,
        ..Inherited::default()
    };
    let mut monitor = match monitor(config, inherited) {
        Ok(monitor) => monitor,
        Err(failure) => return failure.report(),
    };
    let local = connection.addresses.map(|(_, local)| local);
    let listener = monitor.generations.current().config.listener_for(local);
    monitor.start_engines(Instant::now());
    monitor.admit(listener, connection);
    monitor.begin_stop();
    match monitor.run() {
        Exit::Success => monitor.clients.last_exit(),
        exit => exit,
    }
}

fn incoming(socket: OwnedFd) -> io::Result<Incoming> {
    let peer: SockaddrStorage = getpeername(socket.as_raw_fd())?;
    let local: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let inet = |address: SockaddrStorage| -> Option<SocketAddr> {
        let v4 = address.as_sockaddr_in().map(|a| SocketAddrV4::from(*a));
        let v6 = address.as_sockaddr_in6().map(|a| SocketAddrV6::from(*a));
        v4.map(SocketAddr::from).or(v6.map(SocketAddr::from))
    };
    let addresses = inet(peer).zip(inet(local));
    if addresses.is_some() {
        setsockopt(&socket, TcpNoDelay, &true)?;
        setsockopt(&socket, KeepAlive, &true)?;
    }
    Ok(Incoming { socket, addresses })
}

/// Why the monitor could not start.
struct Failure {
    exit: Exit,
    why: String,
}

impl Failure {
    fn system(what: &str, e: impl Error + 'static) -> Self {
        Self {
            exit: Exit::System,
            why: format!("{what}: {}", cause(&e)),
        }
    }

    /// Tells the operator; there may be no log yet.
    fn report(self) -> Exit {
        startup_report::report(Severity::Err, &format!("tlssrv: {}", self.why));
        self.exit
    }
}

/// A monitor that has opened its log and catches signals. It does not listen yet.
fn monitor(config: Config, inherited: Inherited) -> Result<Monitor, Failure> {
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
    let mut logger = Logger::open(&config.log)
        .map_err(|e| cannot_start(log::cannot_open(&config.log.to, &e)))?;

    let now = Instant::now();
    let no_randomness = |_| {
        Failure::system(
            "unable to make ticket keys",
            io::Error::other("no randomness"),
        )
    };
    let tickets = TicketRotation::new(now).map_err(no_randomness)?;
    let capacity = generation::capacity(&config, limit.1);
    if capacity < config.limits.connections {
        let line = format!(
            "limits: connections is {}, but {} open files for each process are enough for {capacity}",
            config.limits.connections, limit.1
        );
        logger.say(Severity::Warning, &line);
    }
    let stderr_is_connection = inherited.stderr_is_connection;
    let programs = Programs::new(&config, limit, stderr_is_connection, now)
        .map_err(system("unable to open /dev/null"))?;
    let generations = Generations::new(config, tickets).map_err(cannot_start)?;
    let report = Report::new(Listeners::new(Purpose::Metrics, Vec::new()));
    let report = report.map_err(|e| cannot_start(format!("unable to count: {}", cause(&e))))?;
    report.metrics.configure(&generations.current().config);
    let engines = Engines::new(generations.current(), now);
    let signals =
        Signals::catch(&SIGNALS).map_err(|e| Failure::system("unable to take signals", e))?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
        .map_err(|e| Failure::system("unable to make an epoll set", e))?;
    epoll
        .add(&signals, Token::Signals.readable())
        .map_err(|e| Failure::system("unable to wait for signals", e))?;
    Ok(Monitor {
        logger,
        epoll,
        signals,
        lifecycle: Lifecycle::new(),
        service: Service::new(inherited.notifier),
        listeners: Listeners::new(Purpose::Clients, inherited.passed),
        clients: Clients::new(capacity),
        engines,
        programs,
        generations,
        reload: Reload::new(inherited.arguments),
        report,
    })
}

/// Binds every listener, and starts the engines.
///
/// Errors: the address that cannot be bound, and why.
fn listen(monitor: &mut Monitor) -> Result<(), String> {
    let config = &monitor.generations.current().config;
    let addresses = config.listeners.iter().map(|listener| &listener.address);
    let listeners = monitor.listeners.plan(addresses)?;
    let metrics = monitor.report.reporter.listeners();
    let metrics = metrics.plan(config.metrics.iter())?;
    // The log names these sockets once an engine is ready.
    let _ = monitor.listeners.adopt(listeners, &monitor.epoll);
    let generation = monitor.generations.current();
    let reporter = &mut monitor.report.reporter;
    for line in reporter.adopt(metrics, generation, &monitor.epoll) {
        monitor.logger.say(Severity::Notice, &line);
    }
    monitor.start_engines(Instant::now());
    Ok(())
}
