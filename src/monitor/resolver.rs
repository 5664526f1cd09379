//! The names of backends, and the addresses that they have now.
//!
//! They are looked up again every so often, by a process of its own (`src/resolve.rs`) that has so much time
//! and no more. What it finds holds from then on; where it finds nothing, what was found before still does.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, PipeReader, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::event::Source;
use super::{Monitor, Stop};
use crate::config::{Answer, Backend, Backends, Config, Found, Name, Target};
use crate::log::Allowance;
use crate::process::LaunchError;
use crate::resolve::{Nonsense, read};
use crate::types::Severity;

/// How long all names that are due may take together.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that is read about one name, in bytes: its addresses at their longest.
const MOST_OF_ONE: usize = 8 * 1024;
/// Lines about names, in a second.
const LINES: u32 = 20;

/// The names of all backends.
#[derive(Default)]
pub(super) struct Names {
    known: BTreeMap<Name, Known>,
    lookup: Option<Lookup>,
}

/// What is known of a name.
struct Known {
    addresses: Vec<SocketAddr>,
    /// How often it is looked up; `None`: never.
    every: Option<Duration>,
    due: Option<Instant>,
    /// Whether that did not work the last time.
    failing: bool,
}

/// A process that looks names up.
struct Lookup {
    pid: Pid,
    /// Whether it has been waited for: its process id is somebody else's then.
    ended: bool,
    names: Vec<Name>,
    purpose: Purpose,
    pipe: PipeReader,
    output: Vec<u8>,
    until: Instant,
}

/// What names are looked up for.
enum Purpose {
    /// Their time has come.
    Due,
    /// A reload that waits for them, and has those already.
    Reload(BTreeMap<Name, Found>),
}

impl Names {
    /// Those of a configuration, with the addresses that were found when it was loaded.
    pub(super) fn of(config: &Config, now: Instant) -> Self {
        let mut names = Self::default();
        names.replace(config, now);
        names
    }

    /// Takes those of another configuration in place of these.
    pub(super) fn replace(&mut self, config: &Config, now: Instant) {
        self.known.clear();
        for host in config.hosts.iter() {
            let Answer::Backends(backends) = &host.answer else {
                continue;
            };
            for backend in &backends.each {
                let Backend::Named(name, addresses) = backend else {
                    continue;
                };
                let known = self.known.entry(name.clone()).or_insert_with(|| Known {
                    addresses: addresses.clone(),
                    every: None,
                    due: None,
                    failing: false,
                });
                // Hosts may differ; the most impatient of them decides.
                let every = [known.every, backends.resolve].into_iter().flatten().min();
                known.every = every;
                known.due = every.and_then(|every| now.checked_add(every));
            }
        }
    }

    /// What the backends of a host are now.
    pub(super) fn targets(&self, backends: &Backends) -> Vec<Target> {
        let mut targets = Vec::with_capacity(backends.each.len());
        for backend in &backends.each {
            match backend {
                Backend::At(target) => targets.push(target.clone()),
                Backend::Named(name, loaded) => {
                    let known = self.known.get(name).map(|known| &known.addresses);
                    let addresses = known.unwrap_or(loaded).iter();
                    targets.extend(addresses.copied().map(Target::Tcp));
                }
            }
        }
        targets
    }

    fn addresses(&self, name: &Name) -> Option<Vec<SocketAddr>> {
        let known = self.known.get(name);
        known.map(|known| known.addresses.clone())
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.lookup {
            Some(lookup) => Some(lookup.until),
            None => self.known.values().filter_map(|known| known.due).min(),
        }
    }

    /// A child has been waited for.
    pub(super) fn reaped(&mut self, pid: Pid) {
        if let Some(lookup) = self.lookup.as_mut().filter(|lookup| lookup.pid == pid) {
            lookup.ended = true;
        }
    }

    /// Whether a reload waits for names.
    pub(super) fn keeps_reload_waiting(&self) -> bool {
        let lookup = self.lookup.as_ref();
        lookup.is_some_and(|lookup| matches!(lookup.purpose, Purpose::Reload(_)))
    }
}

impl Monitor {
    /// Has the names looked up that are due, and waits no longer for what takes too long.
    pub(super) fn resolve(&mut self, now: Instant) {
        if self.stop != Stop::No || self.names.due().is_none_or(|due| due > now) {
            return;
        }
        if self.names.lookup.is_some() {
            return self.resolved();
        }
        let known = self.names.known.iter_mut();
        let mut names: Vec<(bool, Name)> = known
            .filter(|(_, known)| known.due.is_some_and(|due| due <= now))
            .map(|(name, known)| {
                known.due = known.every.and_then(|every| now.checked_add(every));
                (known.failing, name.clone())
            })
            .collect();
        // Those that may take long don't keep the others waiting.
        names.sort();
        let names: Vec<Name> = names.into_iter().map(|(_, name)| name).collect();
        if let Err(e) = self.start_lookup(names, Purpose::Due) {
            let line = format!("unable to look names up: {e}; the old addresses stay");
            self.logger.say(Severity::Err, &line);
        }
    }

