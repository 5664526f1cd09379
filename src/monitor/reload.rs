//! A new configuration, wholly or not at all.
//!
//! It is loaded and checked, its sockets are bound, and its engines started; the first of them that can
//! serve makes it the current one. Until then nobody has noticed, and if anything is wrong nobody will.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::control::Asker;
use super::engines::{Blueprint, Slot};
use super::listener::Listener;
use super::start::room;
use super::{Monitor, Stop};
use crate::config::{self, Address, ConfigSource, Form, Found, Lookups, Name, Options, Refusal};
use crate::log::Logger;
use crate::message::ToEngine;
use crate::process::raise_descriptor_limit;
use crate::types::{ListenerId, Severity};

/// Where the configuration came from, to be read there again.
pub struct Origin {
    /// The file, or the command line.
    pub source: ConfigSource,
    /// What holds beside it.
    pub options: Options,
}

/// A configuration that waits for its first engine.
pub(super) struct Candidate {
    blueprint: Arc<Blueprint>,
    room: usize,
    /// The new log, where it is another one.
    logger: Option<Logger>,
    /// For each socket of the configuration: its listener's place, and the socket, unless one that is
    /// there already can stay.
    sockets: Vec<(ListenerId, Socket)>,
    /// The same of those for metrics, which have all the same place.
    metrics: Vec<(ListenerId, Socket)>,
}

enum Socket {
    /// That at this place.
    Kept(usize),
    New(Listener),
}

/// What is wrong with a new configuration, a line or several each.
type Problems = Vec<(Severity, String)>;

/// Why there is no candidate.
enum Setback {
    Wrong(Problems),
    /// Names have to be looked up first.
    Unresolved(Vec<Name>),
}

impl From<String> for Setback {
    fn from(line: String) -> Self {
        Self::Wrong(vec![(Severity::Err, line)])
    }
}

impl Monitor {
    /// Starts to take the configuration anew, because of a signal, or because somebody asks who waits for
    /// the result.
    pub(super) fn reload(&mut self, asker: Option<Asker>) {
        if self.candidate.is_some() || self.names.keeps_reload_waiting() {
            // It may have been read too early.
            self.next_reload.get_or_insert_default().extend(asker);
            return;
        }
        self.askers.extend(asker);
        if self.stop != Stop::No || !self.ready {
            return self.reload_failed(&[(Severity::Err, "unable to reload: not serving".into())]);
        }
        self.manager.reloading();
        self.reload_with(BTreeMap::new());
    }

    /// Goes on with a reload, once these names have been looked up.
    pub(super) fn reload_with(&mut self, found: BTreeMap<Name, Found>) {
        match self.prepare(Lookups::Done(&found)) {
            Ok((candidate, warnings)) => {
                self.report(&warnings);
                let now = Instant::now();
                for _ in 0..candidate.blueprint.config.engines {
                    self.slots
                        .insert(self.next_place, Slot::new(&candidate.blueprint, now));
                    self.next_place += 1;
                }
                self.candidate = Some(candidate);
                self.start_engines(now);
            }
            Err(Setback::Unresolved(names)) => self.resolve_for_reload(names, found),
            Err(Setback::Wrong(problems)) => self.reload_failed(&problems),
        }
    }

    /// All that can be done without anybody noticing.
    fn prepare(&self, lookups: Lookups<'_>) -> Result<(Candidate, Problems), Setback> {
        let Some(Origin { source, options }) = &self.origin else {
            return Err("unable to reload: nothing to read anew".to_owned().into());
        };
        let loaded = config::load_with(source, Form::Server, options, lookups);
        let loaded = loaded.map_err(|refusal: Refusal| match refusal.unresolved.is_empty() {
            true => Setback::Wrong(refusal.problems.reports()),
            false => Setback::Unresolved(refusal.unresolved),
        })?;
        let warnings = loaded.problems.reports();
        let config = loaded.config;
        let logger = match config.log == self.blueprint.config.log {
            true => None,
            false => Some(
                Logger::open(&config.log).map_err(|e| format!("unable to open the log: {e}"))?,
            ),
        };
        let limit = raise_descriptor_limit()
            .map_err(|e| format!("unable to raise the limit of descriptors: {e}"))?;
        let listeners = config.listeners.iter().map(|listener| &listener.address);
        let sockets = self.sockets(listeners, &self.listeners)?;
        let metrics = config.metrics.iter();
        let metrics = self.sockets(metrics, &self.reporting.listeners)?;
        let room = room(&config, limit.1);
        let blueprint = Blueprint::new(config, &self.keys)?;
        let candidate = Candidate {
            blueprint: Arc::new(blueprint),
            room,
            logger,
            sockets,
            metrics,
        };
        Ok((candidate, warnings))
    }

