//! Who has a name on a listener: one host, or several that share it by their protocols (ALPN, RFC 7301).
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::tls::hello::ProtocolNames;

/// The hosts that share one name. Looking up takes the same time however many there are.
pub(in crate::config) struct NameOwners {
    /// The first of them in the file.
    first: usize,
    /// How many there are.
    hosts: usize,
    protocols: HashMap<Vec<u8>, usize>,
    /// The one without protocols of its own.
    rest: Option<usize>,
}

/// Why one of the hosts that share a name was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PickReason {
    /// It has the name to itself.
    Only,
    /// It is the first in the file with a protocol that the client offers.
    Protocol,
    /// It has no protocols of its own, and no other host has one that the client offers.
    Rest,
    /// The client does not use ALPN, every host of the name does, and this is the first in the file.
    First,
}

/// The host that has what another one claims.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct NameConflict {
    pub(in crate::config) by: usize,
    /// The protocol that both list; `None`: neither lists any.
    pub(in crate::config) protocol: Option<String>,
}

impl NameOwners {
    /// Those of one host.
    pub(in crate::config) fn new(host: usize, protocols: &[String]) -> Self {
        let mut claims = Self {
            first: host,
            hosts: 0,
            protocols: HashMap::new(),
            rest: None,
        };
        claims.insert(host, protocols);
        claims
    }

    /// Lets another host, which comes later in the file, share the name. Errors: who rules that out.
    pub(in crate::config) fn add(
        &mut self,
        host: usize,
        protocols: &[String],
    ) -> Result<(), NameConflict> {
        let taken = match (protocols, self.rest) {
            ([], rest) => rest.map(|by| NameConflict { by, protocol: None }),
            (protocols, _) => protocols.iter().find_map(|protocol| {
                let by = *self.protocols.get(protocol.as_bytes())?;
                let protocol = Some(protocol.clone());
                Some(NameConflict { by, protocol })
            }),
        };
        match taken {
            Some(taken) => Err(taken),
            None => {
                self.insert(host, protocols);
                Ok(())
            }
        }
    }

    fn insert(&mut self, host: usize, protocols: &[String]) {
        self.hosts += 1;
        if protocols.is_empty() {
            self.rest = Some(host);
        }
        for protocol in protocols {
            self.protocols.insert(protocol.clone().into_bytes(), host);
        }
    }

    /// The host for a client that offers these protocols: the first in the file that has one of them.
    ///
    /// `None`: "the server SHALL respond with a fatal `no_application_protocol` alert" (RFC 7301 §3.2).
    pub(in crate::config) fn choose(&self, offered: &ProtocolNames) -> Option<(usize, PickReason)> {
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
        // Who asks for this, and nothing else, wants the proof that the name is ours (RFC 8737 §3): no
        // host may answer that does not know of it.
        let asks_for_proof = offered.iter().all(|name| name == ACME_TLS_1);
        let rest = self.rest.filter(|_| !asks_for_proof)?;
        Some((rest, alone(PickReason::Rest)))
    }

    /// The host that has the name to itself.
    pub(in crate::config) fn only(&self) -> Option<usize> {
        (self.hosts == 1).then_some(self.first)
    }
}

/// The protocol of a certification authority that checks who has a name (RFC 8737 §3).
const ACME_TLS_1: &[u8] = b"acme-tls/1";

#[cfg(test)]
mod tests {
    use super::*;

    fn protocols(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn claims(hosts: &[&[&str]]) -> NameOwners {
        let mut claims = NameOwners::new(0, &protocols(hosts[0]));
        for (host, names) in hosts.iter().enumerate().skip(1) {
            claims.add(host, &protocols(names)).unwrap();
        }
        claims
    }

    fn choice(claims: &NameOwners, offered: &[&str]) -> Option<(usize, PickReason)> {
        claims.choose(&offered.iter().map(|name| name.as_bytes()).collect())
    }

    #[test]
    fn the_first_host_with_a_protocol_of_the_client_is_chosen() {
        let claims = claims(&[&["acme-tls/1"], &["h2", "h3"], &["http/1.1"]]);
        for (offered, host) in [
            (vec!["h2"], 1),
            (vec!["http/1.1"], 2),
            (vec!["http/1.1", "h2"], 1),
            (vec!["x", "http/1.1"], 2),
            (vec!["acme-tls/1"], 0),
        ] {
            let expected = Some((host, PickReason::Protocol));
            assert_eq!(choice(&claims, &offered), expected, "{offered:?}");
        }
        assert_eq!(choice(&claims, &["x", "H2", "h"]), None);
        assert_eq!(choice(&claims, &[]), Some((0, PickReason::First)));
    }

    #[test]
    fn a_host_without_protocols_gets_the_rest() {
        let claims = claims(&[&["h2"], &[], &["http/1.1"]]);
        assert_eq!(
            choice(&claims, &["http/1.1"]),
            Some((2, PickReason::Protocol))
        );
        assert_eq!(choice(&claims, &["imap"]), Some((1, PickReason::Rest)));
        assert_eq!(choice(&claims, &[]), Some((1, PickReason::Rest)));
    }

    #[test]
    fn nobody_answers_a_certification_authority_who_does_not_list_its_protocol() {
        for hosts in [&[&[][..]][..], &[&["h2"], &[]]] {
            let claims = claims(hosts);
            assert_eq!(choice(&claims, &["acme-tls/1"]), None);
            assert!(choice(&claims, &["acme-tls/1", "imap"]).is_some());
        }
    }

    #[test]
    fn a_host_alone_is_chosen_for_its_protocols_and_for_none() {
        let claims = claims(&[&["imap"]]);
        assert_eq!(choice(&claims, &["imap"]), Some((0, PickReason::Only)));
        assert_eq!(choice(&claims, &[]), Some((0, PickReason::Only)));
        assert_eq!(choice(&claims, &["h2"]), None);
    }

    #[test]
    fn hosts_that_share_a_name_have_no_protocol_in_common() {
        let mut claims = claims(&[&["h2"], &[]]);
        let taken = |by, protocol: Option<&str>| {
            let protocol = protocol.map(str::to_owned);
            Err(NameConflict { by, protocol })
        };
        let both = protocols(&["http/1.1", "h2"]);
        assert_eq!(claims.add(2, &both), taken(0, Some("h2")));
        assert_eq!(claims.add(2, &[]), taken(1, None));
        assert_eq!(choice(&claims, &["http/1.1"]), Some((1, PickReason::Rest)));
    }
}
