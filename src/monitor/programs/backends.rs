//! Backends: for each client one that accepts, connected without ever waiting.
//!
//! The monitor connects, since an engine may not create a socket. It writes the PROXY header, and gives
//! the socket away without having read from it.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::Epoll;

use super::connect::{Begun, begin, complete, is_local_fault, send_header};
use super::pool::Pool;
use super::resolver::Resolver;
use super::state_log::{Kind, log_state};
use crate::config::{Backend, BackendAddress, Backends as BackendList, Destination};
use crate::log::Logger;
use crate::monitor::generation::Generation;
use crate::monitor::token::Token;
use crate::types::{ConnectionId, HostId, Severity};

/// Time before a Unix-domain socket whose backlog is full is tried again.
const BUSY: Duration = Duration::from_millis(20);

/// The backends of all hosts, and the connections to them that are being made.
#[derive(Default)]
pub(super) struct Backends {
    pool: Pool,
    dials: HashMap<ConnectionId, Dial>,
    timers: BTreeSet<(Instant, ConnectionId)>,
}

/// What a client needs to get a backend.
pub(in crate::monitor) struct Request {
    /// The generation that the client belongs to.
    pub(in crate::monitor) generation: Arc<Generation>,
    /// The client's host, which has backends.
    pub(in crate::monitor) host: HostId,
    /// The PROXY header; empty: the backend gets none.
    pub(in crate::monitor) header: Vec<u8>,
}

/// What has become of a client that waits for a backend.
pub(in crate::monitor) enum Outcome {
    /// A backend has accepted.
    Connected {
        /// The backend.
        target: BackendAddress,
        /// Its socket.
        socket: OwnedFd,
        /// The time that it took.
        time: Duration,
    },
    /// No backend has accepted; the reason.
    Failed(String),
}

/// What it takes to go on with a client.
pub(super) struct Context<'a> {
    pub(super) resolver: &'a Resolver,
    pub(super) epoll: &'a Epoll,
    pub(super) logger: &'a mut Logger,
    pub(super) now: Instant,
}

/// A client that waits for a backend.
struct Dial {
    request: Request,
    begun: Instant,
    /// Backends that have been tried.
    tried: Vec<BackendAddress>,
    /// Backends among them whose backlog was full.
    busy: Vec<BackendAddress>,
    /// Time until which a full backlog is waited for, once there was one.
    busy_until: Option<Instant>,
    /// Why the last backend that was tried did not accept.
    why: Option<String>,
    /// The connection that is being made.
    attempt: Option<Attempt>,
    timer: Option<Instant>,
}

/// A connection to a backend that is being made.
struct Attempt {
    target: BackendAddress,
    socket: OwnedFd,
    started: Instant,
}

