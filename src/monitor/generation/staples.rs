//! Warnings about stapled OCSP responses that have expired, because nobody renewed them.
#![forbid(unsafe_code)]

use std::time::SystemTime;

use crate::config::{Config, Form, Host};

/// The time at which the next OCSP response expires; `None`: no response is left that could.
pub(super) struct StapleExpiry(Option<SystemTime>);

impl StapleExpiry {
    /// The next expiry after `now` in a configuration. The one-connection form warns of none: inetd
    /// starts it for each connection.
    pub(super) fn of(config: &Config, now: SystemTime) -> Self {
        if config.form == Form::OneConnection {
            return Self(None);
        }
        let ends = config.hosts.iter().flat_map(ends);
        Self(ends.filter(|end| *end > now).min())
    }

    /// A warning for each response that has expired since the last call.
    pub(super) fn expired(&mut self, config: &Config, now: SystemTime) -> Vec<String> {
        let Some(first) = self.0.filter(|end| *end <= now) else {
            return Vec::new();
        };
        *self = Self::of(config, now);
        let hosts = config.hosts.iter();
        let expired = hosts.flat_map(|host| {
            let ends = ends(host).filter(move |end| (first..=now).contains(end));
            ends.map(|end| warning(host, end))
        });
        expired.collect()
    }
}

/// The times at which the OCSP responses of a host expire.
fn ends(host: &Host) -> impl Iterator<Item = SystemTime> {
    let certificates = host.certificates.iter();
    certificates.filter_map(|certificate| certificate.until())
}

fn warning(host: &Host, end: SystemTime) -> String {
    let date = humantime::format_rfc3339_seconds(end);
    let label = &host.label;
    format!("host {label}: an OCSP response expired at {date}: it is not stapled any more")
}
