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

use super::change::Change;
use super::connect::{Begun, begin, complete, is_local_fault, send_header};
use super::pool::Pool;
use super::resolver::Resolver;
use crate::config::{Answer, Backends as BackendList, Target};
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
pub(in crate::monitor) struct Dialled {
    /// The result; `None`: the client still waits.
    pub(in crate::monitor) outcome: Option<Outcome>,
    /// Backends that have failed for the first time, or are back.
    pub(in crate::monitor) changes: Vec<Change>,
}

/// The result of a client's wait for a backend.
pub(in crate::monitor) enum Outcome {
    /// A backend has accepted.
    Connected {
        /// The backend.
        target: Target,
        /// Its socket.
        socket: OwnedFd,
        /// The time that it took.
        time: Duration,
    },
    /// No backend has accepted; the reason.
    Failed(String),
}

/// A client that waits for a backend.
struct Dial {
    request: Request,
    begun: Instant,
    /// Backends that have been tried.
    tried: Vec<Target>,
    /// Backends among them whose backlog was full.
    busy: Vec<Target>,
    /// Time until which a full backlog is waited for, once there was one.
    busy_until: Option<Instant>,
    /// Why the last backend that was tried did not accept.
    why: Option<String>,
    attempt: Option<Attempt>,
    timer: Option<Instant>,
}

/// A connection to a backend that is being made.
struct Attempt {
    target: Target,
    socket: OwnedFd,
    started: Instant,
}

