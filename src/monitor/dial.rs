//! A client that gets a backend: which one, connected without ever waiting, and what it hears first.
//!
//! The monitor connects, since an engine may not create a socket; it writes the PROXY header, which a fresh
//! socket takes whole, and gives the socket away without having read from it.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::sockopt::{KeepAlive, SocketError, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, UnixAddr, connect, getsockname,
    getsockopt, send, setsockopt, socket,
};

use super::Monitor;
use super::connection::{Command, Connection};
use super::event::Source;
use super::socket::limit;
use crate::config::{Answer, Backends, Limits, Target};
use crate::log::Allowance;
use crate::message::{ToEngine, Transport};
use crate::proxy;
use crate::tls::names::{suite_name, version_name};
use crate::types::{ConnectionId, HostId, Severity};

/// How long to wait for room in the backlog of a Unix-domain socket before asking again.
const BUSY: Duration = Duration::from_millis(20);
/// Backends that go away, or come back, and get a line, in a second.
const CHANGES: u32 = 20;

/// Connections to backends that are being made.
#[derive(Default)]
pub(super) struct Dials {
    dials: HashMap<ConnectionId, Dial>,
    timers: BTreeSet<(Instant, ConnectionId)>,
}

/// A client that waits for a backend.
struct Dial {
    /// The place of its host.
    host: HostId,
    begun: Instant,
    /// Backends that it is not going to get.
    tried: Vec<Target>,
    /// Those of them that had no room in their backlog.
    busy: Vec<Target>,
    /// Until when that is waited for, once one had none.
    busy_until: Option<Instant>,
    /// What the last one that was tried said.
    why: Option<String>,
    attempt: Option<Attempt>,
    timer: Option<Instant>,
}

/// A connection under way.
struct Attempt {
    target: Target,
    socket: OwnedFd,
    started: Instant,
}

/// What connect(2) said.
enum Dialled {
    Connected(OwnedFd),
    UnderWay(OwnedFd),
    /// The backlog of a Unix-domain socket is full.
    Busy,
    Failed(Errno),
}

impl Dials {
    /// When the next of them has taken too long.
    pub(super) fn due(&self) -> Option<Instant> {
        self.timers.first().map(|(when, _)| *when)
    }

    fn set_timer(&mut self, id: ConnectionId, when: Option<Instant>) {
        let Some(dial) = self.dials.get_mut(&id) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut dial.timer, when) {
            self.timers.remove(&(old, id));
        }
        self.timers.extend(when.map(|when| (when, id)));
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Dial> {
        self.set_timer(id, None);
        self.dials.remove(&id)
    }
}

impl Monitor {
    /// Connects a client to a backend of its host.
    pub(super) fn dial(&mut self, id: ConnectionId, host: HostId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.command = Command::Dialling;
        let dial = Dial {
            host,
            begun: Instant::now(),
            tried: Vec::new(),
            busy: Vec::new(),
            busy_until: None,
            why: None,
            attempt: None,
            timer: None,
        };
        self.dials.dials.insert(id, dial);
        self.dial_on(id, Instant::now());
    }

    /// The socket of a connection under way has something to say.
    pub(super) fn dialled(&mut self, id: ConnectionId) {
        let dial = self.dials.dials.get_mut(&id);
        let Some(attempt) = dial.and_then(|dial| dial.attempt.take()) else {
            return;
        };
        let _ = self.epoll.delete(&attempt.socket);
        let now = Instant::now();
        let result = match getsockopt(&attempt.socket, SocketError) {
            Ok(0) => Ok(()),
            Ok(errno) => Err(Errno::from_raw(errno)),
            Err(e) => Err(e),
        };
        let result = result.and_then(|()| self.greet(id, &attempt));
        match result {
            Ok(()) => self.connected(id, attempt),
            Err(e) => {
                self.attempt_failed(id, &attempt.target, attempt.started, e, now);
                self.dial_on(id, now);
            }
        }
    }

    /// Gives up attempts that have taken too long, and tries backends again that were busy.
    pub(super) fn dial_deadlines(&mut self, now: Instant) {
        while let Some(&(when, id)) = self.dials.timers.first() {
            if when > now {
                break;
            }
            self.dials.set_timer(id, None);
            let dial = self.dials.dials.get_mut(&id);
            if let Some(attempt) = dial.and_then(|dial| dial.attempt.take()) {
                let _ = self.epoll.delete(&attempt.socket);
                let (target, started) = (&attempt.target, attempt.started);
                self.attempt_failed(id, target, started, Errno::ETIMEDOUT, now);
            }
            self.dial_on(id, now);
        }
    }

