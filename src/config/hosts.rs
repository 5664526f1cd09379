//! The virtual-host table: (listener, server name) → host, and the reason.
#![forbid(unsafe_code)]

use super::Host;
use crate::tls::name::ServerName;

/// What a host answers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// This name.
    Exact(ServerName),
    /// Any name of one label more than this one (`*.example.com` holds `example.com`).
    Wildcard(ServerName),
}

/// The virtual hosts of all listeners.
pub struct Hosts {
    hosts: Vec<Host>,
}

/// The host that a client gets, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its place in the table.
    pub host: usize,
    /// By which rule.
    pub why: Why,
}

/// The rule that chose a host, in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The name is one of the host's.
    Exact,
    /// This wildcard of the host's stands for it.
    Wildcard(Pattern),
    /// No host has the name; the listener gives such clients the default host.
    DefaultForUnknown,
    /// The client sent no name; the listener gives such clients the default host.
    DefaultForMissing,
}

/// Why a client gets no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// No host on this listener has the name.
    UnknownName,
    /// The client sent no name, and there is no default, or the listener rejects such clients.
    MissingName,
}

impl Hosts {
    /// The host at a place that [`Hosts::route`] gave.
    pub fn get(&self, host: usize) -> Option<&Host> {
        self.hosts.get(host)
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }
}