impl Backends {
    /// Time of the next [`Backends::expire`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.timers.first().map(|(when, _)| *when)
    }

    /// Connects a client to a backend of its host.
    pub(super) fn dial(
        &mut self,
        id: ConnectionId,
        request: Request,
        resolver: &Resolver,
        epoll: &Epoll,
    ) -> Dialled {
        let now = Instant::now();
        let dial = Dial {
            request,
            begun: now,
            tried: Vec::new(),
            busy: Vec::new(),
            busy_until: None,
            why: None,
            attempt: None,
            timer: None,
        };
        self.dials.insert(id, dial);
        self.try_next(id, resolver, epoll, now, Vec::new())
    }

    /// Goes on with a client whose connection to a backend is made, or has failed.
    pub(super) fn ready(
        &mut self,
        id: ConnectionId,
        resolver: &Resolver,
        epoll: &Epoll,
    ) -> Dialled {
        let mut changes = Vec::new();
        let Some(dial) = self.dials.get_mut(&id) else {
            return Dialled::waits(changes);
        };
        let Some(Attempt {
            target,
            socket,
            started,
        }) = dial.attempt.take()
        else {
            return Dialled::waits(changes);
        };
        let _ = epoll.delete(&socket);
        let now = Instant::now();
        let connected =
            complete(&socket).and_then(|()| send_header(&socket, &target, &dial.request.header));
        match connected {
            Ok(()) => self.connected(id, target, socket, changes),
            Err(e) => {
                self.failed(id, &target, started, e, now, &mut changes);
                self.try_next(id, resolver, epoll, now, changes)
            }
        }
    }

    /// Gives up an attempt that has taken too long, or tries backends again whose backlog was full. `None`:
    /// none is due.
    pub(super) fn expire(
        &mut self,
        resolver: &Resolver,
        epoll: &Epoll,
        now: Instant,
    ) -> Option<(ConnectionId, Dialled)> {
        self.due().filter(|due| *due <= now)?;
        let (_, id) = self.timers.pop_first()?;
        let mut changes = Vec::new();
        let dial = self.dials.get_mut(&id)?;
        dial.timer = None;
        if let Some(attempt) = dial.attempt.take() {
            let _ = epoll.delete(&attempt.socket);
            let (target, started) = (&attempt.target, attempt.started);
            self.failed(id, target, started, Errno::ETIMEDOUT, now, &mut changes);
        }
        Some((id, self.try_next(id, resolver, epoll, now, changes)))
    }

    /// Forgets a client that waits for a backend.
    pub(super) fn hang_up(&mut self, id: ConnectionId, epoll: &Epoll) {
        if let Some(attempt) = self.remove(id).and_then(|dial| dial.attempt) {
            let _ = epoll.delete(&attempt.socket);
            self.pool.give_up(&attempt.target, attempt.started);
        }
    }

    /// Forgets a connection to a backend.
    pub(super) fn release(&mut self, target: &Target) {
        self.pool.release(target);
    }

    /// Tries one backend after the other, until one accepts, or may still accept, or none is left.
    fn try_next(
        &mut self,
        id: ConnectionId,
        resolver: &Resolver,
        epoll: &Epoll,
        now: Instant,
        mut changes: Vec<Change>,
    ) -> Dialled {
        loop {
            let Some(dial) = self.dials.get_mut(&id) else {
                return Dialled::waits(changes);
            };
            let generation = Arc::clone(&dial.request.generation);
            let Some(backends) = backends(&generation, dial.request.host) else {
                return Dialled::waits(changes);
            };
            let targets = resolver.targets(backends);
            let untried = targets.iter().filter(|target| !dial.tried.contains(target));
            let Some(target) = self.pool.choose(untried, backends.timeout, now) else {
                if dial.busy.is_empty() || dial.busy_until.is_none_or(|until| until <= now) {
                    let why = dial.why.take();
                    self.remove(id);
                    let why = why.unwrap_or_else(|| "there is none".to_owned());
                    return Dialled::done(Outcome::Failed(why), changes);
                }
                let busy = std::mem::take(&mut dial.busy);
                dial.tried.retain(|target| !busy.contains(target));
                self.set_timer(id, now.checked_add(BUSY));
                return Dialled::waits(changes);
            };
            dial.tried.push(target.clone());
            match begin(&target, &generation.config.limits) {
                Begun::Busy => {
                    self.pool.give_up(&target, now);
                    dial.why = Some(format!("{target}: its backlog is full"));
                    dial.busy_until = dial.busy_until.or(now.checked_add(backends.timeout));
                    dial.busy.push(target);
                }
                Begun::Failed(e) => self.failed(id, &target, now, e, now, &mut changes),
                Begun::Connected(socket) => {
                    match send_header(&socket, &target, &dial.request.header) {
                        Ok(()) => return self.connected(id, target, socket, changes),
                        Err(e) => self.failed(id, &target, now, e, now, &mut changes),
                    }
                }
                Begun::InProgress(socket) => {
                    if let Err(e) = epoll.add(&socket, Token::Dial(id).writable()) {
                        self.failed(id, &target, now, e, now, &mut changes);
                        continue;
                    }
                    dial.attempt = Some(Attempt {
                        target,
                        socket,
                        started: now,
                    });
                    self.set_timer(id, now.checked_add(backends.timeout));
                    return Dialled::waits(changes);
                }
            }
        }
    }

    fn failed(
        &mut self,
        id: ConnectionId,
        target: &Target,
        since: Instant,
        e: Errno,
        now: Instant,
        changes: &mut Vec<Change>,
    ) {
        if let Some(dial) = self.dials.get_mut(&id) {
            dial.why = Some(format!("{target}: {}", e.desc()));
        }
        if is_local_fault(e) {
            self.pool.give_up(target, since);
        } else if self.pool.failed(target, since, now).is_some() {
            changes.push(Change {
                severity: Severity::Err,
                backend: target.to_string(),
                state: format!("away: {}", e.desc()),
                kind: "backend",
            });
        }
    }

    fn connected(
        &mut self,
        id: ConnectionId,
        target: Target,
        socket: OwnedFd,
        mut changes: Vec<Change>,
    ) -> Dialled {
        if self.pool.connected(&target) {
            changes.push(Change {
                severity: Severity::Notice,
                backend: target.to_string(),
                state: "back".to_owned(),
                kind: "backend",
            });
        }
        let begun = self.remove(id).map(|dial| dial.begun);
        let outcome = Outcome::Connected {
            target,
            socket,
            time: begun.map(|begun| begun.elapsed()).unwrap_or_default(),
        };
        Dialled::done(outcome, changes)
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

impl Dialled {
    fn waits(changes: Vec<Change>) -> Self {
        Self {
            outcome: None,
            changes,
        }
    }

    fn done(outcome: Outcome, changes: Vec<Change>) -> Self {
        Self {
            outcome: Some(outcome),
            changes,
        }
    }
}

/// The backends of a host.
fn backends(generation: &Generation, host: HostId) -> Option<&BackendList> {
    match &generation.host(host)?.answer {
        Answer::Backends(backends) => Some(backends),
        Answer::Command { .. } => None,
    }
}