    /// Whoever waits for a backend waits no more.
    pub(super) fn hang_up(&mut self, id: ConnectionId) {
        let Some(dial) = self.dials.remove(id) else {
            return;
        };
        if let Some(attempt) = dial.attempt {
            let _ = self.epoll.delete(&attempt.socket);
            self.pool.give_up(&attempt.target, attempt.started);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.command = Command::NoBackend("the client has gone".to_owned());
        }
    }

    /// Tries one backend after the other, until one accepts, or may still do so, or none is left.
    fn dial_on(&mut self, id: ConnectionId, now: Instant) {
        while let Some(dial) = self.dials.dials.get_mut(&id) {
            let Some(connection) = self.connections.get(&id) else {
                break;
            };
            let blueprint = Arc::clone(&connection.blueprint);
            let host = blueprint.config.hosts.get(dial.host);
            let Some(Answer::Backends(backends)) = host.map(|host| &host.answer) else {
                break;
            };
            let targets = self.names.targets(backends);
            let left = targets.iter().filter(|target| !dial.tried.contains(target));
            let Some(target) = self.pool.choose(left, backends.timeout, now) else {
                if dial.busy.is_empty() || dial.busy_until.is_none_or(|until| until <= now) {
                    let why = dial.why.take();
                    return self.no_backend(id, why);
                }
                let busy = std::mem::take(&mut dial.busy);
                dial.tried.retain(|target| !busy.contains(target));
                return self.dials.set_timer(id, now.checked_add(BUSY));
            };
            dial.tried.push(target.clone());
            match begin(&target, &blueprint.config.limits) {
                Dialled::Busy => {
                    self.pool.give_up(&target, now);
                    dial.why = Some(format!("{target}: its backlog is full"));
                    dial.busy_until = dial.busy_until.or(now.checked_add(backends.timeout));
                    dial.busy.push(target);
                }
                Dialled::Failed(e) => self.attempt_failed(id, &target, now, e, now),
                Dialled::Connected(socket) => {
                    let attempt = Attempt {
                        target,
                        socket,
                        started: now,
                    };
                    match self.greet(id, &attempt) {
                        Ok(()) => return self.connected(id, attempt),
                        Err(e) => self.attempt_failed(id, &attempt.target, now, e, now),
                    }
                }
                Dialled::UnderWay(socket) => {
                    let event = EpollEvent::new(EpollFlags::EPOLLOUT, Source::Dial(id).token());
                    if let Err(e) = self.epoll.add(&socket, event) {
                        self.attempt_failed(id, &target, now, e, now);
                        continue;
                    }
                    dial.attempt = Some(Attempt {
                        target,
                        socket,
                        started: now,
                    });
                    return self.dials.set_timer(id, now.checked_add(backends.timeout));
                }
            }
        }
    }

    fn attempt_failed(
        &mut self,
        id: ConnectionId,
        target: &Target,
        since: Instant,
        e: Errno,
        now: Instant,
    ) {
        if let Some(dial) = self.dials.dials.get_mut(&id) {
            dial.why = Some(format!("{target}: {}", e.desc()));
        }
        if is_ours(e) {
            return self.pool.give_up(target, since); // and no fault of the backend's
        }
        if self.pool.failed(target, since, now).is_some() {
            self.say_of(target, Severity::Err, &format!("away: {}", e.desc()));
        }
    }

    /// Writes what the backend is to hear first.
    ///
    /// Errors: those of send(2), `EMSGSIZE` when it did not take all of it; `ECONNREFUSED`: it is ourselves.
    fn greet(&self, id: ConnectionId, attempt: &Attempt) -> nix::Result<()> {
        if is_itself(attempt) {
            return Err(Errno::ECONNREFUSED);
        }
        let Some(connection) = self.connections.get(&id) else {
            return Ok(());
        };
        let Some(version) = backends(connection).and_then(|backends| backends.proxy) else {
            return Ok(());
        };
        let header = header(connection, version);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(attempt.socket.as_raw_fd(), &header, flags)? {
            sent if sent == header.len() => Ok(()),
            _ => Err(Errno::EMSGSIZE),
        }
    }

