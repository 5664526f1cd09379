//! `[[listen]]` → listeners, and which host answers to which name on each of them.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use crate::config::checks::proxy_from::proxy_from;
use crate::config::hosts::Table;
use crate::config::listener::{Address, FallbackPolicy, Listener};
use crate::config::name_owners::NameConflict;
use crate::config::sources::addresses;
use crate::config::text::problems::Problems;
use crate::config::text::raw::{Raw, RawListener};
use crate::config::text::raw_host::{RawHost, RawListen};
use crate::types::NamePattern;

/// The listeners, in the order of the file; one for descriptor 0 when there is none.
pub(in crate::config) fn listeners(
    raw: &[Spanned<RawListener>],
    base: &Path,
    problems: &mut Problems,
) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    for raw in raw {
        let raw = raw.get_ref();
        let listener = listener(raw, base, problems);
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
                problems.error(place(raw).map(Spanned::span), message);
            }
        }
        listeners.push(listener);
    }
    if listeners.is_empty() {
        listeners.push(Listener::inetd());
    }
    listeners
}

/// The routing table of each listener. `names` are those of each host.
pub(in crate::config) fn tables(
    raw: &Raw,
    names: &[Vec<(NamePattern, Range<usize>)>],
    listeners: &[Listener],
    problems: &mut Problems,
) -> Vec<Table> {
    let mut tables: Vec<Table> = listeners.iter().map(Table::from).collect();
    for (place, (host, names)) in raw.hosts.iter().zip(names).enumerate() {
        let Some(on) = listeners_of(host.get_ref(), listeners, problems) else {
            continue;
        };
        let line = |taken: usize, problems: &Problems| {
            raw.hosts
                .get(taken)
                .map_or(0, |host| problems.line(&host.span()))
        };
        let protocols: Vec<String> = (host.get_ref().alpn.iter().flatten())
            .map(|protocol| protocol.get_ref().clone())
            .collect();
        for (pattern, name) in names {
            let clashes = on.iter().filter_map(|listener| {
                let taken = tables
                    .get_mut(*listener)?
                    .add(pattern, place, &protocols)
                    .err()?;
                Some((taken, listeners.get(*listener)?))
            });
            // Every listener learns the name; one report is enough.
            if let Some((taken, listener)) = clashes.last() {
                let (line, listener) = (line(taken.by, problems), &listener.name);
                let message = format!(
                    "name {:?}{} belongs to the host on line {line} already, on listener {listener:?}",
                    pattern.to_string(),
                    with_protocol(&taken)
                );
                problems.error(name.clone(), message);
            }
        }
        let default = host
            .get_ref()
            .default
            .as_ref()
            .filter(|default| *default.get_ref());
        if let Some(default) = default {
            let clashes = on.iter().filter_map(|listener| {
                let taken = tables
                    .get_mut(*listener)?
                    .set_default(place, &protocols)
                    .err()?;
                Some((taken, listeners.get(*listener)?))
            });
            if let Some((taken, listener)) = clashes.last() {
                let (line, listener) = (line(taken.by, problems), &listener.name);
                let message = format!(
                    "the host on line {line} is the default of listener {listener:?} already{}",
                    with_protocol(&taken)
                );
                problems.error(default.span(), message);
            }
        }
        if let Some(reason) = unreachable(host.get_ref(), &on, &tables) {
            problems.error(
                host.span(),
                format!("no client can reach this host: {reason}"),
            );
        }
    }
    doubt(raw, listeners, &tables, problems);
    tables
}

/// The protocol that two hosts want of one name.
fn with_protocol(taken: &NameConflict) -> String {
    let protocol = taken.protocol.as_ref();
    protocol.map_or_else(String::new, |name| format!(" with protocol {name:?}"))
}

/// Reports listeners on sockets that systemd has not passed; warns of sockets that no listener takes, where
/// clients would wait in vain. `passed` are the names of all that there are.
pub(in crate::config) fn compare(
    raw: &[Spanned<RawListener>],
    listeners: &[Listener],
    passed: &[String],
    problems: &mut Problems,
) {
    for (raw, listener) in raw.iter().zip(listeners) {
        if let Some(reason) = not_passed(&listener.address, passed) {
            let place = place(raw.get_ref()).map(Spanned::span);
            problems.error(place, format!("unable to listen on it: {reason}"));
        }
    }
    if let Some(warning) = not_taken(listeners, passed) {
        problems.warning(None, warning);
    }
}

