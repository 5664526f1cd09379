//! What engines ask for, and what they are told.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::connection::{self, Client, Command};
use super::engines::Slot;
use super::event::Source;
use super::{BATCH, Monitor, Stop};
use crate::exit::Exit;
use crate::message::{End, MAX_TEXT, Report, ToEngine, ToMonitor, decode, encode};
use crate::process::Received;
use crate::tls::tickets::{ROTATION, TicketKeys};
use crate::types::{ConnectionId, Severity};

impl Monitor {
    /// Starts the engines that are due.
    pub(super) fn start_engines(&mut self, now: Instant) {
        let mut failed = None;
        for (&place, slot) in &mut self.slots {
            // While draining, a dead engine's work is lost, and there is no new work.
            if self.stop != Stop::No || slot.due().is_none_or(|due| due > now) {
                continue;
            }
            let is_candidate = !Arc::ptr_eq(&slot.blueprint, &self.blueprint);
            let restarts = slot.had_engine;
            match slot.start(now) {
                Ok(engine) => {
                    self.numbers.restarts.inc_by(restarts.into());
                    let event = EpollEvent::new(EpollFlags::EPOLLIN, Source::Engine(place).token());
                    if let Err(e) = self.epoll.add(&engine.channel, event) {
                        self.logger
                            .say(Severity::Err, &format!("unable to wait for an engine: {e}"));
                    }
                }
                // A candidate goes on only if all of its engines can start.
                Err(e) if is_candidate => failed = Some(e),
                Err(e) => {
                    self.logger
                        .say(Severity::Err, &format!("unable to start an engine: {e}"));
                    slot.rest(now);
                }
            }
        }
        if let Some(e) = failed {
            self.candidate_failed(e.desc());
        }
    }

