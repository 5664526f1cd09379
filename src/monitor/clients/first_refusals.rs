//! The first refusal by each limit: a line for the operator that names the key to change.
//!
//! Further refusals are counted only. After a reload each limit has a first refusal again.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::limits::{LimitExceeded, Source};
use crate::config::Limits;
use crate::monitor::generation::HostKey;

/// First refusals, with their lines that are not in the log yet.
#[derive(Default)]
pub(super) struct FirstRefusals {
    limits: HashSet<LimitExceeded>,
    hosts: HashSet<HostKey>,
    lines: Vec<String>,
}

impl FirstRefusals {
    /// Notes that a client is refused. `capacity`: the largest number of connections at present.
    pub(super) fn note(
        &mut self,
        over: LimitExceeded,
        source: Option<Source>,
        limits: &Limits,
        capacity: usize,
    ) {
        if !self.limits.insert(over) {
            return;
        }
        let key = over.name();
        let line = match over {
            LimitExceeded::Connections if capacity < limits.connections => format!(
                "{capacity} connections are open, and {key} in [limits] is {}; \
                 to allow more, raise the limit of open files (LimitNOFILE=, ulimit -n)",
                limits.connections
            ),
            LimitExceeded::Connections => format!(
                "{capacity} connections are open; to allow more, raise {key} in [limits] of the table"
            ),
            LimitExceeded::PerSource => format!(
                "{} connections from there are open; to allow more, raise {key} in [limits] of the table",
                limits.per_source.most(capacity).unwrap_or_default()
            ),
            LimitExceeded::PerSourceRate => format!(
                "{} connections have come from there within a second; \
                 to allow more, raise {key} in [limits] of the table",
                limits.per_source_rate.unwrap_or_default()
            ),
            LimitExceeded::ProxyFrom => {
                format!("it is no load balancer; to accept it, add it to {key} of its [[listen]]")
            }
        };
        let who = source.map_or_else(|| "a client".to_owned(), |source| source.to_string());
        self.lines.push(first(&who, &line));
    }

    /// Notes that a host with this label, which has `most` connections, refuses a client.
    pub(super) fn note_host(&mut self, host: &HostKey, label: &str, most: usize) {
        if self.hosts.insert(host.clone()) {
            let line = format!(
                "{most} connections of this host are open; to allow more, raise connections of its [[host]]"
            );
            let who = format!("a client of host {label}");
            self.lines.push(first(&who, &line));
        }
    }

    /// Takes the lines that are not in the log yet.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Takes the next refusal by each limit for a first one, because the limits are new.
    pub(super) fn forget(&mut self) {
        self.limits.clear();
        self.hosts.clear();
    }
}

fn first(who: &str, why: &str) -> String {
    format!("refused {who}: {why}; further ones are counted")
}
