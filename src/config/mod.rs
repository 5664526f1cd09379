//! The configuration: reads text, checks it and makes values that never change.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::available_parallelism;

use crate::exit::Exit;
use crate::tls::tickets::TicketKeys;
use crate::types::{Credentials, ListenerId, Severity};

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
pub use limits::{KeepAlive, Limits, PerSource};
pub use listener::{Address, FallbackPolicy, Listener};
pub use log::{Log, LogFormat, LogTo};
pub use name_owners::PickReason;
pub use proxy_from::ProxyFrom;
pub use run_as::{Role, RunAs, UserFrom};
pub use sources::names::{NameLookup, Resolved, resolve};
pub use text::problems::Problems;

/// Source of a configuration.
pub enum ConfigSource {
    /// A TOML file.
    File(PathBuf),
    /// The command line, without a file.
    CommandLine(CommandLine),
}

/// Kind of process that a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A server that listens.
    Server,
    /// A process for the one connection on descriptor 0.
    OneConnection,
}

/// Command-line options that apply with or without a file, and override the file.
#[derive(Clone, Debug)]
pub struct Options {
    /// Destination of the log (`-l`); `None`: the one in the file.
    pub log: Option<LogTo>,
    /// The mildest severity that is logged (`--quiet`); `None`: the one in the file.
    pub level: Option<Severity>,
    /// Name of the remote system (`-r`).
    pub remote_name: Option<String>,
    /// Whether engines report the steps of each handshake (`-D`).
    pub trace: Trace,
    /// Name of each socket that systemd has passed; `None`: tlssrv will not listen with this
    /// configuration.
    pub passed: Option<Vec<String>>,
}

/// A configuration without errors.
pub struct Loaded {
    /// The configuration itself.
    pub config: Config,
    /// Warnings and notices about the configuration.
    pub problems: Problems,
    /// Origin of each host, in the order of the file.
    origins: Vec<checks::host::HostOrigin>,
    /// Number of certificates that were read.
    certificates: usize,
    /// Number of identities in the PSK files that were read.
    psk_identities: usize,
}

/// A configuration with errors.
pub struct Refusal {
    /// All errors, warnings and notices.
    pub problems: Problems,
    /// Exit status for a tlssrv that was started with this configuration.
    pub exit: Exit,
    /// Backend names that [`NameLookup::Done`] lacks. If there are any, there are no errors.
    pub unresolved: Vec<BackendName>,
}

/// Reads and checks a whole configuration. Nothing is bound or started.
pub fn load(source: &ConfigSource, form: Form, options: &Options) -> Result<Loaded, Refusal> {
    load_with(source, form, options, NameLookup::Wait)
}

/// Reads and checks a whole configuration as [`load`] does, with the given name lookups.
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

/// A checked configuration.
pub struct Config {
    /// Kind of process that the configuration is for.
    pub form: Form,
    /// Number of engine processes, at least one.
    pub engines: usize,
    /// User that the engines run as; `None`: the user that started tlssrv, which was not root.
    pub engine_credentials: Option<Credentials>,
    /// Destination and format of the log.
    pub log: Log,
    /// Limits per source and for all connections.
    pub limits: Limits,
    /// Address that serves metrics; `None`: metrics are not served.
    pub metrics: Option<Address>,
    /// Listeners, in the order of the file. There is at least one: [`Form::OneConnection`] has one
    /// without an address.
    pub listeners: Vec<Listener>,
    /// Virtual hosts, and the tables that route clients to them.
    pub hosts: Hosts,
    /// Session-ticket keys that are shared with other machines; `None`: random keys.
    pub ticket_keys: Option<TicketKeys>,
    /// Name of the remote system (`-r`), for reports and `TCPREMOTEHOST`.
    pub remote_name: Option<String>,
    /// Whether engines report the steps of each handshake (`-D`).
    pub trace: Trace,
}

impl Config {
    /// Listener whose rules apply to a connection on descriptor 0 with this local address.
    ///
    /// It is the listener that listens on this address; else the first one on the same port; else the
    /// first one.
    pub fn listener_for(&self, local: Option<SocketAddr>) -> ListenerId {
        let likeness =
            |listener: &Listener| local.map_or(0, |local| listener.address.likeness(local));
        let (mut best, mut most) = (0, 0);
        for (index, listener) in self.listeners.iter().enumerate() {
            let likeness = likeness(listener);
            if likeness > most {
                (best, most) = (index, likeness);
            }
        }
        ListenerId::new(best)
    }

    /// The listener with this id.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(id.index())
    }
}

/// Whether engines report the steps of each handshake (`-D`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Engines report one line per connection.
    Off,
    /// Engines report `tls reports …` lines as well.
    On,
}

/// Default number of engines: the number of cores that tlssrv may run on.
fn default_engines() -> usize {
    available_parallelism().map_or(1, std::num::NonZero::get)
}
