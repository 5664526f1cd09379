//! The virtual-host table: (listener, server name, ALPN) → host, and the reason.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::config::host::Host;
use crate::config::listener::{FallbackPolicy, Listener};
use crate::config::name_owners::{NameConflict, NameOwners, PickReason};
use crate::tls::hello::ProtocolNames;
use crate::types::{HostId, ListenerId, NamePattern, ServerName};

/// The virtual hosts of all listeners.
pub struct Hosts {
    hosts: Vec<Host>,
    tables: Vec<Table>,
}

/// The host that a client gets, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The host.
    pub host: HostId,
    /// By which rule its name was chosen.
    pub why: RouteReason,
    /// Why it is this one of the hosts that share the name.
    pub pick: PickReason,
}

/// The rule that chose a host, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteReason {
    /// The name is one of the host's.
    Exact,
    /// This wildcard of the host's stands for it.
    Wildcard(NamePattern),
    /// No host has the name; the listener gives such clients the default host.
    DefaultForUnknown,
    /// The client sent no name; the listener gives such clients the default host.
    DefaultForMissing,
}

/// Why a client gets no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// No host on this listener has the name.
    UnknownName,
    /// The client sent no name, and there is no default, or the listener rejects such clients.
    MissingName,
    /// No host of the name has a protocol that the client offers. `only`: who has it, if that is one host.
    NoProtocol {
        /// The host.
        only: Option<HostId>,
    },
}

/// What one listener routes by. Looking up takes the same time however many hosts there are.
pub(in crate::config) struct Table {
    exact: HashMap<String, NameOwners>,
    /// By what follows `*.`. A wildcard stands for one label, so that at most one can fit a name.
    wildcard: HashMap<String, (ServerName, NameOwners)>,
    default: Option<NameOwners>,
    unknown_name: FallbackPolicy,
    missing_name: FallbackPolicy,
}

impl Hosts {
    /// Hosts and one table for each listener, made of their places.
    pub(in crate::config) fn new(hosts: Vec<Host>, tables: Vec<Table>) -> Self {
        Self { hosts, tables }
    }

    /// The host for a client of a listener (by its place) that asks for a name, or for none, and offers
    /// these protocols. The name decides first: no other host is tried for the sake of a protocol.
    pub fn route(
        &self,
        listener: ListenerId,
        name: Option<&ServerName>,
        offered: &ProtocolNames,
    ) -> Result<Route, RouteError> {
        let found = self
            .tables
            .get(listener.index())
            .and_then(|table| table.find(name));
        let (claims, why) = found.ok_or(match name {
            Some(_) => RouteError::UnknownName,
            None => RouteError::MissingName,
        })?;
        match claims.choose(offered) {
            Some((host, pick)) => Ok(Route {
                host: HostId::new(host),
                why,
                pick,
            }),
            None => Err(RouteError::NoProtocol {
                only: claims.only().map(HostId::new),
            }),
        }
    }

    /// The host at a place that [`Hosts::route`] gave.
    pub fn get(&self, host: HostId) -> Option<&Host> {
        self.hosts.get(host.index())
    }

    /// All of them with their ids, in the order of the file.
    pub fn enumerate(&self) -> impl Iterator<Item = (HostId, &Host)> {
        let hosts = self.hosts.iter().enumerate();
        hosts.map(|(index, host)| (HostId::new(index), host))
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }
}

impl Table {
    /// A listener's table, without hosts as yet.
    pub(in crate::config) fn new(
        unknown_name: FallbackPolicy,
        missing_name: FallbackPolicy,
    ) -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            default: None,
            unknown_name,
            missing_name,
        }
    }

    /// Gives a name to a host, alone or beside others. Errors: who rules that out.
    pub(in crate::config) fn add(
        &mut self,
        pattern: &NamePattern,
        host: usize,
        protocols: &[String],
    ) -> Result<(), NameConflict> {
        match pattern {
            NamePattern::Exact(name) => match self.exact.entry(name.as_str().to_owned()) {
                Entry::Occupied(mut taken) => taken.get_mut().add(host, protocols),
                Entry::Vacant(free) => {
                    free.insert(NameOwners::new(host, protocols));
                    Ok(())
                }
            },
            NamePattern::Wildcard(base) => match self.wildcard.entry(base.as_str().to_owned()) {
                Entry::Occupied(mut taken) => taken.get_mut().1.add(host, protocols),
                Entry::Vacant(free) => {
                    free.insert((base.clone(), NameOwners::new(host, protocols)));
                    Ok(())
                }
            },
        }
    }

    /// Makes a host the default, alone or beside others. Errors: who rules that out.
    pub(in crate::config) fn set_default(
        &mut self,
        host: usize,
        protocols: &[String],
    ) -> Result<(), NameConflict> {
        match &mut self.default {
            Some(claims) => claims.add(host, protocols),
            None => {
                self.default = Some(NameOwners::new(host, protocols));
                Ok(())
            }
        }
    }

    /// The same table with a default host for every protocol.
    pub(in crate::config) fn with_default(self, host: usize) -> Self {
        Self {
            default: Some(NameOwners::new(host, &[])),
            ..self
        }
    }

    /// Whether there is a default host.
    pub(in crate::config) fn has_default(&self) -> bool {
        self.default.is_some()
    }

    /// Whether no host is here at all.
    pub(in crate::config) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty() && self.default.is_none()
    }

    /// Whether any client is given the default host.
    pub(in crate::config) fn uses_default(&self) -> bool {
        self.unknown_name == FallbackPolicy::Default || self.missing_name == FallbackPolicy::Default
    }

    fn find(&self, name: Option<&ServerName>) -> Option<(&NameOwners, RouteReason)> {
        let Some(name) = name else {
            return self.fallback(self.missing_name, RouteReason::DefaultForMissing);
        };
        let name = name.as_str();
        if let Some(claims) = self.exact.get(name) {
            return Some((claims, RouteReason::Exact));
        }
        let wildcard = name
            .split_once('.')
            .and_then(|(_, base)| self.wildcard.get(base));
        if let Some((base, claims)) = wildcard {
            return Some((
                claims,
                RouteReason::Wildcard(NamePattern::Wildcard(base.clone())),
            ));
        }
        self.fallback(self.unknown_name, RouteReason::DefaultForUnknown)
    }

    fn fallback(
        &self,
        policy: FallbackPolicy,
        why: RouteReason,
    ) -> Option<(&NameOwners, RouteReason)> {
        match policy {
            FallbackPolicy::Default => self.default.as_ref().map(|claims| (claims, why)),
            FallbackPolicy::Reject => None,
        }
    }
}

