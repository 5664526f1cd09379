//! The names of backends, and their present addresses.
//!
//! A process of its own (`src/resolve.rs`) looks the names up again and again, within a limited time. A
//! name that it does not find keeps its old addresses; one that never had any is tried again soon.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{ErrorKind, PipeReader, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::epoll::Epoll;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::commands::Commands;
use super::state_log::{Kind, log_state};
use crate::config::{
    Backend, BackendAddress, BackendName, Backends, Config, Destination, Resolved,
};
use crate::log::Logger;
use crate::monitor::token::Token;
use crate::process::LaunchError;
use crate::resolve::{Malformed, parse};
use crate::types::Severity;

/// Time that all names of one look-up may take together.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of output about one name: its addresses at their longest.
const MAX_OUTPUT: usize = 8 * 1024;

/// Time after which a name without an address is looked up again. It doubles each time, up to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The names of all backends.
pub(super) struct Resolver {
    names: BTreeMap<BackendName, Addresses>,
    lookup: Option<Lookup>,
}

/// The addresses of a name.
struct Addresses {
    /// None until the name has resolved for the first time.
    present: Vec<SocketAddr>,
    /// Time between two look-ups; `None`: the name is never looked up again, once it has resolved.
    every: Option<Duration>,
    /// Time until the next look-up, as long as there is no address.
    retry: Duration,
    due: Option<Instant>,
    /// Whether the last look-up failed.
    failing: bool,
}

/// A process that looks names up.
struct Lookup {
    pid: Pid,
    /// Whether the process has been waited for: another process may have its id then.
    ended: bool,
    names: Vec<BackendName>,
    purpose: Purpose,
    pipe: PipeReader,
    output: Vec<u8>,
    until: Instant,
}

/// The purpose of a look-up.
enum Purpose {
    /// The present addresses of names in use.
    Refresh,
    /// A reload that waits for names. It has these already.
    Reload(ForReload),
}

/// The names that a reload has waited for.
pub(in crate::monitor) type ForReload = BTreeMap<BackendName, Resolved>;

impl Resolver {
    /// The names of a configuration, with the addresses that they had when it was loaded.
    pub(super) fn of(config: &Config, now: Instant) -> Self {
        let mut resolver = Self {
            names: BTreeMap::new(),
            lookup: None,
        };
        resolver.replace(config, now);
        resolver
    }

    /// Replaces the names by those of another configuration.
    pub(super) fn replace(&mut self, config: &Config, now: Instant) {
        self.names.clear();
        for host in config.hosts.iter() {
            let Destination::Backends(backends) = &host.destination else {
                continue;
            };
            for backend in &backends.each {
                let Backend::Named(name, addresses) = backend else {
                    continue;
                };
                let known = self.names.entry(name.clone()).or_insert_with(|| Addresses {
                    present: addresses.clone(),
                    every: None,
                    retry: FIRST_RETRY,
                    due: None,
                    failing: addresses.is_empty(),
                });
                // The shortest time of all hosts counts.
                known.every = [known.every, backends.resolve].into_iter().flatten().min();
                known.schedule(now);
            }
        }
    }

    /// Each name, and the number of its present addresses.
    pub(super) fn names(&self) -> impl Iterator<Item = (&BackendName, usize)> {
        let names = self.names.iter();
        names.map(|(name, known)| (name, known.present.len()))
    }

    /// The present addresses of the backends of a host.
    pub(super) fn targets(&self, backends: &Backends) -> Vec<BackendAddress> {
        let mut targets = Vec::with_capacity(backends.each.len());
        for backend in &backends.each {
            match backend {
                Backend::At(target) => targets.push(target.clone()),
                Backend::Named(name, loaded) => {
                    let known = self.names.get(name).map(|known| &known.present);
                    let addresses = known.unwrap_or(loaded).iter();
                    targets.extend(addresses.copied().map(BackendAddress::Tcp));
                }
            }
        }
        targets
    }

