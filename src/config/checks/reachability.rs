//! Checks that clients can reach a host, and decides what becomes of clients with an unknown name.
#![forbid(unsafe_code)]

use toml::Spanned;

use crate::config::hosts::RoutingTable;
use crate::config::listener::{FallbackPolicy, Listener};
use crate::config::text::raw_host::{RawHost, RawListen};
use crate::types::ListenerId;

/// `unknown-name` of a listener that does not say it: where no host has names, the default host gets every
/// client. `listener`: its name; `None`: the only listener is descriptor 0.
pub(super) fn unknown_name(hosts: &[Spanned<RawHost>], listener: Option<&str>) -> FallbackPolicy {
    let is_named = |host: &Spanned<RawHost>| {
        let host = host.get_ref();
        let is_here = match (&host.listen, listener) {
            (RawListen::Named(names), Some(listener)) => {
                names.iter().any(|name| name.get_ref() == listener)
            }
            _ => true,
        };
        is_here && !is_nameless(host)
    };
    match hosts.iter().any(is_named) {
        true => FallbackPolicy::Reject,
        false => FallbackPolicy::Default,
    }
}

/// Reason why no client can reach a host. `None`: none is known.
pub(super) fn unreachable(
    host: &RawHost,
    on: &[ListenerId],
    tables: &[RoutingTable],
) -> Option<&'static str> {
    let nameless = is_nameless(host);
    let mut tables = on
        .iter()
        .filter_map(|listener| tables.get(listener.index()));
    if on.is_empty() {
        Some("it is on no listener")
    } else if nameless && !is_default(host) {
        Some("it has no names, and is not the default")
    } else if nameless && !tables.any(RoutingTable::uses_default) {
        Some("it has no names, and its listeners give nobody the default host")
    } else {
        None
    }
}

/// Warning about a default host without names that no client gets which sends one, as all clients of today
/// do. `None`: the host has names or gets such clients, or the listener says that it should not.
/// `explicit`: whether each listener has `unknown-name` in the file.
pub(super) fn hardly_reachable(
    host: &RawHost,
    on: &[ListenerId],
    listeners: &[Listener],
    explicit: &[bool],
    tables: &[RoutingTable],
) -> Option<String> {
    if !is_nameless(host) || !is_default(host) {
        return None;
    }
    on.iter().find_map(|id| {
        let (listener, table) = (listeners.get(id.index())?, tables.get(id.index())?);
        let is_explicit = explicit.get(id.index()).is_some_and(|explicit| *explicit);
        let name = &listener.name;
        let only = format!("only clients that send no name reach this host on listener {name:?}");
        match (listener.unknown_name, is_explicit, table.has_names()) {
            (FallbackPolicy::Reject, false, true) => Some(format!("{only}: {GIVE}")),
            (FallbackPolicy::Reject, true, false) => Some(format!("{only}: {NO_NAMES}")),
            _ => None,
        }
    })
}

const GIVE: &str = "unknown-name = \"default\" in its [[listen]] gives the host all others, too, and \
                    unknown-name = \"reject\" says that it is meant so";
const NO_NAMES: &str = "the listener has unknown-name = \"reject\", and no host on it has names";

fn is_default(host: &RawHost) -> bool {
    let default = host.default.as_ref();
    default.is_some_and(|default| *default.get_ref())
}

fn is_nameless(host: &RawHost) -> bool {
    host.names.as_ref().is_some_and(Vec::is_empty)
}
