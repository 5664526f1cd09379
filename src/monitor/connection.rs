//! What the monitor knows of a connection, and the one log line that it gets.
#![forbid(unsafe_code)]

use std::io::{PipeReader, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::engines::Blueprint;
use super::limits::Source;
use super::numbers::Numbers;
use crate::config::Target;
use crate::log::{Allowance, Fields, Logger};
use crate::message::{End, Report};
use crate::process::LaunchError;
use crate::tls::names::{group_name, suite_name, version_name};
use crate::types::{ConnectionId, HandshakeInfo, HostId, ListenerId, Severity};

/// Bytes of a command's stderr that make a line, at most; the rest is another line.
const MAX_LINE: usize = 1024;
/// Lines that all commands together may write to stderr in a second.
const STDERR_LINES: u32 = 1000;
/// Connections of a kind that fail before they get a command, and get a line, in a second.
const HANDSHAKES: u32 = 50;
/// Bytes of stderr taken before others get their turn.
const STDERR_CHUNK: usize = 4096;

/// A connection, from accept to the end of both its client and its command.
pub(super) struct Connection {
    /// As the log and `TLSSRV_ID` have it.
    pub(super) name: String,
    /// What it was accepted for: it ends with the configuration that it began with.
    pub(super) blueprint: Arc<Blueprint>,
    /// The place of its engine.
    pub(super) engine: usize,
    pub(super) listener: ListenerId,
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
    pub(super) accepted: Instant,
    /// Whether its PROXY header has not come yet: `addresses` are the load balancer's until then.
    pub(super) awaits_header: bool,
    /// The load balancer that it has come by.
    pub(super) proxy: Option<SocketAddr>,
    /// What its limits count it for.
    pub(super) source: Option<Source>,
    /// Where the host has a limit of its own, the place that it has got there.
    pub(super) reserved: Option<HostId>,
    pub(super) host: Option<HostId>,
    pub(super) facts: HandshakeInfo,
    pub(super) handshake_ms: Option<u32>,
    pub(super) command: Command,
    pub(super) stderr: Option<StderrLog>,
    pub(super) client: Client,
    /// Plaintext bytes from the client and to it, as far as they are known and counted.
    pub(super) moved: (u64, u64),
}

/// What has become of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// It was not asked for yet.
    Unwanted,
    /// It could not be started.
    Failed(LaunchError),
    /// The client's identity has no user whom it could become.
    NoUser,
    Running(Pid),
    Exited(Pid, WaitStatus),
    /// In its place a backend was asked for, and none has accepted yet.
    Dialling,
    /// None has; the reason.
    NoBackend(String),
    /// This one has.
    Connected(Target),
}

/// What has become of the client's side.
#[derive(Debug)]
pub(super) enum Client {
    /// An engine serves it.
    Served,
    /// It has ended at this time.
    Ended(Report, Instant),
}

/// A command's descriptor 2.
pub(super) struct StderrLog {
    pub(super) pipe: PipeReader,
    partial: Vec<u8>,
}

