//! Routing: finds the host for a listener, a server name and ALPN protocols, and gives the reason.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::config::host::Host;
use crate::config::listener::{FallbackPolicy, Listener};
use crate::config::name_owners::{NameConflict, NameOwners, PickReason};
use crate::tls::hello::ProtocolNames;
use crate::types::{HostId, ListenerId, NamePattern, ServerName};

/// Virtual hosts, and the table that routes the clients of each listener to them.
pub struct Hosts {
    hosts: Vec<Host>,
    tables: Vec<RoutingTable>,
}

/// Host that a client gets, and the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The host.
    pub host: HostId,
    /// Rule that matched the server name.
    pub why: RouteReason,
    /// Reason for the choice among the hosts that share the name.
    pub pick: PickReason,
}

/// Rule that matched the server name. The rules are tried in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteReason {
    /// The name is one of the names of the host.
    Exact,
    /// This wildcard of the host matches the name.
    Wildcard(NamePattern),
    /// No host has the name, and the listener gives such clients the default host.
    DefaultForUnknown,
    /// The client sent no name, and the listener gives such clients the default host.
    DefaultForMissing,
}

/// Reason why a client gets no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// No host on this listener has the name.
    UnknownName,
    /// The client sent a name that is no DNS name, and the listener has no default host or rejects unknown names.
    UnfitName,
    /// The client sent no name, and the listener has no default host or rejects such clients.
    MissingName,
    /// No host that has the name lists a protocol which the client offers.
    NoProtocol {
        /// The host that has the name, if there is only one.
        only: Option<HostId>,
    },
}

/// Routing table of one listener. The time of a lookup does not depend on the number of hosts.
pub(in crate::config) struct RoutingTable {
    /// Owners of each exact name.
    exact: HashMap<String, NameOwners>,
    /// Owners of each wildcard, by the part after `*.`. A wildcard stands for one label, so a name
    /// matches at most one.
    wildcard: HashMap<String, (ServerName, NameOwners)>,
    /// Default hosts.
    default: Option<NameOwners>,
    unknown_name: FallbackPolicy,
    missing_name: FallbackPolicy,
}

impl Hosts {
    /// Makes the virtual hosts of a configuration. There is one table per listener, in the same order.
    pub(in crate::config) fn new(hosts: Vec<Host>, tables: Vec<RoutingTable>) -> Self {
        Self { hosts, tables }
    }

    /// Finds the host for a client that sends this server name, or none, and offers these protocols.
    /// The name decides first: no host with another name is tried if the protocols do not match.
    pub fn route(
        &self,
        listener: ListenerId,
        name: Option<&ServerName>,
        offered: &ProtocolNames,
    ) -> Result<Route, RouteError> {
        let table = self.tables.get(listener.index());
        let found = table.and_then(|table| table.find(name));
        let (owners, why) = found.ok_or(match name {
            Some(_) => RouteError::UnknownName,
            None => RouteError::MissingName,
        })?;
        choose(owners, why, offered)
    }

    /// Finds the host for a client that sends a name which is no DNS name, and offers these protocols. Such a name
    /// counts as unknown.
    pub fn route_unfit(
        &self,
        listener: ListenerId,
        offered: &ProtocolNames,
    ) -> Result<Route, RouteError> {
        let table = self.tables.get(listener.index());
        let found = table.and_then(RoutingTable::unknown);
        let (owners, why) = found.ok_or(RouteError::UnfitName)?;
        choose(owners, why, offered)
    }

    /// The host with this id.
    pub fn get(&self, host: HostId) -> Option<&Host> {
        self.hosts.get(host.index())
    }

    /// All hosts, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }
}

/// Chooses one of the hosts that a rule leads to.
fn choose(
    owners: &NameOwners,
    why: RouteReason,
    offered: &ProtocolNames,
) -> Result<Route, RouteError> {
    match owners.choose(offered) {
        Some((host, pick)) => Ok(Route { host, why, pick }),
        None => Err(RouteError::NoProtocol {
            only: owners.only(),
        }),
    }
}

impl RoutingTable {
    /// Makes the routing table of a listener, without hosts.
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

    /// Adds a name of a host. Errors: a host that has the name conflicts with this one.
    pub(in crate::config) fn add(
        &mut self,
        pattern: &NamePattern,
        host: HostId,
        protocols: &[String],
    ) -> Result<(), NameConflict> {
        match pattern {
            NamePattern::Exact(name) => match self.exact.entry(name.as_str().to_owned()) {
                Entry::Occupied(mut entry) => entry.get_mut().add(host, protocols),
                Entry::Vacant(entry) => {
                    entry.insert(NameOwners::new(host, protocols));
                    Ok(())
                }
            },
            NamePattern::Wildcard(base) => match self.wildcard.entry(base.as_str().to_owned()) {
                Entry::Occupied(mut entry) => entry.get_mut().1.add(host, protocols),
                Entry::Vacant(entry) => {
                    entry.insert((base.clone(), NameOwners::new(host, protocols)));
                    Ok(())
                }
            },
        }
    }

    /// Adds a default host. Errors: another default host conflicts with this one.
    pub(in crate::config) fn set_default(
        &mut self,
        host: HostId,
        protocols: &[String],
    ) -> Result<(), NameConflict> {
        match &mut self.default {
            Some(owners) => owners.add(host, protocols),
            None => {
                self.default = Some(NameOwners::new(host, protocols));
                Ok(())
            }
        }
    }

