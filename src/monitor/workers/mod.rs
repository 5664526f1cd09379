//! Engines: started, replaced when they die, drained when another generation takes over.
#![forbid(unsafe_code)]

mod engine;
mod slot;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::Epoll;
use nix::unistd::Pid;

use super::generation::{Generation, Generations, NoRandomness};
use super::token::Token;
use super::violation::Violation;
use crate::message::{MAX_TEXT, ToEngine, ToMonitor, decode, encode};
use crate::process::{Ended, Received};
use crate::types::{EngineId, cause};
use slot::Slot;

/// The engines of all generations.
pub(super) struct Engines {
    slots: BTreeMap<EngineId, Slot>,
    next_id: EngineId,
}

/// Result of [`Engines::start_due`].
#[derive(Default)]
pub(super) struct Started {
    /// Number of engines started in the place of one that had died.
    pub(super) restarts: u64,
    /// A line for each engine of the current generation that is not started or not heard.
    pub(super) failures: Vec<String>,
    /// Why an engine of a candidate generation is not started.
    pub(super) candidate: Option<Errno>,
}

/// Result of [`Engines::receive`].
pub(super) enum FromEngine {
    /// A message.
    Message(ToMonitor),
    /// Nothing for now, or no such engine.
    Nothing,
    /// The engine is gone.
    Closed,
    /// The engine has broken the protocol.
    Violation(Violation),
}

/// An engine that has ended.
pub(super) struct Lost {
    /// Its process id.
    pub(super) pid: Pid,
    /// Its exit status, or the signal that ended it.
    pub(super) how: String,
    /// The generation that it served.
    pub(super) generation: Arc<Generation>,
    /// Whether another generation had taken its place.
    pub(super) retired: bool,
}

impl Engines {
    /// The engines of the first generation, not started.
    pub(super) fn new(generation: &Arc<Generation>, now: Instant) -> Self {
        let mut engines = Self {
            slots: BTreeMap::new(),
            next_id: EngineId(0),
        };
        engines.add(generation, now);
        engines
    }

    /// Adds the engines of a generation, not started.
    pub(super) fn add(&mut self, generation: &Arc<Generation>, now: Instant) {
        for _ in 0..generation.config.engines {
            self.slots.insert(self.next_id, Slot::new(generation, now));
            self.next_id = self.next_id.next();
        }
    }