impl Connection {
    /// Whether nothing of it is left: neither the client nor the command.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.client, Client::Ended(..)) && !matches!(self.command, Command::Running(_))
    }

    /// Whether its client is connected.
    pub(super) fn is_served(&self) -> bool {
        matches!(self.client, Client::Served)
    }

    /// Whether its command runs.
    pub(super) fn runs(&self) -> bool {
        matches!(self.command, Command::Running(_))
    }

    /// The label of its host; empty: none is chosen yet, or none ever was.
    pub(super) fn host_label(&self) -> &str {
        let hosts = &self.blueprint.config.hosts;
        let host = self.host.and_then(|host| hosts.get(host));
        host.map_or("", |host| host.label.as_str())
    }

    /// Takes note that so many bytes have moved by now.
    pub(super) fn count_moved(&mut self, received: u64, sent: u64, numbers: &Numbers) {
        let (up, down) = self.moved;
        let new = (received.saturating_sub(up), sent.saturating_sub(down));
        numbers.moved(self.host_label(), new.0, new.1);
        self.moved = (up.max(received), down.max(sent));
    }

    /// Writes its line.
    pub(super) fn log(&self, logger: &mut Logger) {
        let Client::Ended(report, ended) = &self.client else {
            return;
        };
        let end = self.end(&report.end);
        let severity = match self.command {
            Command::Failed(_) => Severity::Err,
            _ => Severity::Info,
        };
        // Once a command has run, each one counts; else it is any stranger who knocks.
        let allowance = match self.command {
            _ if report.end == End::Refused => Allowance::PerSecond(1, &end),
            Command::Unwanted | Command::Failed(_) | Command::NoUser | Command::NoBackend(_) => {
                Allowance::PerSecond(HANDSHAKES, &end)
            }
            _ => Allowance::Unlimited,
        };
        let ended = ended.duration_since(self.accepted);
        logger.fields(severity, &self.fields(report, &end, ended), allowance);
    }

    fn fields(&self, report: &Report, end: &str, duration: Duration) -> Fields {
        let config = &self.blueprint.config;
        let facts = &self.facts;
        let mut fields = Fields::with_capacity(20);
        let mut set =
            |key, value: Option<serde_json::Value>| fields.extend(value.map(|value| (key, value)));
        set("id", Some(self.name.as_str().into()));
        set(
            "peer",
            Some(
                self.addresses
                    .map_or("unix".to_owned(), |(peer, _)| canonical(peer).to_string())
                    .into(),
            ),
        );
        let proxy = self.proxy.map(|proxy| canonical(proxy).to_string());
        set("proxy", proxy.map(Into::into));
        set(
            "listen",
            config
                .listener(self.listener)
                .map(|l| l.name.as_str().into()),
        );
        set(
            "sni",
            facts.server_name.as_ref().map(|name| name.as_str().into()),
        );
        set(
            "host",
            self.host
                .and_then(|host| config.hosts.get(host))
                .map(|host| host.label.as_str().into()),
        );
        set("tls", facts.version.and_then(version_name).map(Into::into));
        set("suite", facts.suite.and_then(suite_name).map(Into::into));
        set("group", facts.group.and_then(group_name).map(Into::into));
        set("alpn", facts.alpn.as_deref().map(Into::into));
        set("resumed", facts.resumed.map(Into::into));
        // Before the handshake is complete, nobody has shown to be anybody.
        set("auth", self.auth().map(Into::into));
        set("identity", self.identity().map(Into::into));
        let (pid, exit) = match self.command {
            Command::Running(pid) => (Some(pid), None),
            Command::Exited(pid, status) => (Some(pid), exit_text(status)),
            _ => (None, None),
        };
        set("pid", pid.map(|pid| pid.as_raw().into()));
        set(
            "exit",
            exit.map(|exit| exit.parse::<i32>().map_or(exit.into(), Into::into)),
        );
        let backend = match &self.command {
            Command::Connected(target) => Some(target.to_string().into()),
            _ => None,
        };
        set("backend", backend);
        set("in", Some(report.received.into()));
        set("out", Some(report.sent.into()));
        set("handshake_ms", self.handshake_ms.map(Into::into));
        set(
            "duration_ms",
            Some(
                u64::try_from(duration.as_millis())
                    .unwrap_or(u64::MAX)
                    .into(),
            ),
        );
        set("end", Some(end.into()));
        fields
    }

    /// How client and server have shown who they are, once they have.
    pub(super) fn auth(&self) -> Option<&'static str> {
        self.handshake_ms?;
        Some(match (&self.facts.psk_identity, &self.facts.client) {
            (Some(_), _) => "psk",
            (None, Some(_)) => "mtls",
            (None, None) => "cert",
        })
    }

    /// Who the client has shown to be, as the log shows it.
    pub(super) fn identity(&self) -> Option<String> {
        self.handshake_ms?;
        let facts = &self.facts;
        let client = || facts.client.as_ref().map(|client| client.identity());
        let psk = facts.psk_identity.as_ref().map(ToString::to_string);
        psk.or_else(client)
    }

    /// How it ended, as one word of few.
    pub(super) fn outcome(&self) -> &'static str {
        let Client::Ended(Report { end, .. }, _) = &self.client else {
            return "refused";
        };
        match (end, &self.command) {
            (_, Command::Failed(_) | Command::NoUser | Command::NoBackend(_)) => "launch",
            (End::Closed, _) => "closed",
            (End::Truncated, _) => "truncated",
            (End::Reset, _) => "reset",
            (End::Timeout, _) => "timeout",
            (End::Backend, _) => "backend",
            (End::Refused | End::Launch, _) => "refused",
            (End::Handshake(_), _) => "handshake",
            (End::Tls(_), _) => "tls",
        }
    }

    /// How it ended, in words.
    pub(super) fn end(&self, end: &End) -> String {
        match (end, &self.command) {
            (_, Command::Failed(e)) => {
                format!("launch: {e} ({:?})", e.errno)
            }
            (_, Command::NoUser) if self.facts.psk_identity.is_none() => {
                "launch: the common name has no user in the table".to_owned()
            }
            (_, Command::NoUser) => "launch: the identity has no user in the PSK file".to_owned(),
            (_, Command::NoBackend(why)) => format!("launch: no backend: {why}"),
            (End::Closed, _) => "closed".to_owned(),
            (End::Truncated, _) => "truncated".to_owned(),
            (End::Reset, _) => "reset".to_owned(),
            (End::Timeout, _) => "timeout".to_owned(),
            (End::Backend, _) => "backend: reset".to_owned(),
            (End::Refused | End::Launch, _) => "refused".to_owned(),
            (End::Handshake(reason), _) => format!("handshake: {reason}"),
            (End::Tls(reason), _) => format!("tls: {reason}"),
        }
    }
}