    /// Those of `old` that stay, and new ones, bound.
    fn sockets<'a>(
        &self,
        addresses: impl Iterator<Item = &'a Address>,
        old: &[Listener],
    ) -> Result<Vec<(ListenerId, Socket)>, String> {
        let mut sockets = Vec::new();
        let mut kept = vec![false; old.len()];
        for (index, address) in addresses.enumerate() {
            let place = ListenerId::new(index);
            for at in Listener::places(address, &self.passed) {
                let mut old = old.iter().zip(&mut kept).enumerate();
                let same = old.find(|(_, (old, kept))| !**kept && old.is_at(&at));
                let socket = match same {
                    Some((old, (_, kept))) => {
                        *kept = true;
                        Socket::Kept(old)
                    }
                    None => Socket::New(Listener::bind(place, at)?),
                };
                sockets.push((place, socket));
            }
        }
        Ok(sockets)
    }

    /// An engine can serve: where it is the candidate's first, the candidate takes over.
    pub(super) fn engine_ready(&mut self, place: usize) {
        let slot = self.slots.get(&place);
        let of_candidate = |candidate: &mut Candidate| {
            slot.is_some_and(|slot| Arc::ptr_eq(&slot.blueprint, &candidate.blueprint))
        };
        if let Some(candidate) = self.candidate.take_if(of_candidate) {
            self.take_over(candidate);
        }
    }

    fn take_over(&mut self, candidate: Candidate) {
        let retired = std::mem::replace(&mut self.blueprint, candidate.blueprint);
        self.room = candidate.room;
        self.names.replace(&self.blueprint.config, Instant::now());
        if let Some(logger) = candidate.logger {
            self.logger.finish();
            self.logger = logger;
        }
        self.deafen();
        let old = std::mem::take(&mut self.listeners);
        self.listeners = self.take_sockets(old, candidate.sockets, "listening on");
        self.deafen_metrics();
        let old = std::mem::take(&mut self.reporting.listeners);
        let metrics = self.take_sockets(old, candidate.metrics, "metrics at");
        self.move_metrics(metrics);
        self.numbers.configured(&self.blueprint.config);
        self.slots.retain(|_, slot| {
            slot.retired |= Arc::ptr_eq(&slot.blueprint, &retired);
            !slot.retired || slot.load().is_some()
        });
        for place in self.places() {
            if self.slots.get(&place).is_some_and(|slot| slot.retired) {
                self.tell(place, &ToEngine::Drain, Vec::new());
            }
        }
        self.next_staple(SystemTime::now());
        self.reload_done("reloaded", None);
    }

    /// The sockets to go on with; those of the old ones that go, and those that are new, are what `what`
    /// says.
    fn take_sockets(
        &mut self,
        old: Vec<Listener>,
        sockets: Vec<(ListenerId, Socket)>,
        what: &str,
    ) -> Vec<Listener> {
        let mut old: Vec<_> = old.into_iter().map(Some).collect();
        let mut listeners = Vec::new();
        for (place, socket) in sockets {
            match socket {
                Socket::Kept(kept) => {
                    if let Some(mut listener) = old.get_mut(kept).and_then(Option::take) {
                        listener.index = place;
                        listeners.push(listener);
                    }
                }
                Socket::New(listener) => {
                    let line = format!("{what} {listener}");
                    self.logger.say(Severity::Notice, &line);
                    listeners.push(listener);
                }
            }
        }
        for listener in old.into_iter().flatten() {
            let line = format!("no longer {what} {listener}");
            self.logger.say(Severity::Notice, &line);
        }
        listeners
    }

    /// An engine of the candidate has died before any of them could serve.
    pub(super) fn candidate_failed(&mut self, why: &str) {
        let Some(candidate) = self.candidate.take() else {
            return;
        };
        let now = Instant::now();
        for (_, mut slot) in self.slots.extract_if(.., |_, slot| {
            Arc::ptr_eq(&slot.blueprint, &candidate.blueprint)
        }) {
            slot.bury(now);
        }
        let line = format!("unable to start an engine: {why}");
        self.reload_failed(&[(Severity::Err, line)]);
    }

    pub(super) fn reload_failed(&mut self, problems: &[(Severity, String)]) {
        self.report(problems);
        self.manager.reload_refused(problems);
        self.reload_done(
            "not reloaded: the old configuration stays",
            Some(Severity::Err),
        );
    }

    fn report(&mut self, problems: &[(Severity, String)]) {
        for (severity, text) in problems {
            // One line per fact: what the line of the file is, is for who asks.
            let line = text.lines().next().unwrap_or_default();
            self.logger.say(*severity, line);
            for asker in &mut self.askers {
                asker.tell(text);
            }
        }
    }

    fn reload_done(&mut self, line: &str, failed: Option<Severity>) {
        self.logger.say(failed.unwrap_or(Severity::Notice), line);
        self.numbers
            .reloaded(if failed.is_none() { "ok" } else { "failed" });
        for asker in self.askers.drain(..) {
            asker.finish(line, failed.is_none());
        }
        self.tell_reloaded();
        if let Some(askers) = self.next_reload.take() {
            self.askers = askers;
            self.reload(None);
        }
    }
}