    /// Time of the next [`Resolver::refresh`].
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.lookup {
            Some(lookup) => Some(lookup.until),
            None => self.names.values().filter_map(|known| known.due).min(),
        }
    }

    /// Whether a reload waits for names.
    pub(super) fn has_reload(&self) -> bool {
        let lookup = self.lookup.as_ref();
        lookup.is_some_and(|lookup| matches!(lookup.purpose, Purpose::Reload(_)))
    }

    /// Notes that a child process has ended, if it looked up names.
    pub(super) fn exited(&mut self, pid: Pid) {
        if let Some(lookup) = self.lookup.as_mut().filter(|lookup| lookup.pid == pid) {
            lookup.ended = true;
        }
    }

    /// Ends a look-up that has taken too long, or looks up the names that are due. Returns the names that a
    /// reload has waited for.
    ///
    /// Errors: the process cannot be started; the old addresses stay.
    pub(super) fn refresh(
        &mut self,
        config: &Config,
        commands: &mut Commands,
        epoll: &Epoll,
        logger: &mut Logger,
        now: Instant,
    ) -> Result<Option<ForReload>, LaunchError> {
        if self.due().is_none_or(|due| due > now) {
            return Ok(None);
        }
        if self.lookup.is_some() {
            return Ok(self.finish(epoll, logger));
        }
        let due = self.names.iter_mut();
        let due = due.filter(|(_, known)| known.due.is_some_and(|due| due <= now));
        let mut names: Vec<(bool, BackendName)> = due
            .map(|(name, known)| {
                known.retry = (known.retry * 2).min(LONGEST_RETRY);
                known.schedule(now);
                (known.failing, name.clone())
            })
            .collect();
        // Names that failed last time may take long; they come last.
        names.sort();
        let names = names.into_iter().map(|(_, name)| name).collect();
        self.start(names, Purpose::Refresh, config, commands, epoll)?;
        Ok(None)
    }

    /// Looks up names that a reload lacks; `found` are those that it has already.
    ///
    /// Errors: the process cannot be started.
    pub(super) fn look_up_for_reload(
        &mut self,
        names: Vec<BackendName>,
        found: ForReload,
        config: &Config,
        commands: &mut Commands,
        epoll: &Epoll,
    ) -> Result<(), LaunchError> {
        // The names of a look-up under way are among these, or no longer wanted.
        self.end(epoll);
        self.start(names, Purpose::Reload(found), config, commands, epoll)
    }

    /// Reads the output of a look-up; the names that a reload has waited for.
    pub(super) fn read(&mut self, epoll: &Epoll, logger: &mut Logger) -> Option<ForReload> {
        let Some(lookup) = &mut self.lookup else {
            return None;
        };
        let mut chunk = [0; MAX_OUTPUT];
        match lookup.pipe.read(&mut chunk) {
            Ok(n @ 1..) => {
                let most = lookup.names.len().saturating_mul(MAX_OUTPUT);
                lookup.output.extend(chunk.get(..n).unwrap_or_default());
                match lookup.output.len() > most {
                    true => self.finish(epoll, logger),
                    false => None,
                }
            }
            Err(e) if [ErrorKind::Interrupted, ErrorKind::WouldBlock].contains(&e.kind()) => None,
            Ok(_) | Err(_) => self.finish(epoll, logger),
        }
    }

    /// Ends a look-up, because no client will need its addresses. Returns whether a reload waited for it.
    pub(super) fn stop(&mut self, epoll: &Epoll) -> bool {
        let lookup = self.end(epoll);
        lookup.is_some_and(|lookup| matches!(lookup.purpose, Purpose::Reload(_)))
    }

    fn start(
        &mut self,
        names: Vec<BackendName>,
        purpose: Purpose,
        config: &Config,
        commands: &mut Commands,
        epoll: &Epoll,
    ) -> Result<(), LaunchError> {
        let credentials = config.engine_credentials.as_ref();
        let (pid, pipe) = commands.look_up(&names, credentials)?;
        // Without memory for the registration, the output is read when the time is over.
        let _ = epoll.add(&pipe, Token::Resolver.readable());
        self.lookup = Some(Lookup {
            pid,
            ended: false,
            names,
            purpose,
            pipe,
            output: Vec::new(),
            until: Instant::now() + TIMEOUT,
        });
        Ok(())
    }

    fn end(&mut self, epoll: &Epoll) -> Option<Lookup> {
        let lookup = self.lookup.take()?;
        let _ = epoll.delete(&lookup.pipe);
        if !lookup.ended {
            // It may have ended by itself. Nobody has waited for it, so its process id is still its own.
            let _ = kill(lookup.pid, Signal::SIGKILL);
        }
        Some(lookup)
    }

    /// Ends a look-up, and uses what it has found.
    fn finish(&mut self, epoll: &Epoll, logger: &mut Logger) -> Option<ForReload> {
        let lookup = self.end(epoll)?;
        let names = lookup.names;
        let found = parse(&lookup.output, names.len()).unwrap_or_else(|Malformed| {
            let reason = "what was found makes no sense".to_owned();
            vec![Some(Err(reason)); names.len()]
        });
        let found = found
            .into_iter()
            .map(|found| found.unwrap_or_else(|| Err("it took too long".to_owned())));
        let found = names.into_iter().zip(found);
        match lookup.purpose {
            Purpose::Refresh => {
                found.for_each(|(name, found)| self.update(&name, found, logger));
                None
            }
            Purpose::Reload(mut known) => {
                known.extend(found.map(|(name, found)| {
                    let known = self.names.get(&name).map(|known| &known.present);
                    let present = known.filter(|present| !present.is_empty()).cloned();
                    let found = found.or_else(|reason| present.ok_or(reason));
                    (name, found)
                }));
                Some(known)
            }
        }
    }

    /// Takes the result for one name.
    fn update(&mut self, name: &BackendName, found: Resolved, logger: &mut Logger) {
        // Another configuration may have come meanwhile, without this name.
        let Some(known) = self.names.get_mut(name) else {
            return;
        };
        let sorted = |addresses: &[SocketAddr]| {
            let mut addresses = addresses.to_vec();
            addresses.sort();
            addresses
        };
        let (severity, state) = match found {
            Ok(addresses) => {
                let changed = sorted(&addresses) != sorted(&known.present);
                let failing = std::mem::take(&mut known.failing);
                if !changed && !failing {
                    return;
                }
                if changed {
                    known.present = addresses;
                    known.schedule(Instant::now());
                }
                let addresses: Vec<String> =
                    known.present.iter().map(ToString::to_string).collect();
                (Severity::Notice, format!("at {}", addresses.join(", ")))
            }
            Err(_) if known.failing => return,
            Err(reason) => {
                known.failing = true;
                let line = format!("unable to look it up: {reason}; its old addresses stay");
                (Severity::Warning, line)
            }
        };
        log_state(logger, severity, Kind::Name, name, state);
    }
}

impl Addresses {
    /// Sets the time of the next look-up.
    fn schedule(&mut self, now: Instant) {
        let retry = self.present.is_empty().then_some(self.retry);
        let next = self.every.into_iter().chain(retry).min();
        self.due = next.and_then(|next| now.checked_add(next));
    }
}
