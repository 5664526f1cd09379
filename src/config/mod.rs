//! Text → checked values: the whole configuration, made once and never changed.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::available_parallelism;

use crate::exit::Exit;
use crate::tls::tickets::TicketKeys;
use crate::types::{Credentials, ListenerId};

mod backends;
mod checks;
mod command_line;
mod explain;
mod file;
mod host;
mod hosts;
mod limits;
mod listener;
mod log;
mod name_owners;
mod proxy_from;
mod run_as;
mod sources;
mod text;

pub use backends::{Backend, BackendAddress, BackendName, Backends};
pub use command_line::{CertificateSource, CommandLine, PskOption};
pub use host::{Destination, Host, OnTruncation, Psk};
pub use hosts::{Hosts, Route, RouteError, RouteReason};
pub use limits::{KeepAlive, Limits};
pub use listener::{Address, FallbackPolicy, Listener};
pub use log::{Log, LogFormat, LogTo};
pub use name_owners::PickReason;
pub use proxy_from::ProxyFrom;
pub use run_as::{Role, RunAs, UserFrom};
pub use sources::names::{NameLookup, Resolved};
pub use text::problems::Problems;

/// Where a configuration comes from.
pub enum ConfigSource {
    /// A file in TOML.
    File(PathBuf),
    /// The command line alone.
    CommandLine(CommandLine),
}

/// What a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A server that listens.
    Server,
    /// The one connection on descriptor 0.
    OneConnection,
}

/// What the command line says beside any file, and before it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the log goes (`-l`).
    pub log: Option<LogTo>,
    /// The name of the remote system (`-r`).
    pub remote_name: Option<String>,
    /// Whether to trace handshakes (`-D`).
    pub trace: Trace,
    /// The names of the sockets that systemd has passed, of each socket one; `None`: nobody is going to
    /// listen.
    pub passed: Option<Vec<String>>,
}

/// A configuration that can run.
pub struct Loaded {
    /// What runs.
    pub config: Config,
    /// Warnings and notices.
    pub problems: Problems,
    /// Of each host, in the order of the file.
    origins: Vec<checks::host::HostOrigin>,
    /// How many certificates were read.
    certificates: usize,
    /// How many identities there are in the PSK files that were read.
    psk_identities: usize,
}

/// A configuration that cannot run.
pub struct Refusal {
    /// Everything that is wrong.
    pub problems: Problems,
    /// The status to exit with, when it was meant to run.
    pub exit: Exit,
    /// Names that were to be in [`NameLookup::Done`]; nothing else is wrong then.
    pub unresolved: Vec<BackendName>,
}

/// Reads and checks a whole configuration. Nothing is bound or started.
pub fn load(source: &ConfigSource, form: Form, options: &Options) -> Result<Loaded, Refusal> {
    load_with(source, form, options, NameLookup::Wait)
}

/// As [`load`], with addresses from elsewhere.
pub fn load_with(
    source: &ConfigSource,
    form: Form,
    options: &Options,
    lookups: NameLookup<'_>,
) -> Result<Loaded, Refusal> {
    match source {
        ConfigSource::File(path) => file::load(path, form, options, lookups),
        ConfigSource::CommandLine(line) => command_line::load(line, options),
    }
}

/// Everything a running tlssrv was told, checked.
pub struct Config {
    /// Whether there are many connections, or one.
    pub form: Form,
    /// Number of engine processes, at least one.
    pub engines: usize,
    /// Whom the engines become; `None`: they stay who started tlssrv (it was not root).
    pub engine_credentials: Option<Credentials>,
    /// Where the log goes, and how it looks.
    pub log: Log,
    /// What one client, and all of them, may use.
    pub limits: Limits,
    /// Where metrics are asked for; `None`: nowhere.
    pub metrics: Option<Address>,
    /// In the order of the file; never empty (the one-connection form has one, without an address).
    pub listeners: Vec<Listener>,
    /// The virtual hosts, and how to find them.
    pub hosts: Hosts,
    /// The keys of session tickets that other machines have, too; `None`: random ones, of our own.
    pub ticket_keys: Option<TicketKeys>,
    /// The name of the remote system (`-r`), for reports and `TCPREMOTEHOST`.
    pub remote_name: Option<String>,
    /// Whether engines report the steps of each handshake (`-D`).
    pub trace: Trace,
}

impl Config {
    /// The listener whose rules hold for a connection on descriptor 0 that has this local address:
    /// the one that listens there; else the first one on that port; else the first one.
    pub fn listener_for(&self, local: Option<SocketAddr>) -> ListenerId {
        let likeness =
            |listener: &Listener| local.map_or(0, |local| listener.address.likeness(local));
        let mut best = (0, 0);
        for (place, listener) in self.listeners.iter().enumerate() {
            let likeness = likeness(listener);
            if likeness > best.1 {
                best = (place, likeness);
            }
        }
        ListenerId::new(best.0)
    }

    /// The listener of an id that [`Hosts::route`] takes.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(id.index())
    }
}

/// Whether engines report the steps of each handshake (`-D`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// One line per connection, no more.
    Off,
    /// `tls reports …` lines as well.
    On,
}

/// One engine for each core that we may run on.
fn default_engines() -> usize {
    available_parallelism().map_or(1, std::num::NonZero::get)
}