    fn connected(&mut self, id: ConnectionId, attempt: Attempt) {
        let dial = self.dials.remove(id);
        let Attempt { target, socket, .. } = attempt;
        if self.pool.connected(&target) {
            self.say_of(&target, Severity::Notice, "back");
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if let Some(dial) = dial {
            let host = connection.host_label();
            self.numbers.launched(host, dial.begun.elapsed());
        }
        let transport = match target {
            Target::Tcp(_) => Transport::Tcp,
            Target::Unix(_) => Transport::Unix,
        };
        connection.command = Command::Connected(target);
        let place = connection.engine;
        self.tell(place, &ToEngine::Connected { id, transport }, vec![socket]);
    }

    fn no_backend(&mut self, id: ConnectionId, why: Option<String>) {
        self.dials.remove(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let why = why.unwrap_or_else(|| "there is none".to_owned());
        connection.command = Command::NoBackend(why);
        let place = connection.engine;
        self.tell(place, &ToEngine::Refused { id }, Vec::new());
    }

    fn say_of(&mut self, target: &Target, severity: Severity, what: &str) {
        let fields = vec![
            ("backend", target.to_string().into()),
            ("state", what.into()),
        ];
        let allowance = Allowance::PerSecond(CHANGES, "backend");
        self.logger.fields(severity, &fields, allowance);
    }
}

fn backends(connection: &Connection) -> Option<&Backends> {
    let hosts = &connection.blueprint.config.hosts;
    match &hosts.get(connection.host?)?.answer {
        Answer::Backends(backends) => Some(backends),
        Answer::Command { .. } => None,
    }
}

fn header(connection: &Connection, version: proxy::Version) -> Vec<u8> {
    let facts = &connection.facts;
    let cipher = facts.suite.and_then(suite_name);
    let shown = match facts.resumed {
        Some(true) => proxy::Shown::Earlier,
        _ => proxy::Shown::Now,
    };
    let certificate = facts.client.as_deref();
    let about = proxy::About {
        addresses: connection.addresses,
        alpn: facts.alpn.as_deref(),
        authority: facts.server_name.as_ref().map(|name| name.as_str()),
        unique_id: &connection.name,
        version: facts.version.and_then(version_name),
        cipher: cipher.as_deref(),
        certificate: certificate.map(|certificate| proxy::Certificate {
            shown,
            common_name: certificate.common_name.as_ref().map(|name| name.as_str()),
        }),
    };
    proxy::header(version, &about)
}

/// Begins to connect; buffers and keep-alive are as those of clients.
fn begin(target: &Target, limits: &Limits) -> Dialled {
    let family = match target {
        Target::Tcp(SocketAddr::V4(_)) => AddressFamily::Inet,
        Target::Tcp(SocketAddr::V6(_)) => AddressFamily::Inet6,
        Target::Unix(_) => AddressFamily::Unix,
    };
    let dial = || -> nix::Result<(OwnedFd, nix::Result<()>)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(family, SockType::Stream, flags, None)?;
        let fd = socket.as_raw_fd();
        let result = match target {
            Target::Unix(path) => connect(fd, &UnixAddr::new(path)?),
            Target::Tcp(address) => {
                setsockopt(&socket, TcpNoDelay, &true)?;
                setsockopt(&socket, KeepAlive, &true)?;
                limit(&socket, limits);
                let address = SockaddrStorage::from(*address);
                match connect(fd, &address) {
                    // On this machine it has been answered by now. Asking is one call; to be told by epoll
                    // would be four, and a turn of the loop.
                    Err(Errno::EINPROGRESS) if is_near(target) => match connect(fd, &address) {
                        Err(Errno::EALREADY) => Err(Errno::EINPROGRESS),
                        result => result,
                    },
                    result => result,
                }
            }
        };
        Ok((socket, result))
    };
    match dial() {
        Ok((socket, Ok(()))) => Dialled::Connected(socket),
        Ok((socket, Err(Errno::EINPROGRESS))) => Dialled::UnderWay(socket),
        Ok((_, Err(Errno::EAGAIN))) if family == AddressFamily::Unix => Dialled::Busy,
        Ok((_, Err(e))) | Err(e) => Dialled::Failed(e),
    }
}

/// Whether a backend is on this machine for sure.
fn is_near(target: &Target) -> bool {
    match target {
        Target::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Target::Unix(_) => true,
    }
}

/// Whether a socket has met itself: when nobody listens on a port, and the kernel gives that port to who
/// tries to connect to it.
fn is_itself(attempt: &Attempt) -> bool {
    let own = || getsockname::<SockaddrStorage>(attempt.socket.as_raw_fd());
    match attempt.target {
        Target::Tcp(target) => own().is_ok_and(|own| own == target.into()),
        Target::Unix(_) => false,
    }
}

/// Whether an error says that we have run out of something.
fn is_ours(e: Errno) -> bool {
    matches!(
        e,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EADDRNOTAVAIL
    )
}
