//! Text → checked values: the whole configuration, made once and never changed.
#![forbid(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::exit::Exit;
use crate::tls::client::Policy;
use crate::tls::profile::Profile;
use crate::tls::staple::Shown;
use crate::tls::tickets::TicketKeys;
use crate::types::{ListenerId, NamePattern, Stdio};

mod account;
mod address;
mod backend;
mod certificate;
mod claim;
mod clients;
mod credentials;
mod explain;
mod file;
mod files;
mod host;
mod hosts;
mod line;
mod listen;
mod metrics;
mod problem;
mod profile;
mod program;
mod proxy_from;
mod psk;
mod raw;
mod raw_clients;
mod rlimit;
mod run_as;
mod staples;
mod table;
mod tickets;

pub use backend::{Backend, Backends, Found, Lookups, Name, Target};
pub use claim::Pick;
pub use hosts::{Hosts, Route, Unrouted, Why};
pub use line::{CommandLine, Identities, PskOption};
pub use problem::Problems;
pub use proxy_from::ProxyFrom;
pub use psk::Psk;
pub use run_as::{Role, RunAs, UserFrom};

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
    origins: Vec<host::Origin>,
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
    /// Names that were to be in [`Lookups::Done`]; nothing else is wrong then.
    pub unresolved: Vec<Name>,
}

/// Reads and checks a whole configuration. Nothing is bound or started.
pub fn load(source: &ConfigSource, form: Form, options: &Options) -> Result<Loaded, Refusal> {
    load_with(source, form, options, Lookups::Wait)
}