    /// Time of the next [`Engines::start_due`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.slots.values().filter_map(Slot::due).min()
    }

    /// Starts the engines that are due.
    pub(super) fn start_due(
        &mut self,
        generations: &Generations,
        epoll: &Epoll,
        now: Instant,
    ) -> Started {
        let mut started = Started::default();
        let slots = self.slots.iter_mut();
        for (&id, slot) in slots.filter(|(_, slot)| slot.due().is_some_and(|due| due <= now)) {
            let is_restart = slot.had_engine();
            let is_current = generations.is_current(slot.generation());
            match slot.start(now) {
                Ok(engine) => {
                    started.restarts += u64::from(is_restart);
                    let event = Token::Engine(id).event(engine.interest);
                    if let Err(e) = epoll.add(&engine.channel, event) {
                        let line = format!("unable to wait for an engine: {}", cause(&e));
                        started.failures.push(line);
                    }
                }
                // A candidate takes over only if all of its engines can start.
                Err(e) if !is_current => started.candidate = Some(e),
                Err(e) => {
                    let line = format!("unable to start an engine: {}", e.desc());
                    started.failures.push(line);
                    slot.back_off(now);
                }
            }
        }
        started
    }

    /// The engine of the current generation with the fewest connections; `None`: none lives.
    pub(super) fn least_loaded(&self, generations: &Generations) -> Option<EngineId> {
        let slots = self.slots.iter();
        let current = slots.filter(|(_, slot)| generations.is_current(slot.generation()));
        let loads = current.filter_map(|(id, slot)| Some((slot.load()?, *id)));
        loads.min().map(|(_, id)| id)
    }

    /// Whether an engine of the current generation lives.
    pub(super) fn can_serve(&self, generations: &Generations) -> bool {
        self.least_loaded(generations).is_some()
    }

    /// Number of engines that live.
    pub(super) fn alive(&self) -> usize {
        let slots = self.slots.values();
        slots.filter(|slot| slot.load().is_some()).count()
    }

    /// Asks the engines that have connections how much each has moved; these engines.
    pub(super) fn ask_for_traffic(&mut self, epoll: &Epoll) -> Vec<EngineId> {
        let slots = self.slots.iter();
        let busy = slots.filter(|(_, slot)| slot.load().is_some_and(|load| load > 0));
        let busy: Vec<EngineId> = busy.map(|(id, _)| *id).collect();
        self.send_all(&busy, &ToEngine::ReportTraffic, epoll);
        busy
    }

    /// Renews the ticket keys of all engines whose keys are not from a file, if that is due.
    ///
    /// Errors: no randomness; the old keys stay.
    pub(super) fn rotate_tickets(
        &mut self,
        generations: &mut Generations,
        epoll: &Epoll,
        now: Instant,
    ) -> Result<(), NoRandomness> {
        if now < generations.rotation_due() {
            return Ok(());
        }
        let slots = self.slots.iter().map(|(id, slot)| (*id, slot.generation()));
        // The keys of a file are changed by a reload, and by nothing else.
        let random = slots.filter(|(_, generation)| generation.config.ticket_keys.is_none());
        let (engines, of): (Vec<EngineId>, Vec<_>) = random.unzip();
        let keys = generations.rotate_tickets(of.into_iter(), now)?;
        let message = ToEngine::TicketKeys(keys.clone());
        self.send_all(&engines, &message, epoll);
        Ok(())
    }

    /// The generation of an engine.
    pub(super) fn generation(&self, id: EngineId) -> Option<&Arc<Generation>> {
        self.slots.get(&id).map(Slot::generation)
    }

    /// Counts a connection of an engine.
    pub(super) fn add_connection(&mut self, id: EngineId) {
        if let Some(engine) = self.slots.get_mut(&id).and_then(Slot::engine) {
            engine.load += 1;
        }
    }

    /// Forgets a connection of an engine.
    pub(super) fn remove_connection(&mut self, id: EngineId) {
        if let Some(engine) = self.slots.get_mut(&id).and_then(Slot::engine) {
            engine.load = engine.load.saturating_sub(1);
        }
    }

    /// Receives a message from an engine.
    pub(super) fn receive(&mut self, id: EngineId) -> FromEngine {
        let Some(engine) = self.slots.get_mut(&id).and_then(Slot::engine) else {
            return FromEngine::Nothing;
        };
        match engine.channel.receive() {
            Ok(Received::Empty) => FromEngine::Nothing,
            Ok(Received::Closed) | Err(_) => FromEngine::Closed,
            Ok(Received::Message(_, descriptors)) if !descriptors.is_empty() => {
                FromEngine::Violation(Violation::Descriptors)
            }
            Ok(Received::Message(bytes, _)) => match decode(bytes) {
                Some(ToMonitor::Log { line, .. }) if line.len() > MAX_TEXT => {
                    FromEngine::Violation(Violation::LongText)
                }
                Some(message) => FromEngine::Message(message),
                None => FromEngine::Violation(Violation::Malformed),
            },
        }
    }

    /// Sends a message to an engine, if it lives.
    pub(super) fn send(
        &mut self,
        id: EngineId,
        message: &ToEngine,
        descriptors: Vec<OwnedFd>,
        epoll: &Epoll,
    ) {
        if let Some(engine) = self.slots.get_mut(&id).and_then(Slot::engine) {
            // That the engine is gone is found out by the end of its channel.
            let _ = engine.channel.send(encode(message), descriptors);
            self.flush(id, epoll);
        }
    }

    /// Sends what is queued for an engine; while its channel is full, waits for room.
    pub(super) fn flush(&mut self, id: EngineId, epoll: &Epoll) {
        let Some(engine) = self.slots.get_mut(&id).and_then(Slot::engine) else {
            return;
        };
        if engine.channel.wants_write() {
            let _ = engine.channel.flush();
        }
        let interest = engine.channel.interest();
        if engine.interest != interest {
            engine.interest = interest;
            let mut event = Token::Engine(id).event(interest);
            let _ = epoll.modify(&engine.channel, &mut event);
        }
    }

    /// Notes that a child process has ended, if it was an engine. What it has sent before its end is still
    /// to be received; then its channel ends.
    pub(super) fn exited(&mut self, pid: Pid, ended: Ended) {
        let mut engines = self.slots.values_mut().filter_map(Slot::engine);
        if let Some(engine) = engines.find(|engine| engine.pid == pid) {
            engine.ended = Some(ended);
        }
    }

    /// Ends an engine, if it has not ended by itself. A retired one leaves its slot.
    pub(super) fn end(&mut self, id: EngineId, now: Instant) -> Option<Lost> {
        let slot = self.slots.get_mut(&id)?;
        let (pid, how) = slot.end(now)?;
        let (generation, retired) = (Arc::clone(slot.generation()), slot.is_retired());
        if retired {
            self.slots.remove(&id);
        }
        Some(Lost {
            pid,
            how,
            generation,
            retired,
        })
    }

    /// Ends every engine.
    pub(super) fn end_all(&mut self, now: Instant) {
        for slot in self.slots.values_mut() {
            slot.end(now);
        }
    }

    /// Ends every engine of a generation, and forgets them.
    pub(super) fn remove(&mut self, generation: &Arc<Generation>, now: Instant) {
        let is_of = |slot: &mut Slot| Arc::ptr_eq(slot.generation(), generation);
        for (_, mut slot) in self.slots.extract_if(.., |_, slot| is_of(slot)) {
            slot.end(now);
        }
    }

    /// Retires the engines of a generation: they finish their connections, and no other engine is started
    /// in their place.
    pub(super) fn retire(&mut self, generation: &Arc<Generation>, epoll: &Epoll) {
        self.slots.retain(|_, slot| {
            if Arc::ptr_eq(slot.generation(), generation) {
                slot.retire();
            }
            !slot.is_retired() || slot.load().is_some()
        });
        let retired = self.slots.iter().filter(|(_, slot)| slot.is_retired());
        let retired: Vec<EngineId> = retired.map(|(id, _)| *id).collect();
        self.send_all(&retired, &ToEngine::Drain, epoll);
    }

    /// Lets every engine end after its last connection.
    pub(super) fn drain_all(&mut self, epoll: &Epoll) {
        let all: Vec<EngineId> = self.slots.keys().copied().collect();
        self.send_all(&all, &ToEngine::Drain, epoll);
    }

    fn send_all(&mut self, engines: &[EngineId], message: &ToEngine, epoll: &Epoll) {
        for engine in engines {
            self.send(*engine, message, Vec::new(), epoll);
        }
    }
}