/// Why there is nothing to listen on at an address; `None`: it is no passed socket, or it is there.
pub(in crate::config) fn not_passed(address: &Address, passed: &[String]) -> Option<String> {
    let Address::Systemd(name) = address else {
        return None;
    };
    let there = name.as_ref().is_none_or(|name| passed.contains(name));
    match (passed.is_empty(), name) {
        (true, name) => Some(format!(
            "no socket was passed; systemd passes those of a .socket unit (with FileDescriptorName={}), and \
             systemd-socket-activate --fdname does it to try things out",
            name.as_deref().unwrap_or("NAME"),
        )),
        (false, Some(name)) if !there => Some(format!(
            "no socket called {name:?} was passed; passed are {}",
            quoted(passed)
        )),
        _ => None,
    }
}

/// What to say of passed sockets that none of these listens on; `None`: there are none.
pub(in crate::config) fn not_taken(listeners: &[Listener], passed: &[String]) -> Option<String> {
    let taken = |name: &String| {
        let is = |listener: &Listener| match &listener.address {
            Address::Systemd(wanted) => wanted.as_ref().is_none_or(|wanted| wanted == name),
            _ => false,
        };
        listeners.iter().any(is)
    };
    let left: Vec<String> = passed.iter().filter(|name| !taken(name)).cloned().collect();
    (!left.is_empty()).then(|| {
        let left = quoted(&left);
        format!("nobody listens on passed sockets: {left}; clients wait there in vain")
    })
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    names.join(", ")
}

/// What says where a listener listens.
fn place(raw: &RawListener) -> Option<&Spanned<String>> {
    raw.address.as_ref().or(raw.systemd.as_ref())
}

fn listener(raw: &RawListener, base: &Path, problems: &mut Problems) -> Listener {
    let passed = raw.systemd.as_ref().map(|name| {
        if !addresses::is_passed_name(name.get_ref()) {
            problems.error(name.span(), addresses::NO_PASSED_NAME);
        }
        Address::Systemd(Some(name.get_ref().clone()))
    });
    let address = raw.address.as_ref().and_then(|text| {
        addresses::parse(text.get_ref(), base)
            .map_err(|reason| {
                let message = format!("unable to listen on {:?}: {reason}", text.get_ref());
                problems.error(text.span(), message);
            })
            .ok()
    });
    let name = raw.name.as_ref().or(place(raw));
    let policy =
        |policy: &Option<Spanned<FallbackPolicy>>| policy.as_ref().map(|policy| *policy.get_ref());
    let default = Listener::inetd();
    Listener {
        name: name.map(|name| name.get_ref().clone()).unwrap_or_default(),
        address: address.or(passed).unwrap_or(Address::Inetd),
        unknown_name: policy(&raw.unknown_name).unwrap_or(default.unknown_name),
        missing_name: policy(&raw.missing_name).unwrap_or(default.missing_name),
        proxy_from: proxy_from(raw, problems),
    }
}

/// The places of the listeners that a host is on; `None`: they can't be made out.
fn listeners_of(
    host: &RawHost,
    listeners: &[Listener],
    problems: &mut Problems,
) -> Option<Vec<usize>> {
    let names = match &host.listen {
        RawListen::Every => return Some((0..listeners.len()).collect()),
        RawListen::Named(names) => names,
        RawListen::Unclear => return None,
    };
    let mut places = Vec::new();
    let mut unknown = false;
    for name in names {
        match listeners
            .iter()
            .position(|listener| listener.name == *name.get_ref())
        {
            Some(place) if places.contains(&place) => {}
            Some(place) => places.push(place),
            None => {
                let known: Vec<&str> = listeners
                    .iter()
                    .map(|listener| listener.name.as_str())
                    .collect();
                let message = format!(
                    "unknown listener {:?}: known are {}",
                    name.get_ref(),
                    known.join(", ")
                );
                problems.error(name.span(), message);
                unknown = true;
            }
        }
    }
    (!unknown || !places.is_empty()).then_some(places)
}

/// Why nobody can reach a host; `None`: somebody can, or it can't be told.
fn unreachable(host: &RawHost, on: &[usize], tables: &[Table]) -> Option<&'static str> {
    let is_default = host
        .default
        .as_ref()
        .is_some_and(|default| *default.get_ref());
    let nameless = host.names.as_ref().is_some_and(Vec::is_empty);
    let mut tables = on.iter().filter_map(|listener| tables.get(*listener));
    if on.is_empty() {
        Some("it is on no listener")
    } else if nameless && !is_default {
        Some("it has no names, and is not the default")
    } else if nameless && !tables.any(Table::uses_default) {
        Some("it has no names, and its listeners give nobody the default host")
    } else {
        None
    }
}

/// Warns of listeners that do less than they say.
fn doubt(raw: &Raw, listeners: &[Listener], tables: &[Table], problems: &mut Problems) {
    for (raw, (listener, table)) in raw.listeners.iter().zip(listeners.iter().zip(tables)) {
        let (place, raw, name) = (raw.span(), raw.get_ref(), &listener.name);
        if table.is_empty() && !problems.has_errors() {
            problems.warning(
                place,
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