impl Backends {
    /// Time of the next [`Backends::expire`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.timers.first().map(|(when, _)| *when)
    }

    /// Connects a client to a backend of its host. `None`: the client waits.
    pub(super) fn dial(
        &mut self,
        id: ConnectionId,
        request: Request,
        context: &mut Context<'_>,
    ) -> Option<Outcome> {
        let dial = Dial {
            request,
            begun: context.now,
            tried: Vec::new(),
            busy: Vec::new(),
            busy_until: None,
            why: None,
            attempt: None,
            timer: None,
        };
        self.try_next(id, dial, context)
    }

    /// Goes on with a client whose connection to a backend is made, or has failed. `None`: the client waits.
    pub(super) fn ready(&mut self, id: ConnectionId, context: &mut Context<'_>) -> Option<Outcome> {
        self.dials.get(&id)?.attempt.as_ref()?;
        let mut dial = self.take(id)?;
        let attempt = dial.attempt.take()?;
        let _ = context.epoll.delete(&attempt.socket);
        match complete(&attempt.socket) {
            Ok(()) => self.connected(id, dial, attempt, context),
            Err(e) => {
                self.failed(&mut dial, &attempt.target, attempt.started, e, context);
                self.try_next(id, dial, context)
            }
        }
    }

    /// The next client whose connection to a backend has taken too long, or that has waited for a full
    /// backlog, and what becomes of it.
    pub(super) fn expire(
        &mut self,
        context: &mut Context<'_>,
    ) -> Option<(ConnectionId, Option<Outcome>)> {
        let (_, id) = *self.timers.first().filter(|(due, _)| *due <= context.now)?;
        let mut dial = self.take(id)?;
        if let Some(attempt) = dial.attempt.take() {
            let _ = context.epoll.delete(&attempt.socket);
            let (target, e) = (&attempt.target, Errno::ETIMEDOUT);
            self.failed(&mut dial, target, attempt.started, e, context);
        }
        Some((id, self.try_next(id, dial, context)))
    }

    /// Forgets a client that waits for a backend.
    pub(super) fn hang_up(&mut self, id: ConnectionId, epoll: &Epoll) {
        if let Some(attempt) = self.take(id).and_then(|dial| dial.attempt) {
            let _ = epoll.delete(&attempt.socket);
            self.pool.give_up(&attempt.target, attempt.started);
        }
    }

    /// Forgets a connection to a backend.
    pub(super) fn release(&mut self, target: &BackendAddress) {
        self.pool.release(target);
    }

    /// Tries one backend after the other, until one accepts, or may still accept, or none is left.
    fn try_next(
        &mut self,
        id: ConnectionId,
        mut dial: Dial,
        context: &mut Context<'_>,
    ) -> Option<Outcome> {
        let started = context.now;
        let generation = Arc::clone(&dial.request.generation);
        let backends = backends(&generation, dial.request.host)?;
        let targets = context.resolver.targets(backends);
        loop {
            let untried = targets.iter().filter(|target| !dial.tried.contains(target));
            let Some(target) = self.pool.choose(untried, backends.timeout, started) else {
                if dial.busy.is_empty() || dial.busy_until.is_none_or(|until| until <= started) {
                    let why = dial.why.unwrap_or_else(|| unresolved(backends));
                    return Some(Outcome::Failed(why));
                }
                let busy = std::mem::take(&mut dial.busy);
                dial.tried.retain(|target| !busy.contains(target));
                return self.wait(id, dial, started.checked_add(BUSY));
            };
            dial.tried.push(target.clone());
            match begin(&target, &generation.config.limits) {
                Begun::Busy => {
                    self.pool.give_up(&target, started);
                    dial.why = Some(format!("{target}: its backlog is full"));
                    dial.busy_until = dial.busy_until.or(started.checked_add(backends.timeout));
                    dial.busy.push(target);
                }
                Begun::Failed(e) => self.failed(&mut dial, &target, started, e, context),
                Begun::Connected(socket) => {
                    let attempt = Attempt {
                        target,
                        socket,
                        started,
                    };
                    return self.connected(id, dial, attempt, context);
                }
                Begun::InProgress(socket) => {
                    match context.epoll.add(&socket, Token::Dial(id).writable()) {
                        Err(e) => self.failed(&mut dial, &target, started, e, context),
                        Ok(()) => {
                            dial.attempt = Some(Attempt {
                                target,
                                socket,
                                started,
                            });
                            let timeout = started.checked_add(backends.timeout);
                            return self.wait(id, dial, timeout);
                        }
                    }
                }
            }
        }
    }

    /// Sends the PROXY header to a backend that has accepted; if it does not take that, tries the next one.
    fn connected(
        &mut self,
        id: ConnectionId,
        mut dial: Dial,
        attempt: Attempt,
        context: &mut Context<'_>,
    ) -> Option<Outcome> {
        let Attempt {
            target,
            socket,
            started,
        } = attempt;
        if let Err(e) = send_header(&socket, &target, &dial.request.header) {
            self.failed(&mut dial, &target, started, e, context);
            return self.try_next(id, dial, context);
        }
        if self.pool.connected(&target) {
            let (severity, state) = (Severity::Notice, "back".to_owned());
            log_state(context.logger, severity, Kind::Backend, &target, state);
        }
        Some(Outcome::Connected {
            target,
            socket,
            time: dial.begun.elapsed(),
        })
    }

    fn failed(
        &mut self,
        dial: &mut Dial,
        target: &BackendAddress,
        since: Instant,
        e: Errno,
        context: &mut Context<'_>,
    ) {
        dial.why = Some(format!("{target}: {}", e.desc()));
        if is_local_fault(e) {
            self.pool.give_up(target, since);
        } else if self.pool.failed(target, since, context.now).is_some() {
            let (severity, state) = (Severity::Err, format!("away: {}", e.desc()));
            log_state(context.logger, severity, Kind::Backend, target, state);
        }
    }

    /// Keeps a client that waits.
    fn wait(
        &mut self,
        id: ConnectionId,
        mut dial: Dial,
        timer: Option<Instant>,
    ) -> Option<Outcome> {
        dial.timer = timer;
        self.timers.extend(timer.map(|when| (when, id)));
        self.dials.insert(id, dial);
        None
    }

    /// Takes a client that waits.
    fn take(&mut self, id: ConnectionId) -> Option<Dial> {
        let dial = self.dials.remove(&id)?;
        if let Some(when) = dial.timer {
            self.timers.remove(&(when, id));
        }
        Some(dial)
    }
}

/// Why a host without a single address has no backend to try.
fn unresolved(backends: &BackendList) -> String {
    let names = backends.each.iter().filter_map(|backend| match backend {
        Backend::Named(name, _) => Some(name.to_string()),
        Backend::At(_) => None,
    });
    let names: Vec<String> = names.collect();
    format!("{}: name does not resolve", names.join(", "))
}

/// The backends of a host.
fn backends(generation: &Generation, host: HostId) -> Option<&BackendList> {
    match &generation.host(host)?.destination {
        Destination::Backends(backends) => Some(backends),
        Destination::Command { .. } => None,
    }
}
