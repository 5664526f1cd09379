//! The one log line of a connection, and its outcome.
#![forbid(unsafe_code)]

use std::time::Duration;

use nix::errno::Errno;
use serde_json::Value;

use super::client::{Client, ClientSide, PlaintextSide};
use crate::exit::Exit;
use crate::log::{Allowance, Fields, Logger};
use crate::message::{End, Summary};
use crate::process::{Ended, LaunchError, Step, address_text};
use crate::tls::names::{group_name, suite_name, version_name};
use crate::types::Severity;

/// Lines per second about connections of one kind that fail before they get a command.
const FAILURES_PER_SECOND: u32 = 50;

impl Client {
    /// Writes the line of a connection that has ended.
    pub(super) fn log(&self, logger: &mut Logger) {
        let ClientSide::Ended(summary, ended) = &self.side else {
            return;
        };
        let unused = self.plaintext == PlaintextSide::NotRequested;
        let is_probe = summary.silent && unused && summary.end != End::Refused;
        if is_probe && !self.generation.config.log.probes {
            return;
        }
        let end = self.end_text(&summary.end);
        let severity = match self.plaintext {
            PlaintextSide::LaunchFailed(_) => Severity::Err,
            _ => Severity::Info,
        };
        // A connection that had a command always counts; any stranger can cause the others.
        let allowance = match self.plaintext {
            _ if summary.end == End::Refused => Allowance::PerSecond(1, &end),
            PlaintextSide::NotRequested
            | PlaintextSide::LaunchFailed(_)
            | PlaintextSide::NoUser
            | PlaintextSide::NoBackend(_) => Allowance::PerSecond(FAILURES_PER_SECOND, &end),
            _ => Allowance::Unlimited,
        };
        let duration = ended.duration_since(self.accepted);
        logger.fields(severity, &self.fields(summary, &end, duration), allowance);
    }

    fn fields(&self, summary: &Summary, end: &str, duration: Duration) -> Fields {
        let handshake = &self.handshake;
        let mut fields = Fields::with_capacity(20);
        let mut set = |key, value: Option<Value>| fields.extend(value.map(|value| (key, value)));
        set("id", Some(self.name.as_str().into()));
        set("peer", Some(self.peer().into()));
        let proxy = self.load_balancer.map(address_text);
        set("proxy", proxy.map(Into::into));
        let listener = self.generation.listener_name(self.listener);
        set("listen", listener.map(Into::into));
        let server_name = handshake.server_name.as_ref();
        let unfit_name = summary.unfit_name.as_ref().map(ToString::to_string);
        let server_name = server_name.map(|name| name.as_str().into());
        set("sni", server_name.or(unfit_name.map(Into::into)));
        set("host", self.host().map(|host| host.label.as_str().into()));
        set(
            "tls",
            handshake.version.and_then(version_name).map(Into::into),
        );
        set(
            "suite",
            handshake.suite.and_then(suite_name).map(Into::into),
        );
        set(
            "group",
            handshake.group.and_then(group_name).map(Into::into),
        );
        set("alpn", handshake.alpn.as_deref().map(Into::into));
        set("resumed", handshake.resumed.map(Into::into));
        set("auth", self.auth().map(Into::into));
        set("identity", self.identity().map(Into::into));
        let (pid, exit) = match self.plaintext {
            PlaintextSide::Running(pid) => (Some(pid), None),
            PlaintextSide::Exited(pid, ended) => (Some(pid), Some(exit_value(ended))),
            _ => (None, None),
        };
        set("pid", pid.map(|pid| pid.as_raw().into()));
        set("exit", exit);
        let backend = match &self.plaintext {
            PlaintextSide::Connected(target) => Some(target.to_string().into()),
            _ => None,
        };
        set("backend", backend);
        set("in", Some(summary.received.into()));
        set("out", Some(summary.sent.into()));
        set("handshake_ms", self.handshake_ms.map(Into::into));
        let duration = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        set("duration_ms", Some(duration.into()));
        set("end", Some(end.into()));
        fields
    }

    /// How the connection ended, as one of a few words.
    pub(in crate::monitor) fn outcome(&self) -> &'static str {
        let ClientSide::Ended(Summary { end, .. }, _) = &self.side else {
            return "refused";
        };
        match (end, &self.plaintext) {
            (
                _,
                PlaintextSide::LaunchFailed(_)
                | PlaintextSide::NoUser
                | PlaintextSide::NoBackend(_),
            ) => "launch",
            (End::Closed, _) => "closed",
            (End::Truncated, _) => "truncated",
            (End::Reset, _) => "reset",
            (End::Timeout, _) => "timeout",
            (End::BackendReset, _) => "backend",
            (End::Killed, _) => "command",
            (End::Refused | End::NoProgram, _) => "refused",
            (End::Handshake(_), _) => "handshake",
            (End::Tls(_), _) => "tls",
        }
    }

    /// How the connection ended, with the reason.
    fn end_text(&self, end: &End) -> String {
        match (end, &self.plaintext) {
            (_, PlaintextSide::LaunchFailed(e)) => format!("launch: {e} ({:?})", e.errno),
            (_, PlaintextSide::NoUser) => match self.handshake.psk_identity {
                None => "launch: the common name has no user in the table".to_owned(),
                Some(_) => "launch: the identity has no user in the PSK file".to_owned(),
            },
            (_, PlaintextSide::NoBackend(why)) => format!("launch: no backend: {why}"),
            (End::BackendReset, _) => "backend: reset".to_owned(),
            (End::Killed, PlaintextSide::Exited(_, signal @ Ended::Killed(_))) => {
                format!("command: killed by {signal}")
            }
            (End::Killed, _) => "command: killed".to_owned(),
            (End::Handshake(reason), _) => format!("handshake: {reason}"),
            (End::Tls(reason), _) => format!("tls: {reason}"),
            _ => self.outcome().to_owned(),
        }
    }

    /// The exit status of the one-connection form.
    pub(super) fn exit(&self) -> Exit {
        match self.plaintext {
            PlaintextSide::NotRequested => Exit::Handshake,
            PlaintextSide::LaunchFailed(LaunchError {
                step: Step::Exec,
                errno: Errno::ENOENT,
            }) => Exit::NotFound,
            PlaintextSide::LaunchFailed(_) | PlaintextSide::NoUser => Exit::NotExecutable,
            PlaintextSide::Exited(_, Ended::Exited(status)) => Exit::Command(status),
            // The status that a shell gives.
            PlaintextSide::Exited(_, Ended::Killed(signal)) => {
                Exit::Command(u8::try_from(128 + signal).unwrap_or(u8::MAX))
            }
            PlaintextSide::NoBackend(_) => Exit::System,
            PlaintextSide::Running(_) => Exit::Success,
            PlaintextSide::Dialling | PlaintextSide::Connected(_) => Exit::Success,
        }
    }
}

/// An exit status as a number, a signal by its name.
fn exit_value(ended: Ended) -> Value {
    match ended {
        Ended::Exited(status) => status.into(),
        Ended::Killed(_) => ended.to_string().into(),
    }
}