    /// Takes messages from an engine.
    pub(super) fn hear(&mut self, place: usize) {
        for _ in 0..BATCH {
            let Some(engine) = self.slots.get_mut(&place).and_then(Slot::running) else {
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
    pub(super) fn obey(&mut self, place: usize, message: ToMonitor) -> bool {
        match message {
            ToMonitor::Ready => {
                self.engine_ready(place);
                if !std::mem::replace(&mut self.ready, true) {
                    for listener in &self.listeners {
                        let line = format!("listening on {listener}");
                        self.logger.say(Severity::Notice, &line);
                    }
                    self.tell_ready();
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
            ToMonitor::Proxied { id, addresses } => self.proxied(place, id, addresses),
            ToMonitor::Chosen { id, host } => {
                let waits = self.connections.get(&id).is_some_and(|connection| {
                    let chosen = connection.blueprint.config.hosts.get(host);
                    chosen.is_some_and(|host| host.connections.is_some())
                        && connection.engine == place
                        && connection.reserved.is_none()
                        && !connection.awaits_header
                        && connection.command == Command::Unwanted
                        && matches!(connection.client, Client::Served)
                });
                if waits {
                    self.reserve(id, host);
                }
                waits
            }
            ToMonitor::Open {
                id,
                host,
                facts,
                handshake_us,
            } => {
                let Some(connection) = self.connections.get_mut(&id) else {
                    return false;
                };
                let Some(chosen) = connection.blueprint.config.hosts.get(host) else {
                    return false;
                };
                let possible = chosen.can_authenticate(&facts);
                let asked = connection.command != Command::Unwanted
                    || connection.awaits_header
                    || !matches!(connection.client, Client::Served);
                let unreserved = chosen.connections.is_some() && connection.reserved != Some(host);
                if !possible || asked || unreserved || connection.engine != place {
                    return false;
                }
                connection.host = Some(host);
                connection.facts = facts;
                connection.handshake_ms = Some(handshake_us / 1000);
                let auth = connection.auth().unwrap_or_default();
                let time = Duration::from_micros(handshake_us.into());
                let label = connection.host_label();
                self.numbers.handshake(label, auth, &connection.facts, time);
                self.open(id, host);
                true
            }
            ToMonitor::Moved(moved) => self.moved(place, &moved),
            ToMonitor::Reported => {
                self.reported(place);
                true
            }
            ToMonitor::Kill { id } => match self.connections.get(&id) {
                Some(connection) if connection.engine == place => self.kill(connection),
                _ => false,
            },
            ToMonitor::Closed { id, mut report } => {
                let Some(connection) = self.connections.get_mut(&id) else {
                    return false;
                };
                if connection.engine != place || !matches!(connection.client, Client::Served) {
                    return false;
                }
                if connection.command == Command::Unwanted {
                    connection.host = report.host;
                    connection.facts = report.facts.take().unwrap_or_default();
                }
                let linger = connection.blueprint.config.limits.linger;
                if let Some(engine) = self.slots.get_mut(&place).and_then(Slot::running) {
                    engine.load = engine.load.saturating_sub(1);
                }
                let now = Instant::now();
                self.client_ended(id, report, now.checked_add(linger).unwrap_or(now));
                true
            }
        }
    }

    /// An engine is gone, or has to go.
    pub(super) fn lose_engine(&mut self, place: usize, why: Option<&str>) {
        let now = Instant::now();
        let Some(slot) = self.slots.get_mut(&place) else {
            return;
        };
        let Some((pid, how)) = slot.bury(now) else {
            return;
        };
        let retired = slot.retired;
        if retired {
            self.slots.remove(&place);
        } else if !Arc::ptr_eq(&slot.blueprint, &self.blueprint) {
            return self.candidate_failed(why.unwrap_or(&how));
        }
        let ids: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, c)| c.engine == place && matches!(c.client, Client::Served))
            .map(|(id, _)| *id)
            .collect();
        if (self.stop == Stop::No && !retired) || !ids.is_empty() {
            let why = why.unwrap_or(&how);
            self.logger.say(
                Severity::Err,
                &format!(
                    "engine {pid} ended: {why}; connections lost with it: {}",
                    ids.len()
                ),
            );
        }
        for id in ids {
            let Some(connection) = self.connections.get(&id) else {
                continue;
            };
            let linger = connection.blueprint.config.limits.linger;
            // For the command the client has vanished.
            self.kill(connection);
            let until = now.checked_add(linger).unwrap_or(now);
            self.client_ended(id, Report::unknown(End::Reset), until);
        }
        self.reported(place);
        if !self.ready && self.stop == Stop::No {
            self.logger.say(Severity::Err, "no engine can start");
            self.failed = Some(Exit::CannotStart);
            self.begin_stop();
        }
    }

    pub(super) fn rotate_keys(&mut self, now: Instant) {
        self.rotate_at = now + ROTATION;
        // Keys from a file are changed by a reload, and by nothing else.
        let rotating = self.slots.iter().filter(|(_, slot)| {
            let config = &slot.blueprint.config;
            config.ticket_keys.is_none()
        });
        let rotating: Vec<_> = rotating
            .map(|(place, slot)| (*place, Arc::clone(&slot.blueprint)))
            .collect();
        // Engines of a later day are born with what the ring has.
        let set = |keys: &TicketKeys| {
            let mut blueprints = rotating.iter();
            blueprints.try_for_each(|(_, blueprint)| blueprint.ring.set(keys))
        };
        if self.keys.rotate().and_then(|()| set(&self.keys)).is_err() {
            self.logger.say(
                Severity::Err,
                "unable to make new ticket keys: no randomness; the old ones stay",
            );
            return;
        }
        for (place, _) in rotating {
            self.tell(place, &ToEngine::TicketKeys(self.keys.clone()), Vec::new());
        }
    }

    /// Sends a message to an engine, if it lives.
    pub(super) fn tell(&mut self, place: usize, message: &ToEngine, descriptors: Vec<OwnedFd>) {
        if let Some(engine) = self.slots.get_mut(&place).and_then(Slot::running) {
            // An engine that is gone is found out by the end of its channel.
            let _ = engine.channel.send(encode(message), descriptors);
            self.flush(place);
        }
    }

    /// Sends what is queued for an engine, and waits for room while there is none.
    pub(super) fn flush(&mut self, place: usize) {
        let Some(engine) = self.slots.get_mut(&place).and_then(Slot::running) else {
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