/// As [`load`], with addresses from elsewhere.
pub fn load_with(
    source: &ConfigSource,
    form: Form,
    options: &Options,
    lookups: Lookups<'_>,
) -> Result<Loaded, Refusal> {
    match source {
        ConfigSource::File(path) => file::load(path, form, options, lookups),
        ConfigSource::CommandLine(line) => line::load(line, options),
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
        let likeness = |listener: &Listener| match (&listener.address, local) {
            (Address::Tcp(bound), Some(local)) => bound
                .iter()
                .map(|bound| address::likeness(*bound, local))
                .max()
                .unwrap_or(0),
            _ => 0,
        };
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

/// Where the log goes, and how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where.
    pub to: LogTo,
    /// How.
    pub format: LogFormat,
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// The system's log, under this tag.
    Syslog(String),
    /// Descriptor 2.
    Stderr,
    /// Appended to this file.
    File(PathBuf),
}

impl LogTo {
    /// What `-l` means: a file when there is a slash in it, else a tag for the system's log.
    pub fn from_option(name: &OsStr) -> Self {
        match name.as_bytes().contains(&b'/') {
            true => Self::File(std::path::absolute(name).unwrap_or_else(|_| name.into())),
            false => Self::Syslog(name.to_string_lossy().into_owned()),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value` pairs (logfmt).
    Text,
    /// One JSON object per line.
    Json,
}

/// What one client, and all of them, may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at a time, commands that outlive theirs included.
    pub connections: usize,
    /// Those of one IPv4 address, or of one /64 of IPv6; `None`: no limit.
    pub per_source: Option<usize>,
    /// New ones in a second from there; `None`: no limit.
    pub per_source_rate: Option<u32>,
    /// From accept to the end of the handshake.
    pub handshake: Duration,
    /// Without a byte either way; `None`: no limit.
    pub idle: Option<Duration>,
    /// After one side has ended; starts anew whenever the other side still moves.
    pub linger: Duration,
    /// When a client that says nothing is asked whether it is still there.
    pub keep_alive: KeepAlive,
    /// Bytes that the kernel keeps for a client (`SO_SNDBUF`); `None`: as many as it finds good.
    pub send_buffer: Option<usize>,
    /// Bytes that it keeps of a client (`SO_RCVBUF`); `None`: as many as it finds good.
    pub receive_buffer: Option<usize>,
}

/// When TCP asks a client that says nothing whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// As the system does (`net.ipv4.tcp_keepalive_time`, two hours).
    System,
    /// Never.
    Off,
    /// After so long a time, in whole seconds.
    After(Duration),
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            per_source: Some(64),
            per_source_rate: None,
            handshake: Duration::from_secs(10),
            idle: None,
            linger: Duration::from_secs(60),
            keep_alive: KeepAlive::System,
            send_buffer: None,
            receive_buffer: None,
        }
    }
}

/// One `[[listen]]`, or one `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in `[[host]] listen`; the address when it has none of its own.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// What a client gets whose server name no host has.
    pub unknown_name: Nameless,
    /// What a client gets that sends no server name.
    pub missing_name: Nameless,
    /// Whose PROXY headers say who its clients are; `None`: clients come by themselves.
    pub proxy_from: Option<ProxyFrom>,
}

impl Listener {
    /// That of the one connection on descriptor 0, with the rules that hold where none are given.
    fn inetd() -> Self {
        Self {
            name: "inetd".into(),
            address: Address::Inetd,
            unknown_name: Nameless::Reject,
            missing_name: Nameless::Default,
            proxy_from: None,
        }
    }
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, on each of these; an unspecified IPv6 address takes IPv4 too.
    Tcp(Vec<SocketAddr>),
    /// A Unix-domain socket.
    Unix(PathBuf),
    /// The sockets of this name (`FileDescriptorName=`) that systemd passes; `None`: all of them.
    Systemd(Option<String>),
    /// Nowhere: the connection is descriptor 0.
    Inetd,
}

/// What a client gets that names no host of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nameless {
    /// A fatal alert: `unrecognized_name` (RFC 6066 §3), or without a name `missing_extension` (RFC
    /// 8446 §9.2).
    Reject,
    /// The listener's default host.
    Default,
}

/// One `[[host]]`.
pub struct Host {
    /// Its first name, or `default` where it has none: what the log calls it.
    pub label: String,
    /// What it answers to; may be empty for a default host.
    pub names: Vec<NamePattern>,
    /// Certificate chains with their keys, in the order of the file; empty only where there is a `psk`.
    pub identities: Vec<Shown>,
    /// Pre-shared keys; absent only where there are `identities`.
    pub psk: Option<Psk>,
    /// What is asked of the certificates of clients; only where there are `identities`.
    pub client_auth: Option<Policy>,
    /// Protocols for ALPN, most preferred first; empty: no ALPN.
    pub alpn: Vec<String>,
    /// Versions, suites and groups.
    pub profile: Profile,
    /// What its clients are connected to.
    pub answer: Answer,
    /// Its clients at a time, commands that outlive theirs included; `None`: no limit of its own.
    pub connections: Option<usize>,
    /// What the command sees when its peer vanishes without `close_notify`.
    pub on_truncation: OnTruncation,
}

/// What the clients of a host are connected to.
pub enum Answer {
    /// A command, one for each.
    Command {
        /// What is started.
        program: Box<Program>,
        /// Whom that becomes.
        run_as: RunAs,
    },
    /// A server that listens elsewhere.
    Backends(Backends),
}

/// What the command, or the backend, sees when its peer vanishes without `close_notify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTruncation {
    /// End-of-file.
    Eof,
    /// SIGKILL; a backend, that its connection is reset.
    Kill,
}

/// A command ready to exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute path.
    pub path: CString,
    /// Its arguments, its own name first.
    pub argv: Vec<CString>,
    /// Where it starts; `None`: where tlssrv was started.
    pub directory: Option<CString>,
    /// Its file mode creation mask; `None`: tlssrv's own.
    pub umask: Option<u32>,
    /// Soft and hard limits to set; the others are those that tlssrv was started with.
    pub rlimits: Vec<Rlimit>,
    /// What its descriptors 0 and 1 are.
    pub stdio: Stdio,
    /// What its descriptor 2 is.
    pub stderr: Stderr,
}

/// User and groups that a process takes for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
    /// Supplementary groups, the whole list.
    pub groups: Vec<u32>,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Which: a `RLIMIT_…` constant.
    pub resource: nix::sys::resource::Resource,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// What a command's descriptor 2 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    /// A pipe into tlssrv's log.
    Log,
    /// tlssrv's own.
    Inherit,
    /// `/dev/null`.
    Null,
}

/// One engine for each core that we may run on.
fn default_engines() -> usize {
    available_parallelism().map_or(1, std::num::NonZero::get)
}
