//! Checks `[[listen]]`, and makes the routing table of each listener.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use crate::config::checks::proxy_from::proxy_from;
use crate::config::checks::reachability::{hardly_reachable, unknown_name, unreachable};
use crate::config::hosts::RoutingTable;
use crate::config::listener::{Address, FallbackPolicy, Listener};
use crate::config::name_owners::NameConflict;
use crate::config::sources::addresses;
use crate::config::text::problems::Problems;
use crate::config::text::raw::{Raw, RawListener};
use crate::config::text::raw_host::{RawHost, RawListen};
use crate::types::{HostId, ListenerId, NamePattern};

/// Checks the listeners, in the order of the file. Without any, there is one for descriptor 0.
pub(in crate::config) fn listeners(
    file: &Raw,
    base: &Path,
    problems: &mut Problems,
) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for raw in &file.listeners {
        let raw = raw.get_ref();
        let listener = listener(raw, &file.hosts, base, problems);
        for other in &listeners {
            if let Some(name) = raw
                .name
                .as_ref()
                .filter(|name| *name.get_ref() == other.name)
            {
                let message = format!("another listener is called {:?} already", other.name);
                problems.error(name.span(), message);
            }
            if listener.address.overlaps(&other.address) {
                let message = format!("listener {:?} has this address already", other.name);
                problems.error(address(raw).map(Spanned::span), message);
            }
        }
        listeners.push(listener);
    }
    if listeners.is_empty() {
        listeners.push(Listener::inetd(unknown_name(&file.hosts, None)));
    }
    listeners
}

/// Makes the routing table of each listener. `names` has the names of each host.
pub(in crate::config) fn tables(
    raw: &Raw,
    names: &[Vec<(NamePattern, Range<usize>)>],
    listeners: &[Listener],
    problems: &mut Problems,
) -> Vec<RoutingTable> {
    let mut tables: Vec<RoutingTable> = listeners.iter().map(RoutingTable::from).collect();
    let mut placed = Vec::new();
    for (index, (host, names)) in raw.hosts.iter().zip(names).enumerate() {
        let id = HostId::new(index);
        let Some(on) = listeners_of(host.get_ref(), listeners, problems) else {
            continue;
        };
        let line = |host: HostId, problems: &Problems| {
            raw.hosts
                .get(host.index())
                .map_or(0, |host| problems.line(&host.span()))
        };
        let protocols: Vec<String> = (host.get_ref().alpn.iter().flatten())
            .map(|protocol| protocol.get_ref().clone())
            .collect();
        for (pattern, name) in names {
            let conflicts = on.iter().filter_map(|listener| {
                let conflict = tables
                    .get_mut(listener.index())?
                    .add(pattern, id, &protocols)
                    .err()?;
                Some((conflict, listeners.get(listener.index())?))
            });
            // The name is added to the tables of all listeners, but one report is enough.
            if let Some((conflict, listener)) = conflicts.last() {
                let (line, listener) = (line(conflict.by, problems), &listener.name);
                let message = format!(
                    "name {:?}{} belongs to the host on line {line} already, on listener {listener:?}",
                    pattern.to_string(),
                    with_protocol(&conflict)
                );
                problems.error(name.clone(), message);
            }
        }
        let default = host.get_ref().default.as_ref();
        let default = default.filter(|default| *default.get_ref());
        if let Some(default) = default {
            let conflicts = on.iter().filter_map(|listener| {
                let conflict = tables
                    .get_mut(listener.index())?
                    .set_default(id, &protocols)
                    .err()?;
                Some((conflict, listeners.get(listener.index())?))
            });
            if let Some((conflict, listener)) = conflicts.last() {
                let (line, listener) = (line(conflict.by, problems), &listener.name);
                let message = format!(
                    "the host on line {line} is the default of listener {listener:?} already{}",
                    with_protocol(&conflict)
                );
                problems.error(default.span(), message);
            }
        }
        placed.push((host, on));
    }
    let explicit: Vec<_> = (raw.listeners.iter())
        .map(|listener| listener.get_ref().unknown_name.is_some())
        .collect();
    // Which listeners have names is known when all hosts have been added.
    for (host, on) in placed {
        if let Some(reason) = unreachable(host.get_ref(), &on, &tables) {
            let message = format!("no client can reach this host: {reason}");
            problems.error(host.span(), message);
        } else if let Some(warning) =
            hardly_reachable(host.get_ref(), &on, listeners, &explicit, &tables)
        {
            problems.warning(host.span(), warning);
        }
    }
    warn(raw, listeners, &tables, problems);
    tables
}

/// Text for the protocol in a conflict; empty if neither host lists any.
fn with_protocol(conflict: &NameConflict) -> String {
    let protocol = conflict.protocol.as_ref();
    protocol.map_or_else(String::new, |name| format!(" with protocol {name:?}"))
}

/// Reports listeners on sockets that systemd has not passed. Warns of passed sockets without a listener,
/// where clients would wait in vain. `passed` has the names of all passed sockets.
pub(in crate::config) fn compare(
    raw: &[Spanned<RawListener>],
    listeners: &[Listener],
    passed: &[String],
    problems: &mut Problems,
) {
    for (raw, listener) in raw.iter().zip(listeners) {
        if let Some(reason) = not_passed(&listener.address, passed) {
            let span = address(raw.get_ref()).map(Spanned::span);
            problems.error(span, format!("unable to listen on it: {reason}"));
        }
    }
    if let Some(warning) = not_taken(listeners, passed) {
        problems.warning(None, warning);
    }
}