    /// Returns the table with this default host for all protocols.
    pub(in crate::config) fn with_default(self, host: HostId) -> Self {
        Self {
            default: Some(NameOwners::new(host, &[])),
            ..self
        }
    }

    /// Whether there is a default host.
    pub(in crate::config) fn has_default(&self) -> bool {
        self.default.is_some()
    }

    /// Whether the table has no hosts.
    pub(in crate::config) fn is_empty(&self) -> bool {
        !self.has_names() && self.default.is_none()
    }

    /// Whether any host of the listener has names.
    pub(in crate::config) fn has_names(&self) -> bool {
        !self.exact.is_empty() || !self.wildcard.is_empty()
    }

    /// Whether the listener gives the default host to any clients.
    pub(in crate::config) fn uses_default(&self) -> bool {
        self.unknown_name == FallbackPolicy::Default || self.missing_name == FallbackPolicy::Default
    }

    /// Finds the hosts that a server name, or a missing one, leads to, and the rule.
    fn find(&self, name: Option<&ServerName>) -> Option<(&NameOwners, RouteReason)> {
        let Some(name) = name else {
            return self.fallback(self.missing_name, RouteReason::DefaultForMissing);
        };
        let name = name.as_str();
        if let Some(owners) = self.exact.get(name) {
            return Some((owners, RouteReason::Exact));
        }
        let wildcard = name
            .split_once('.')
            .and_then(|(_, base)| self.wildcard.get(base));
        if let Some((base, owners)) = wildcard {
            return Some((
                owners,
                RouteReason::Wildcard(NamePattern::Wildcard(base.clone())),
            ));
        }
        self.unknown()
    }

    /// The hosts for a name that no host has, and the rule.
    fn unknown(&self) -> Option<(&NameOwners, RouteReason)> {
        self.fallback(self.unknown_name, RouteReason::DefaultForUnknown)
    }

    fn fallback(
        &self,
        policy: FallbackPolicy,
        why: RouteReason,
    ) -> Option<(&NameOwners, RouteReason)> {
        match policy {
            FallbackPolicy::Default => self.default.as_ref().map(|owners| (owners, why)),
            FallbackPolicy::Reject => None,
        }
    }
}

impl From<&Listener> for RoutingTable {
    fn from(listener: &Listener) -> Self {
        Self::new(listener.unknown_name, listener.missing_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table that rejects unknown names and gives the default host for missing ones.
    fn table(patterns: &[(&str, usize)]) -> RoutingTable {
        let mut table = RoutingTable::new(FallbackPolicy::Reject, FallbackPolicy::Default);
        for (pattern, host) in patterns {
            let pattern = NamePattern::parse(pattern).unwrap();
            table.add(&pattern, HostId::new(*host), &[]).unwrap();
        }
        table
    }

    /// The host for a client that does not use ALPN.
    fn found(table: &RoutingTable, name: Option<&ServerName>) -> Option<(usize, RouteReason)> {
        let (owners, why) = table.find(name)?;
        let (host, _) = owners.choose(&ProtocolNames::default())?;
        Some((host.index(), why))
    }

    fn host(table: &RoutingTable, name: &str) -> Option<usize> {
        let name = ServerName::parse(name.as_bytes()).unwrap();
        found(table, Some(&name)).map(|(host, _)| host)
    }

    #[test]
    fn an_exact_name_takes_precedence_over_a_wildcard() {
        let table = table(&[("*.example.com", 0), ("imap.example.com", 1)]);
        assert_eq!(host(&table, "imap.example.com"), Some(1));
        assert_eq!(host(&table, "smtp.example.com"), Some(0));
    }

    #[test]
    fn a_wildcard_matches_only_names_of_its_own_parent() {
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
    fn the_listener_decides_which_clients_get_the_default_host() {
        let mut rejecting = table(&[]);
        rejecting.set_default(HostId::new(7), &[]).unwrap();
        assert_eq!(host(&rejecting, "unknown.example"), None);
        let missing = found(&rejecting, None);
        assert_eq!(missing, Some((7, RouteReason::DefaultForMissing)));

        let mut giving = RoutingTable::new(FallbackPolicy::Default, FallbackPolicy::Reject);
        giving.set_default(HostId::new(7), &[]).unwrap();
        assert_eq!(host(&giving, "unknown.example"), Some(7));
        assert_eq!(found(&giving, None), None);
    }

    #[test]
    fn hosts_without_protocols_cannot_share_a_name_or_the_default() {
        let mut table = table(&[("a.example", 0), ("*.example", 1)]);
        let conflict = |by| {
            let by = HostId::new(by);
            Err(NameConflict { by, protocol: None })
        };
        let pattern = |text| NamePattern::parse(text).unwrap();
        assert_eq!(
            table.add(&pattern("A.EXAMPLE"), HostId::new(2), &[]),
            conflict(0)
        );
        assert_eq!(
            table.add(&pattern("*.example"), HostId::new(2), &[]),
            conflict(1)
        );
        assert_eq!(table.set_default(HostId::new(3), &[]), Ok(()));
        assert_eq!(table.set_default(HostId::new(4), &[]), conflict(3));
        let imap = ["imap".to_owned()];
        assert_eq!(
            table.add(&pattern("A.EXAMPLE"), HostId::new(2), &imap),
            Ok(())
        );
        assert_eq!(table.set_default(HostId::new(4), &imap), Ok(()));
    }

    #[test]
    fn an_unknown_listener_routes_no_clients() {
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