impl StderrLog {
    /// The log of what comes through this pipe, which is non-blocking.
    pub(super) fn new(pipe: PipeReader) -> Self {
        Self {
            pipe,
            partial: Vec::new(),
        }
    }

    /// Logs the lines that have come, and says how many bytes that was; `None`: no more will come.
    pub(super) fn read(&mut self, name: &str, logger: &mut Logger) -> Option<usize> {
        let mut chunk = [0; STDERR_CHUNK];
        match self.pipe.read(&mut chunk) {
            Ok(n @ 1..) => {
                for &byte in chunk.get(..n).unwrap_or_default() {
                    match byte {
                        b'\n' => self.line(name, logger),
                        byte => self.partial.push(byte),
                    }
                    if self.partial.len() >= MAX_LINE {
                        self.line(name, logger);
                    }
                }
                Some(n)
            }
            Err(e) if e.raw_os_error().map(Errno::from_raw) == Some(Errno::EAGAIN) => Some(0),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Some(0),
            Ok(_) | Err(_) => None,
        }
    }

    /// Logs what is there, and gives up the pipe.
    pub(super) fn finish(mut self, name: &str, logger: &mut Logger) {
        // As much as a pipe holds, no more: a grandchild may go on writing.
        for _ in 0..16 {
            if !matches!(self.read(name, logger), Some(1..)) {
                break;
            }
        }
        if !self.partial.is_empty() {
            self.line(name, logger);
        }
    }

    fn line(&mut self, name: &str, logger: &mut Logger) {
        let line = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial.clear();
        let fields = vec![("id", name.into()), ("stderr", line.into())];
        logger.fields(
            Severity::Info,
            &fields,
            Allowance::PerSecond(STDERR_LINES, "stderr"),
        );
    }
}

/// What the log calls a connection: unique on this machine for as long as the monitor lives.
pub(super) fn name(id: ConnectionId) -> String {
    format!("{}.{id}", std::process::id())
}

/// An exit status as a number, a signal by its name.
pub(super) fn exit_text(status: WaitStatus) -> Option<String> {
    match status {
        WaitStatus::Exited(_, status) => Some(status.to_string()),
        WaitStatus::Signaled(_, signal, _) => Some(signal.as_str().to_owned()),
        _ => None,
    }
}

pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
