//! Hosts that have the same name on a listener, and share it by their ALPN protocols (RFC 7301).
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::tls::hello::ProtocolNames;
use crate::types::HostId;

/// Hosts that share one name. The time of a lookup does not depend on the number of hosts.
pub(in crate::config) struct NameOwners {
    /// The first of the hosts in the file.
    first: HostId,
    /// Number of hosts.
    hosts: usize,
    /// The host of each protocol.
    protocols: HashMap<Vec<u8>, HostId>,
    /// The host that lists no protocols.
    rest: Option<HostId>,
}

/// Reason for the choice among the hosts that share a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickReason {
    /// No other host has the name.
    Only,
    /// The host is the first in the file that lists a protocol which the client offers.
    Protocol,
    /// The host lists no protocols, and no other host lists one that the client offers.
    Rest,
    /// The client does not use ALPN, all hosts list protocols, and the host is the first in the file.
    First,
}

/// Conflict with a host that already has the same name and protocol.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct NameConflict {
    /// The host that has them already.
    pub(in crate::config) by: HostId,
    /// The protocol that both hosts list; `None`: neither host lists any.
    pub(in crate::config) protocol: Option<String>,
}

impl NameOwners {
    /// The owners of a name that one host has.
    pub(in crate::config) fn new(host: HostId, protocols: &[String]) -> Self {
        let mut owners = Self {
            first: host,
            hosts: 0,
            protocols: HashMap::new(),
            rest: None,
        };
        owners.insert(host, protocols);
        owners
    }

    /// Adds a host that comes later in the file. Errors: a host that has the name conflicts with it.
    pub(in crate::config) fn add(
        &mut self,
        host: HostId,
        protocols: &[String],
    ) -> Result<(), NameConflict> {
        let conflict = match (protocols, self.rest) {
            ([], rest) => rest.map(|by| NameConflict { by, protocol: None }),
            (protocols, _) => protocols.iter().find_map(|protocol| {
                let by = *self.protocols.get(protocol.as_bytes())?;
                let protocol = Some(protocol.clone());
                Some(NameConflict { by, protocol })
            }),
        };
        match conflict {
            Some(conflict) => Err(conflict),
            None => {
                self.insert(host, protocols);
                Ok(())
            }
        }
    }

    fn insert(&mut self, host: HostId, protocols: &[String]) {
        self.hosts += 1;
        if protocols.is_empty() {
            self.rest = Some(host);
        }
        for protocol in protocols {
            self.protocols.insert(protocol.clone().into_bytes(), host);
        }
    }

    /// Chooses the host for a client that offers these protocols: the first in the file that lists one
    /// of them.
    ///
    /// `None`: "the server SHALL respond with a fatal `no_application_protocol` alert" (RFC 7301 §3.2).
    pub(in crate::config) fn choose(
        &self,
        offered: &ProtocolNames,
    ) -> Option<(HostId, PickReason)> {
        let alone = |pick| {
            if self.hosts == 1 {
                PickReason::Only
            } else {
                pick
            }
        };
        if offered.is_empty() {
            return Some(match self.rest {
                Some(rest) => (rest, alone(PickReason::Rest)),
                None => (self.first, alone(PickReason::First)),
            });
        }
        let listed = offered.iter().filter_map(|name| self.protocols.get(name));
        if let Some(host) = listed.min() {
            return Some((*host, alone(PickReason::Protocol)));
        }
        // A client that offers only `acme-tls/1` is a certification authority that validates control of
        // the name (RFC 8737 §3). A host that does not list this protocol must not answer.
        let is_validation = offered.iter().all(|name| name == ACME_TLS_1);
        let rest = self.rest.filter(|_| !is_validation)?;
        Some((rest, alone(PickReason::Rest)))
    }

    /// The host, if no other host has the name.
    pub(in crate::config) fn only(&self) -> Option<HostId> {
        (self.hosts == 1).then_some(self.first)
    }
}

/// Protocol of a certification authority that validates control of a name (RFC 8737 §3).
const ACME_TLS_1: &[u8] = b"acme-tls/1";

#[cfg(test)]
mod tests {
    use super::*;

    fn protocols(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn owners(hosts: &[&[&str]]) -> NameOwners {
        let mut owners = NameOwners::new(HostId::new(0), &protocols(hosts[0]));
        for (host, names) in hosts.iter().enumerate().skip(1) {
            owners.add(HostId::new(host), &protocols(names)).unwrap();
        }
        owners
    }

    fn choice(owners: &NameOwners, offered: &[&str]) -> Option<(usize, PickReason)> {
        let offered = offered.iter().map(|name| name.as_bytes()).collect();
        let (host, pick) = owners.choose(&offered)?;
        Some((host.index(), pick))
    }

    #[test]
    fn the_first_host_that_lists_an_offered_protocol_is_chosen() {
        let owners = owners(&[&["acme-tls/1"], &["h2", "h3"], &["http/1.1"]]);
        for (offered, host) in [
            (vec!["h2"], 1),
            (vec!["http/1.1"], 2),
            (vec!["http/1.1", "h2"], 1),
            (vec!["x", "http/1.1"], 2),
            (vec!["acme-tls/1"], 0),
        ] {
            let expected = Some((host, PickReason::Protocol));
            assert_eq!(choice(&owners, &offered), expected, "{offered:?}");
        }
        assert_eq!(choice(&owners, &["x", "H2", "h"]), None);
        assert_eq!(choice(&owners, &[]), Some((0, PickReason::First)));
    }

    #[test]
    fn a_host_without_protocols_gets_the_other_clients() {
        let owners = owners(&[&["h2"], &[], &["http/1.1"]]);
        assert_eq!(
            choice(&owners, &["http/1.1"]),
            Some((2, PickReason::Protocol))
        );
        assert_eq!(choice(&owners, &["imap"]), Some((1, PickReason::Rest)));
        assert_eq!(choice(&owners, &[]), Some((1, PickReason::Rest)));
    }

    #[test]
    fn a_host_that_does_not_list_acme_tls_1_gets_no_acme_validation() {
        for hosts in [&[&[][..]][..], &[&["h2"], &[]]] {
            let owners = owners(hosts);
            assert_eq!(choice(&owners, &["acme-tls/1"]), None);
            assert!(choice(&owners, &["acme-tls/1", "imap"]).is_some());
        }
    }

    #[test]
    fn a_sole_owner_gets_clients_that_offer_its_protocols_or_none() {
        let owners = owners(&[&["imap"]]);
        assert_eq!(choice(&owners, &["imap"]), Some((0, PickReason::Only)));
        assert_eq!(choice(&owners, &[]), Some((0, PickReason::Only)));
        assert_eq!(choice(&owners, &["h2"]), None);
    }

    #[test]
    fn hosts_that_list_the_same_protocol_cannot_share_a_name() {
        let mut owners = owners(&[&["h2"], &[]]);
        let conflict = |by, protocol: Option<&str>| {
            let by = HostId::new(by);
            let protocol = protocol.map(str::to_owned);
            Err(NameConflict { by, protocol })
        };
        let both = protocols(&["http/1.1", "h2"]);
        assert_eq!(owners.add(HostId::new(2), &both), conflict(0, Some("h2")));
        assert_eq!(owners.add(HostId::new(2), &[]), conflict(1, None));
        assert_eq!(choice(&owners, &["http/1.1"]), Some((1, PickReason::Rest)));
    }
}