/// Reason why systemd has passed no socket for an address. `None`: it has passed one, or the address is
/// no passed socket.
pub(in crate::config) fn not_passed(address: &Address, passed: &[String]) -> Option<String> {
    let Address::Systemd(name) = address else {
        return None;
    };
    let is_passed = name.as_ref().is_none_or(|name| passed.contains(name));
    match (passed.is_empty(), name) {
        (true, name) => Some(format!(
            "no socket was passed; systemd passes those of a .socket unit (with FileDescriptorName={}), and \
             systemd-socket-activate --fdname does it to try things out",
            name.as_deref().unwrap_or("NAME"),
        )),
        (false, Some(name)) if !is_passed => Some(format!(
            "no socket called {name:?} was passed; passed are {}",
            quoted(passed)
        )),
        _ => None,
    }
}

/// Warning about passed sockets that have no listener. `None`: all have one.
pub(in crate::config) fn not_taken(listeners: &[Listener], passed: &[String]) -> Option<String> {
    let has_listener = |name: &String| {
        let takes = |listener: &Listener| match &listener.address {
            Address::Systemd(wanted) => wanted.as_ref().is_none_or(|wanted| wanted == name),
            _ => false,
        };
        listeners.iter().any(takes)
    };
    let left = passed.iter().filter(|name| !has_listener(name));
    let left: Vec<String> = left.cloned().collect();
    (!left.is_empty()).then(|| {
        let left = quoted(&left);
        format!("nobody listens on passed sockets: {left}; clients wait there in vain")
    })
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

/// Value that gives the address of a listener.
fn address(raw: &RawListener) -> Option<&Spanned<String>> {
    raw.address.as_ref().or(raw.systemd.as_ref())
}

fn listener(
    raw: &RawListener,
    hosts: &[Spanned<RawHost>],
    base: &Path,
    problems: &mut Problems,
) -> Listener {
    let passed = raw.systemd.as_ref().map(|name| {
        if !addresses::is_passed_name(name.get_ref()) {
            problems.error(name.span(), addresses::NO_PASSED_NAME);
        }
        Address::Systemd(Some(name.get_ref().clone()))
    });
    let parsed = raw.address.as_ref().and_then(|text| {
        addresses::parse(text.get_ref(), base)
            .map_err(|reason| {
                let message = format!("unable to listen on {:?}: {reason}", text.get_ref());
                problems.error(text.span(), message);
            })
            .ok()
    });
    let name = raw.name.as_ref().or(address(raw));
    let name = name.map(|name| name.get_ref().clone()).unwrap_or_default();
    let policy =
        |policy: &Option<Spanned<FallbackPolicy>>| policy.as_ref().map(|policy| *policy.get_ref());
    Listener {
        address: parsed.or(passed).unwrap_or(Address::Inetd),
        unknown_name: policy(&raw.unknown_name).unwrap_or_else(|| unknown_name(hosts, Some(&name))),
        missing_name: policy(&raw.missing_name).unwrap_or(FallbackPolicy::Default),
        name,
        proxy_from: proxy_from(raw, problems),
    }
}

/// Listeners that a host is on. `None`: unknown, because `listen` has an error, which is reported.
fn listeners_of(
    host: &RawHost,
    listeners: &[Listener],
    problems: &mut Problems,
) -> Option<Vec<ListenerId>> {
    let names = match &host.listen {
        RawListen::Every => return Some((0..listeners.len()).map(ListenerId::new).collect()),
        RawListen::Named(names) => names,
        RawListen::Invalid => return None,
    };
    let mut ids = Vec::new();
    let mut unknown = false;
    for name in names {
        match listeners
            .iter()
            .position(|listener| listener.name == *name.get_ref())
            .map(ListenerId::new)
        {
            Some(id) if ids.contains(&id) => {}
            Some(id) => ids.push(id),
            None => {
                let known: Vec<&str> = listeners
                    .iter()
                    .map(|listener| listener.name.as_str())
                    .collect();
                let known = match listeners {
                    [only] if only.address == Address::Inetd => {
                        "the table has no [[listen]]".to_owned()
                    }
                    _ => format!("known are {}", known.join(", ")),
                };
                let message = format!("unknown listener {:?}: {known}", name.get_ref());
                problems.error(name.span(), message);
                unknown = true;
            }
        }
    }
    (!unknown || !ids.is_empty()).then_some(ids)
}

/// Warns of listeners without a host, and of `default` policies without a default host.
fn warn(raw: &Raw, listeners: &[Listener], tables: &[RoutingTable], problems: &mut Problems) {
    for (raw, (listener, table)) in raw.listeners.iter().zip(listeners.iter().zip(tables)) {
        let (span, raw, name) = (raw.span(), raw.get_ref(), &listener.name);
        if table.is_empty() && !problems.has_errors() {
            problems.warning(
                span,
                format!("no host is on listener {name:?}: it rejects everybody"),
            );
        }
        for policy in [&raw.unknown_name, &raw.missing_name].into_iter().flatten() {
            if *policy.get_ref() == FallbackPolicy::Default && !table.has_default() {
                let message =
                    format!("listener {name:?} has no default host: such clients are rejected");
                problems.warning(policy.span(), message);
            }
        }
    }
}
