//! One configuration at work, and what runs out while it is: ticket keys and OCSP responses.
#![forbid(unsafe_code)]

mod staples;
mod tickets;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::config::{Config, Host};
use crate::engine::Acceptor;
use crate::tls::provider::provider;
use crate::tls::tickets::{TicketKeyRing, TicketKeys};
use crate::tls::words;
use crate::types::{HostId, ListenerId};
use staples::StapleExpiry;

pub(super) use tickets::{NoRandomness, TicketRotation};

/// One configuration, and what its engines and clients share.
pub(super) struct Generation {
    /// The configuration.
    pub(super) config: Config,
    /// TLS of each host, in the order of the file.
    pub(super) acceptors: Vec<Acceptor>,
    /// Keys of the engines' session tickets.
    pub(super) ring: TicketKeyRing,
    host_keys: Vec<HostKey>,
}

/// A host as its limit counts it, in one configuration and in the next: its label, and the number of
/// hosts before it with the same label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HostKey(String, usize);

impl Generation {
    /// `keys` seal tickets, unless the configuration has keys of its own.
    ///
    /// Errors: why this configuration cannot serve.
    pub(super) fn new(config: Config, keys: &TicketKeys) -> Result<Self, String> {
        let no_randomness = |_| "unable to make ticket keys: no randomness".to_owned();
        let keys = config.ticket_keys.as_ref().unwrap_or(keys);
        let ring = TicketKeyRing::new(keys).map_err(no_randomness)?;
        let provider = provider();
        let acceptors = config.hosts.iter();
        let acceptors = acceptors.map(|host| Acceptor::new(host, config.form, &provider, &ring));
        let acceptors = acceptors
            .collect::<Result<_, _>>()
            .map_err(|e| format!("unable to set up TLS: {}", words::session(&e)))?;
        let host_keys = HostKey::of(config.hosts.iter().map(|host| host.label.as_str()));
        Ok(Self {
            config,
            acceptors,
            ring,
            host_keys,
        })
    }

    /// A host of the configuration.
    pub(super) fn host(&self, id: HostId) -> Option<&Host> {
        self.config.hosts.get(id)
    }

    /// The key that the limit of a host counts by.
    pub(super) fn host_key(&self, id: HostId) -> Option<&HostKey> {
        self.host_keys.get(id.index())
    }

    /// The name of a listener.
    pub(super) fn listener_name(&self, id: ListenerId) -> Option<&str> {
        let listener = self.config.listener(id);
        listener.map(|listener| listener.name.as_str())
    }
}

impl HostKey {
    /// The keys of hosts with these labels.
    fn of<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<Self> {
        let mut known = HashMap::new();
        labels
            .map(|label| {
                let count = known.entry(label).or_insert(0_usize);
                *count += 1;
                Self(label.to_owned(), *count - 1)
            })
            .collect()
    }
}

/// The generation that accepts new clients.
pub(super) struct Generations {
    current: Arc<Generation>,
    tickets: TicketRotation,
    staples: StapleExpiry,
}

impl Generations {
    /// The first generation.
    ///
    /// Errors: why the configuration cannot serve.
    pub(super) fn new(config: Config, tickets: TicketRotation) -> Result<Self, String> {
        let current = Arc::new(Generation::new(config, tickets.keys())?);
        Ok(Self {
            staples: StapleExpiry::of(&current.config, SystemTime::now()),
            current,
            tickets,
        })
    }

    /// The generation that accepts new clients.
    pub(super) fn current(&self) -> &Arc<Generation> {
        &self.current
    }

    /// Whether a generation is the one that accepts new clients.
    pub(super) fn is_current(&self, generation: &Arc<Generation>) -> bool {
        Arc::ptr_eq(&self.current, generation)
    }

    /// A generation that may replace the current one.
    ///
    /// Errors: why the configuration cannot serve.
    pub(super) fn candidate(&self, config: Config) -> Result<Arc<Generation>, String> {
        Generation::new(config, self.tickets.keys()).map(Arc::new)
    }

    /// Makes a generation the current one; returns the one before.
    pub(super) fn replace(&mut self, generation: Arc<Generation>) -> Arc<Generation> {
        self.staples = StapleExpiry::of(&generation.config, SystemTime::now());
        std::mem::replace(&mut self.current, generation)
    }

    /// Time of the next [`Generations::rotate_tickets`].
    pub(super) fn rotation_due(&self) -> Instant {
        self.tickets.due()
    }

    /// Makes new ticket keys for these generations; the keys for their engines.
    ///
    /// Errors: no randomness; the old keys stay.
    pub(super) fn rotate_tickets<'a>(
        &mut self,
        generations: impl Iterator<Item = &'a Arc<Generation>>,
        now: Instant,
    ) -> Result<&TicketKeys, NoRandomness> {
        self.tickets.rotate(generations, now)
    }

    /// A warning for each OCSP response of the current generation that has expired since the last call.
    pub(super) fn expired_staples(&mut self, now: SystemTime) -> Vec<String> {
        self.staples.expired(&self.current.config, now)
    }
}

/// Descriptors of a process that belong to no connection, generously.
const OTHER_DESCRIPTORS: usize = 64;

/// Maximum number of connections if a process may have so many descriptors: an engine needs up to three for
/// each of its connections, the monitor one for each.
pub(super) fn capacity(config: &Config, descriptors: u64) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let spare = descriptors.saturating_sub(OTHER_DESCRIPTORS);
    let engines = (spare / 3).saturating_mul(config.engines);
    config.limits.connections.min(engines).min(spare).max(1)
}