    /// Has names looked up that a reload lacks, which goes on once that is done.
    pub(super) fn resolve_for_reload(&mut self, names: Vec<Name>, found: BTreeMap<Name, Found>) {
        // What it has not found yet is among these, or no longer wanted.
        self.end_lookup();
        if let Err(e) = self.start_lookup(names, Purpose::Reload(found)) {
            let line = format!("unable to look names up: {e}");
            self.reload_failed(&[(Severity::Err, line)]);
        }
    }

    /// Nobody is served any more who would need an address that is not known.
    pub(super) fn resolve_no_more(&mut self) {
        let lookup = self.end_lookup();
        if lookup.is_some_and(|lookup| matches!(lookup.purpose, Purpose::Reload(_))) {
            let line = "unable to reload: told to stop".to_owned();
            self.reload_failed(&[(Severity::Err, line)]);
        }
    }

    fn start_lookup(&mut self, names: Vec<Name>, purpose: Purpose) -> Result<(), LaunchError> {
        let credentials = self.blueprint.config.engine_credentials.as_ref();
        let (pid, pipe) = self.commands.look_up(&names, credentials)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, Source::Resolver.token());
        // Without memory for it, what is found is read when the time is over.
        let _ = self.epoll.add(&pipe, event);
        self.names.lookup = Some(Lookup {
            pid,
            ended: false,
            names,
            purpose,
            pipe,
            output: Vec::new(),
            until: Instant::now() + PATIENCE,
        });
        Ok(())
    }

    fn end_lookup(&mut self) -> Option<Lookup> {
        let lookup = self.names.lookup.take()?;
        let _ = self.epoll.delete(&lookup.pipe);
        if !lookup.ended {
            // It may have ended by itself; it is ours to wait for all the same.
            let _ = kill(lookup.pid, Signal::SIGKILL);
        }
        Some(lookup)
    }

    /// Takes what has been found.
    pub(super) fn hear_resolver(&mut self) {
        let Some(lookup) = &mut self.names.lookup else {
            return;
        };
        let mut chunk = [0; MOST_OF_ONE];
        match lookup.pipe.read(&mut chunk) {
            Ok(n @ 1..) => {
                let most = lookup.names.len().saturating_mul(MOST_OF_ONE);
                lookup.output.extend(chunk.get(..n).unwrap_or_default());
                if lookup.output.len() > most {
                    self.resolved();
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.raw_os_error().map(Errno::from_raw) == Some(Errno::EAGAIN) => {}
            Ok(_) | Err(_) => self.resolved(),
        }
    }

    /// Ends the process, and believes what it has found.
    fn resolved(&mut self) {
        let Some(lookup) = self.end_lookup() else {
            return;
        };
        let names = lookup.names;
        let found = read(&lookup.output, names.len()).unwrap_or_else(|Nonsense| {
            let reason = "what was found makes no sense".to_owned();
            vec![Some(Err(reason)); names.len()]
        });
        let found = found
            .into_iter()
            .map(|found| found.unwrap_or_else(|| Err("it took too long".to_owned())));
        let found = names.into_iter().zip(found);
        match lookup.purpose {
            Purpose::Due => found.for_each(|(name, found)| self.found(&name, found)),
            Purpose::Reload(mut known) => {
                known.extend(found.map(|(name, found)| {
                    let found = found.or_else(|reason| self.names.addresses(&name).ok_or(reason));
                    (name, found)
                }));
                self.reload_with(known);
            }
        }
    }

    fn found(&mut self, name: &Name, found: Found) {
        let Some(known) = self.names.known.get_mut(name) else {
            return; // another configuration has come meanwhile
        };
        let sorted = |addresses: &[SocketAddr]| {
            let mut addresses = addresses.to_vec();
            addresses.sort();
            addresses
        };
        let (severity, line) = match found {
            Ok(addresses) => {
                let changed = sorted(&addresses) != sorted(&known.addresses);
                let failing = std::mem::take(&mut known.failing);
                if !changed && !failing {
                    return;
                }
                if changed {
                    known.addresses = addresses;
                }
                let addresses: Vec<String> =
                    known.addresses.iter().map(ToString::to_string).collect();
                (Severity::Notice, format!("at {}", addresses.join(", ")))
            }
            Err(_) if known.failing => return,
            Err(reason) => {
                known.failing = true;
                let line = format!("unable to look it up: {reason}; its old addresses stay");
                (Severity::Warning, line)
            }
        };
        let fields = vec![("backend", name.to_string().into()), ("state", line.into())];
        let allowance = Allowance::PerSecond(LINES, "names");
        self.logger.fields(severity, &fields, allowance);
    }
}
