//! A reload: a new configuration takes over completely, or not at all.
//!
//! The configuration is loaded and checked, its sockets are bound, and its engines are started. The first of
//! them that can serve makes it the current one. Until then nothing has changed, and if anything is wrong
//! nothing will.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::generation::{self, Generation, Generations};
use super::listeners::{Listeners, Plan};
use super::report::{AdminClient, ReloadResult};
use crate::config::{self, BackendName, ConfigSource, Form, NameLookup, Options, Refusal};
use crate::log::{self, Logger};
use crate::process::raise_descriptor_limit;
use crate::types::{Severity, cause};

/// The arguments that the configuration was loaded with, to load it again.
pub struct LoadArguments {
    /// The file, or the command line.
    pub source: ConfigSource,
    /// The options beside it.
    pub options: Options,
}

/// The reload that is under way, and the clients that wait for it.
pub(super) struct Reload {
    /// `None`: the configuration is never loaded again.
    arguments: Option<LoadArguments>,
    /// A new configuration, until one of its engines can serve.
    candidate: Option<Candidate>,
    /// Clients of the control socket that wait for the result.
    waiters: Vec<AdminClient>,
    /// Clients that wait for the result of the next reload, if one was requested.
    next: Option<Vec<AdminClient>>,
}

/// A configuration that waits for its first engine.
pub(super) struct Candidate {
    /// The configuration and its TLS.
    pub(super) generation: Arc<Generation>,
    /// Maximum number of connections.
    pub(super) capacity: usize,
    /// The new log, if it is another one.
    pub(super) logger: Option<Logger>,
    /// The sockets for clients.
    pub(super) listeners: Plan,
    /// The sockets for metrics.
    pub(super) metrics: Plan,
}

/// Problems of a configuration: each of one or several lines.
pub(super) type Problems = Vec<(Severity, String)>;

/// Why there is no candidate.
pub(super) enum Setback {
    /// The configuration is wrong, or cannot be used.
    Wrong(Problems),
    /// Names have to be looked up first.
    Unresolved(Vec<BackendName>),
}

/// What follows a request for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Requested {
    /// The reload begins.
    Now,
    /// Another reload is under way, and may have read the configuration too early.
    Later,
}

impl From<String> for Setback {
    fn from(line: String) -> Self {
        Self::Wrong(vec![(Severity::Err, line)])
    }
}

impl Reload {
    /// Reloads with these arguments; `None`: there is no reload.
    pub(super) fn new(arguments: Option<LoadArguments>) -> Self {
        Self {
            arguments,
            candidate: None,
            waiters: Vec::new(),
            next: None,
        }
    }

    /// Whether there is anything to load again.
    pub(super) fn is_possible(&self) -> bool {
        self.arguments.is_some()
    }

    /// Takes a request of a client, or of a signal. `waits_for_names`: a reload waits for a look-up.
    pub(super) fn request(
        &mut self,
        client: Option<AdminClient>,
        waits_for_names: bool,
    ) -> Requested {
        if self.candidate.is_some() || waits_for_names {
            self.next.get_or_insert_default().extend(client);
            return Requested::Later;
        }
        self.waiters.extend(client);
        Requested::Now
    }

    /// Loads and checks a new configuration, binds its sockets and opens its log. Clients do not notice.
    pub(super) fn prepare(
        &self,
        lookups: NameLookup<'_>,
        generations: &Generations,
        listeners: &Listeners,
        metrics: &Listeners,
    ) -> Result<(Candidate, Problems), Setback> {
        let Some(LoadArguments { source, options }) = &self.arguments else {
            return Err("unable to reload: nothing to read anew".to_owned().into());
        };
        let loaded = config::load_with(source, Form::Server, options, lookups);
        let loaded = loaded.map_err(|refusal: Refusal| match refusal.unresolved.is_empty() {
            true => Setback::Wrong(refusal.problems.reports()),
            false => Setback::Unresolved(refusal.unresolved),
        })?;
        let warnings = loaded.problems.reports();
        let config = loaded.config;
        let (old, new) = (&generations.current().config.log, &config.log);
        let logger = match (&old.to, old.format) == (&new.to, new.format) {
            true => None,
            false => Some(Logger::open(new).map_err(|e| log::cannot_open(&new.to, &e))?),
        };
        let limit = raise_descriptor_limit()
            .map_err(|e| format!("unable to raise the limit of descriptors: {}", cause(&e)))?;
        let addresses = config.listeners.iter().map(|listener| &listener.address);
        let listeners = listeners.plan(addresses)?;
        let metrics = metrics.plan(config.metrics.iter())?;
        let candidate = Candidate {
            capacity: generation::capacity(&config, limit.1),
            generation: generations.candidate(config)?,
            logger,
            listeners,
            metrics,
        };
        Ok((candidate, warnings))
    }

    /// Keeps a candidate until one of its engines can serve.
    pub(super) fn set_candidate(&mut self, candidate: Candidate) {
        self.candidate = Some(candidate);
    }

    /// Takes the candidate.
    pub(super) fn take_candidate(&mut self) -> Option<Candidate> {
        self.candidate.take()
    }

    /// Takes the candidate, if it is of this generation.
    pub(super) fn take_candidate_of(&mut self, generation: &Arc<Generation>) -> Option<Candidate> {
        let is_of = |candidate: &mut Candidate| Arc::ptr_eq(&candidate.generation, generation);
        self.candidate.take_if(is_of)
    }

    /// Tells the log and the clients that wait about problems.
    pub(super) fn tell(&mut self, problems: &[(Severity, String)], logger: &mut Logger) {
        for (severity, text) in problems {
            // The log gets one line per problem; clients see the lines of the file, too.
            logger.say(*severity, text.lines().next().unwrap_or_default());
            for client in &mut self.waiters {
                client.send(text);
            }
        }
    }

    /// Ends the answers to the clients that wait, with this line.
    pub(super) fn finish(&mut self, line: &str, result: ReloadResult) {
        for client in self.waiters.drain(..) {
            client.finish(line, result);
        }
    }

    /// Lets the clients of the next reload wait for it; whether it was requested.
    pub(super) fn begin_next(&mut self) -> bool {
        let next = self.next.take();
        let requested = next.is_some();
        self.waiters.extend(next.unwrap_or_default());
        requested
    }
}
