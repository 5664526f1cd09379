//! Says of OCSP responses that they have run out, and are stapled no longer: whoever renews them does not.
#![forbid(unsafe_code)]

use std::time::SystemTime;

use super::Monitor;
use crate::types::Severity;

impl Monitor {
    /// Warns of the responses that have run out since the last time.
    pub(super) fn watch_staples(&mut self, now: SystemTime) {
        let Some(first) = self.staples_until.filter(|until| *until <= now) else {
            return;
        };
        for host in self.blueprint.config.hosts.iter() {
            let ends = host.identities.iter().filter_map(|shown| shown.until());
            for until in ends.filter(|until| (first..=now).contains(until)) {
                let date = humantime::format_rfc3339_seconds(until);
                let line = format!(
                    "host {}: an OCSP response expired at {date}: it is not stapled any more",
                    host.label
                );
                self.logger.say(Severity::Warning, &line);
            }
        }
        self.next_staple(now);
    }

    /// Finds out which response runs out next.
    pub(super) fn next_staple(&mut self, now: SystemTime) {
        let hosts = self.blueprint.config.hosts.iter();
        let shown = hosts.flat_map(|host| &host.identities);
        let ends = shown.filter_map(|shown| shown.until());
        self.staples_until = ends.filter(|until| *until > now).min();
    }
}
