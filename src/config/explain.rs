//! Texts for `--explain` (which host a client gets, and why) and `--check` (a summary).
#![forbid(unsafe_code)]

use std::fmt::Write;
use std::time::Duration;

use crate::config::host::{Destination, Host};
use crate::config::hosts::{Route, RouteError, RouteReason};
use crate::config::listener::Listener;
use crate::config::name_owners::PickReason;
use crate::config::{Form, Loaded};
use crate::tls::hello::ProtocolNames;
use crate::types::{ListenerId, ServerName};

impl Loaded {
    /// Explains which host a client gets that sends this server name, or none, and offers these
    /// protocols: in one paragraph if it is the same for all listeners, else in one per listener.
    pub fn explain(&self, name: Option<&ServerName>, offered: &ProtocolNames) -> String {
        let routes: Vec<(&Listener, Result<Route, RouteError>)> = self
            .config
            .listeners
            .iter()
            .enumerate()
            .map(|(index, listener)| {
                let id = ListenerId::new(index);
                (listener, self.config.hosts.route(id, name, offered))
            })
            .collect();
        let mut client = match name {
            Some(name) => format!("a client that asks for {}", name.as_str()),
            None => "a client that sends no name".into(),
        };
        if !offered.is_empty() {
            let _ = write!(client, " and offers {}", quoted(offered.iter()));
        }
        let differ = routes
            .windows(2)
            .any(|pair| matches!(pair, [(_, a), (_, b)] if a != b));
        let mut text = String::new();
        for (listener, route) in routes.iter().take(if differ { usize::MAX } else { 1 }) {
            let on_listener = if differ {
                format!(" on listener {}", listener.name)
            } else {
                String::new()
            };
            let _ = match route {
                Ok(route) => write!(
                    text,
                    "{client}{on_listener} gets {}",
                    self.describe(route, offered)
                ),
                Err(error) => writeln!(text, "{client}{on_listener} {}", rejection(*error)),
            };
        }
        for listener in &self.config.listeners {
            if let Some(from) = &listener.proxy_from {
                let name = &listener.name;
                let _ = writeln!(
                    text,
                    "listener {name} takes PROXY headers, and only from {from}"
                );
            }
        }
        text
    }

    /// Counts of listeners, hosts, backends, certificates and PSK identities, and in a second line the limits
    /// that hold.
    pub fn summary(&self) -> String {
        let backends = |host: &Host| match &host.destination {
            Destination::Command { .. } => 0,
            Destination::Backends(backends) => backends.each.len(),
        };
        let backends = self.config.hosts.iter().map(backends).sum();
        let counts = [
            (self.config.listeners.len(), "listener", "listeners"),
            (self.origins.len(), "host", "hosts"),
            (backends, "backend", "backends"),
            (self.certificates, "certificate", "certificates"),
            (self.psk_identities, "PSK identity", "PSK identities"),
        ];
        let counts = counts
            .iter()
            .filter_map(|(number, one, many)| match number {
                0 => None,
                1 => Some(format!("1 {one}")),
                _ => Some(format!("{number} {many}")),
            });
        let counts = counts.collect::<Vec<_>>().join(", ");
        format!("ok: {counts}\nlimits: {}", self.limits())
    }

    /// The limits that hold, each as a line of `[limits]` has it.
    fn limits(&self) -> String {
        let limits = &self.config.limits;
        let one_of_many = self.config.form == Form::Server;
        let connections = Some(limits.connections).filter(|_| one_of_many);
        let per_source = connections.and_then(|most| limits.per_source.most(most));
        let rate = limits.per_source_rate.filter(|_| one_of_many);
        let time = |time: Duration| format!("\"{time:?}\"");
        let held = [
            ("connections", connections.map(|most| most.to_string())),
            ("per-source", per_source.map(|most| most.to_string())),
            ("per-source-rate", rate.map(|most| most.to_string())),
            ("handshake", Some(time(limits.handshake))),
            ("idle", limits.idle.map(time)),
            ("linger", Some(time(limits.linger))),
        ];
        let held = held
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key} = {}", value?)));
        held.collect::<Vec<_>>().join(", ")
    }

    fn describe(&self, route: &Route, offered: &ProtocolNames) -> String {
        let (Some(host), Some(origin)) = (
            self.config.hosts.get(route.host),
            self.origins.get(route.host.index()),
        ) else {
            return String::new();
        };
        let line = match &origin.span {
            Some(span) => format!(" (line {})", self.problems.line(span)),
            None => String::new(),
        };
        let why = match &route.why {
            RouteReason::Exact => "the name is one of its names".to_owned(),
            RouteReason::Wildcard(pattern) => format!("its wildcard {pattern} stands for the name"),
            RouteReason::DefaultForUnknown => {
                "no host has the name, and this is the default".to_owned()
            }
            RouteReason::DefaultForMissing => "this is the default".to_owned(),
        };
        let pick = match route.pick {
            PickReason::Only => String::new(),
            PickReason::Protocol => {
                let listed = host.alpn.iter().map(String::as_bytes);
                let common = listed.filter(|name| offered.contains(name));
                let common = quoted(common.take(1));
                format!("; of the hosts that share it, this is the first that has {common}")
            }
            PickReason::Rest => {
                "; of the hosts that share it, this is the one that lists no protocols".into()
            }
            PickReason::First => "; of the hosts that share it, this is the first".into(),
        };
        let mut text = format!("host {}{line}: {why}{pick}\n", host.label);
        match &host.destination {
            Destination::Command { program, .. } => {
                let path = program.path.to_string_lossy();
                let arguments = program.argv.iter().skip(1);
                let arguments: String = arguments.map(|word| format!(" {word:?}")).collect();
                let _ = writeln!(text, "  command: {path:?}{arguments}");
            }
            Destination::Backends(backends) => {
                for backend in &backends.each {
                    let _ = writeln!(text, "  backend: {backend}");
                }
                if let Some(version) = backends.proxy {
                    let _ = writeln!(text, "  proxy-protocol: {version}");
                }
            }
        }
        for certificate in &origin.certificates {
            let _ = writeln!(text, "  certificate: {}", certificate.display());
        }
        if let Some(file) = &origin.psk {
            let _ = writeln!(text, "  psk: {}", file.display());
        }
        text
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a [u8]>) -> String {
    let names: Vec<String> = names
        .map(|name| format!("{:?}", String::from_utf8_lossy(name)))
        .collect();
    names.join(", ")
}

fn rejection(error: RouteError) -> &'static str {
    match error {
        RouteError::UnknownName => "is rejected with unrecognized_name: no host has the name",
        RouteError::UnfitName => "is rejected with illegal_parameter: no host can have the name",
        RouteError::MissingName => "is rejected with missing_extension: no default host for it",
        RouteError::NoProtocol { .. } => {
            "is rejected with no_application_protocol: no host of the name has such a protocol"
        }
    }
}