impl From<&Listener> for Table {
    fn from(listener: &Listener) -> Self {
        Self::new(listener.unknown_name, listener.missing_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table that gives unknown names nothing and missing ones the default.
    fn table(patterns: &[(&str, usize)]) -> Table {
        let mut table = Table::new(FallbackPolicy::Reject, FallbackPolicy::Default);
        for (pattern, host) in patterns {
            let pattern = NamePattern::parse(pattern).unwrap();
            table.add(&pattern, *host, &[]).unwrap();
        }
        table
    }

    /// The host for a client that does not use ALPN.
    fn found(table: &Table, name: Option<&ServerName>) -> Option<(usize, RouteReason)> {
        let (claims, why) = table.find(name)?;
        let (host, _) = claims.choose(&ProtocolNames::default())?;
        Some((host, why))
    }

    fn host(table: &Table, name: &str) -> Option<usize> {
        let name = ServerName::parse(name.as_bytes()).unwrap();
        found(table, Some(&name)).map(|(host, _)| host)
    }

    #[test]
    fn an_exact_name_goes_before_a_wildcard() {
        let table = table(&[("*.example.com", 0), ("imap.example.com", 1)]);
        assert_eq!(host(&table, "imap.example.com"), Some(1));
        assert_eq!(host(&table, "smtp.example.com"), Some(0));
    }

    #[test]
    fn the_longest_wildcard_wins() {
        let table = table(&[("*.example.com", 0), ("*.imap.example.com", 1)]);
        assert_eq!(host(&table, "eu.imap.example.com"), Some(1));
        assert_eq!(host(&table, "imap.example.com"), Some(0));
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let table = table(&[("*.example.com", 0)]);
        assert_eq!(host(&table, "a.example.com"), Some(0));
        assert_eq!(host(&table, "example.com"), None);
        assert_eq!(host(&table, "a.b.example.com"), None);
        assert_eq!(host(&table, "evilexample.com"), None);
    }

    #[test]
    fn names_are_compared_without_case_and_trailing_dot() {
        let table = table(&[("Example.COM.", 0)]);
        assert_eq!(host(&table, "eXAMPLE.com"), Some(0));
        assert_eq!(host(&table, "example.com."), Some(0));
    }

    #[test]
    fn the_default_host_serves_whom_the_listener_says() {
        let mut rejecting = table(&[]);
        rejecting.set_default(7, &[]).unwrap();
        assert_eq!(host(&rejecting, "unknown.example"), None);
        let missing = found(&rejecting, None);
        assert_eq!(missing, Some((7, RouteReason::DefaultForMissing)));

        let mut giving = Table::new(FallbackPolicy::Default, FallbackPolicy::Reject);
        giving.set_default(7, &[]).unwrap();
        assert_eq!(host(&giving, "unknown.example"), Some(7));
        assert_eq!(found(&giving, None), None);
    }

    #[test]
    fn a_name_and_the_default_are_given_away_once() {
        let mut table = table(&[("a.example", 0), ("*.example", 1)]);
        let taken = |by| Err(NameConflict { by, protocol: None });
        let pattern = |text| NamePattern::parse(text).unwrap();
        assert_eq!(table.add(&pattern("A.EXAMPLE"), 2, &[]), taken(0));
        assert_eq!(table.add(&pattern("*.example"), 2, &[]), taken(1));
        assert_eq!(table.set_default(3, &[]), Ok(()));
        assert_eq!(table.set_default(4, &[]), taken(3));
        let imap = ["imap".to_owned()];
        assert_eq!(table.add(&pattern("A.EXAMPLE"), 2, &imap), Ok(()));
        assert_eq!(table.set_default(4, &imap), Ok(()));
    }

    #[test]
    fn a_listener_that_does_not_exist_routes_nobody() {
        let hosts = Hosts::new(Vec::new(), Vec::new());
        let none = ProtocolNames::default();
        assert_eq!(
            hosts.route(ListenerId::new(0), None, &none),
            Err(RouteError::MissingName)
        );
        let name = ServerName::parse(b"a.example").unwrap();
        let unknown = hosts.route(ListenerId::new(0), Some(&name), &none);
        assert_eq!(unknown, Err(RouteError::UnknownName));
    }
}
