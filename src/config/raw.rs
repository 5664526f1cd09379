//! What the TOML can say: every key, its type, and which of them a file cannot do without.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::backend::{self, RawConnect};
use super::problem::Problems;
use super::raw_clients::{Files, RawClients};
use super::table::{FromToml, Table, word, wrong_type};
use super::{Form, LogFormat, Nameless, OnTruncation, Stderr, UserFrom};
use crate::proxy;
use crate::tls::profile::Version;
use crate::types::Stdio;

/// A whole file. What is `None` was not given, or was wrong and is reported.
pub(super) struct Raw {
    pub(super) engines: Option<Spanned<u64>>,
    pub(super) engine_user: Option<Spanned<String>>,
    pub(super) log: RawLog,
    pub(super) limits: RawLimits,
    pub(super) tickets: RawTickets,
    pub(super) metrics: Option<RawMetrics>,
    pub(super) listeners: Vec<Spanned<RawListener>>,
    pub(super) hosts: Vec<Spanned<RawHost>>,
}

#[derive(Default)]
pub(super) struct RawLog {
    pub(super) to: Option<Spanned<String>>,
    pub(super) format: Option<LogFormat>,
}

#[derive(Default)]
pub(super) struct RawLimits {
    pub(super) connections: Option<Spanned<u64>>,
    pub(super) per_source: Option<Spanned<u64>>,
    pub(super) per_source_rate: Option<Spanned<u64>>,
    pub(super) handshake: Option<Spanned<Duration>>,
    pub(super) idle: Option<Duration>,
    pub(super) linger: Option<Spanned<Duration>>,
    pub(super) keep_alive: Option<Spanned<Duration>>,
    pub(super) send_buffer: Option<Spanned<u64>>,
    pub(super) receive_buffer: Option<Spanned<u64>>,
}

#[derive(Default)]
pub(super) struct RawTickets {
    pub(super) keys: Option<Spanned<String>>,
}

pub(super) struct RawMetrics {
    pub(super) listen: Option<Spanned<String>>,
}

pub(super) struct RawListener {
    pub(super) name: Option<Spanned<String>>,
    pub(super) address: Option<Spanned<String>>,
    pub(super) systemd: Option<Spanned<String>>,
    pub(super) unknown_name: Option<Spanned<Nameless>>,
    pub(super) missing_name: Option<Spanned<Nameless>>,
    pub(super) proxy_protocol: Option<Spanned<bool>>,
    pub(super) proxy_from: Option<Spanned<Vec<Spanned<String>>>>,
}

pub(super) struct RawHost {
    /// Empty when absent.
    pub(super) names: Option<Vec<Spanned<String>>>,
    pub(super) default: Option<Spanned<bool>>,
    pub(super) listen: RawListen,
    pub(super) cert: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) key: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) ocsp: Option<Spanned<Files>>,
    pub(super) psk: Option<Spanned<String>>,
    pub(super) psk_only_ke: Option<bool>,
    pub(super) psk_plain: Option<bool>,
    pub(super) clients: RawClients,
    /// Empty when absent.
    pub(super) alpn: Option<Vec<Spanned<String>>>,
    pub(super) min_version: Option<Version>,
    pub(super) suites: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) kx_groups: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) max_fragment: Option<Spanned<u64>>,
    pub(super) command: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) connect: Option<Spanned<RawConnect>>,
    pub(super) connect_timeout: Option<Spanned<Duration>>,
    pub(super) resolve: Option<Duration>,
    pub(super) proxy_protocol: Option<proxy::Version>,
    pub(super) run_as: Option<UserFrom>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) group: Option<Spanned<String>>,
    pub(super) groups: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) allow_root: Option<bool>,
    pub(super) directory: Option<Spanned<String>>,
    pub(super) env: Option<BTreeMap<String, Spanned<String>>>,
    pub(super) pass_env: Option<Vec<Spanned<String>>>,
    pub(super) umask: Option<Spanned<String>>,
    pub(super) rlimits: Option<BTreeMap<String, Spanned<RawRlimit>>>,
    pub(super) stdio: Option<Stdio>,
    pub(super) stderr: Option<Stderr>,
    pub(super) connections: Option<Spanned<u64>>,
    pub(super) on_truncation: Option<OnTruncation>,
}

/// On which listeners a host is.
pub(super) enum RawListen {
    /// `listen` is absent.
    Every,
    /// These.
    Named(Vec<Spanned<String>>),
    /// What it says is wrong, and reported.
    Unclear,
}

/// `1024`, `"unlimited"`, or `{ soft = 1024, hard = "unlimited" }`.
pub(super) struct RawRlimit {
    pub(super) soft: u64,
    pub(super) hard: u64,
}

impl Raw {
    /// Reads a file's text; reports its syntax errors, unknown keys, wrong types and absent keys.
    ///
    /// `None`: something is not TOML, so what the rest means is anyone's guess.
    pub(super) fn parse(text: &str, form: Form, problems: &mut Problems) -> Option<Self> {
        let (file, errors) = DeTable::parse_recoverable(text);
        // What follows a mistake on its line is mostly its echo.
        let mut last_line = 0;
        for error in &errors {
            let place = error.span().unwrap_or(0..0);
            let line = problems.line(&place);
            if line != last_line {
                problems.error(place, format!("unable to read TOML: {}", error.message()));
            }
            last_line = line;
        }
        if !errors.is_empty() {
            return None;
        }

        let file = file.get_ref();
        let mut table = Table::new("the file", file, 0..0);
        let raw = Self {
            engines: table.optional("engines", problems),
            engine_user: table.optional("engine-user", problems),
            log: table.optional("log", problems).unwrap_or_default(),
            limits: table.optional("limits", problems).unwrap_or_default(),
            tickets: table.optional("tickets", problems).unwrap_or_default(),
            metrics: table.optional("metrics", problems),
            listeners: table.optional("listen", problems).unwrap_or_default(),
            hosts: table.optional("host", problems).unwrap_or_default(),
        };
        table.finish(problems);
        if form == Form::Server && is_empty(file, "listen") {
            problems.error(None, "no [[listen]]: nothing to listen on");
        }
        if is_empty(file, "host") {
            problems.error(None, "no [[host]]: nothing to serve");
        }
        Some(raw)
    }
}

/// Whether a list of tables is absent, or there and empty; not whether it is something else.
fn is_empty(file: &DeTable<'_>, key: &str) -> bool {
    file.get(key).is_none_or(|value| {
        value
            .get_ref()
            .as_array()
            .is_some_and(|list| list.is_empty())
    })
}

impl FromToml for RawLog {
    const ONE: &'static str = "a table: [log]";
    const MANY: &'static str = "an array of tables";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let mut table = open("[log]", Self::ONE, value, problems)?;
        let raw = Self {
            to: table.optional("to", problems),
            format: table.optional("format", problems),
        };
        table.finish(problems);
        Some(raw)
    }
}

impl FromToml for RawLimits {
    const ONE: &'static str = "a table: [limits]";
    const MANY: &'static str = "an array of tables";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let mut table = open("[limits]", Self::ONE, value, problems)?;
        let raw = Self {
            connections: table.optional("connections", problems),
            per_source: table.optional("per-source", problems),
            per_source_rate: table.optional("per-source-rate", problems),
            handshake: table.optional("handshake", problems),
            idle: table.optional("idle", problems),
            linger: table.optional("linger", problems),
            keep_alive: table.optional("keep-alive", problems),
            send_buffer: table.optional("send-buffer", problems),
            receive_buffer: table.optional("receive-buffer", problems),
        };
        table.finish(problems);
        Some(raw)
    }
}

impl FromToml for RawTickets {
    const ONE: &'static str = "a table: [tickets]";
    const MANY: &'static str = "an array of tables";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let mut table = open("[tickets]", Self::ONE, value, problems)?;
        let raw = Self {
            keys: table.optional("keys", problems),
        };
        table.finish(problems);
        Some(raw)
    }
}

impl FromToml for RawMetrics {
    const ONE: &'static str = "a table: [metrics]";
    const MANY: &'static str = "an array of tables";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let mut table = open("[metrics]", Self::ONE, value, problems)?;
        let raw = Self {
            listen: table.required("listen", problems),
        };
        table.finish(problems);
        Some(raw)
    }
}

impl FromToml for RawListener {
    const ONE: &'static str = "a table";
    const MANY: &'static str = "an array of tables: [[listen]]";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let mut table = open("[[listen]]", Self::ONE, value, problems)?;
        let raw = Self {
            name: table.optional("name", problems),
            address: table.optional("address", problems),
            systemd: table.optional("systemd", problems),
            unknown_name: table.optional("unknown-name", problems),
            missing_name: table.optional("missing-name", problems),
            proxy_protocol: table.optional("proxy-protocol", problems),
            proxy_from: table.optional("proxy-from", problems),
        };
        table.belongs("proxy-from", "proxy-protocol", problems);
        if raw.proxy_protocol.as_ref().is_some_and(|p| *p.get_ref()) {
            table.belongs("proxy-protocol", "proxy-from", problems);
        }
        match (table.has("address"), table.place_of("systemd")) {
            (false, None) => table.lacks("\"address\" or \"systemd\"", problems),
            (true, Some(place)) => problems.error(place, "\"systemd\" contradicts \"address\""),
            _ => {}
        }
        table.finish(problems);
        Some(raw)
    }
}

impl FromToml for RawHost {
    const ONE: &'static str = "a table";
    const MANY: &'static str = "an array of tables: [[host]]";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let mut table = open("[[host]]", Self::ONE, value, problems)?;
        let raw = Self {
            names: table.list("names", problems),
            default: table.optional("default", problems),
            listen: match (table.has("listen"), table.optional("listen", problems)) {
                (false, _) => RawListen::Every,
                (true, Some(names)) => RawListen::Named(names),
                (true, None) => RawListen::Unclear,
            },
            cert: table.optional("cert", problems),
            key: table.optional("key", problems),
            ocsp: table.optional("ocsp", problems),
            psk: table.optional("psk", problems),
            psk_only_ke: table.optional("psk-only-ke", problems),
            psk_plain: table.optional("psk-plain", problems),
            clients: RawClients::read(&mut table, problems),
            alpn: table.list("alpn", problems),
            min_version: table.optional("min-version", problems),
            suites: table.optional("suites", problems),
            kx_groups: table.optional("kx-groups", problems),
            max_fragment: table.optional("max-fragment", problems),
            command: table.optional("command", problems),
            connect: table.optional("connect", problems),
            connect_timeout: table.optional("connect-timeout", problems),
            resolve: table.optional("resolve", problems),
            proxy_protocol: table.optional("proxy-protocol", problems),
            run_as: table.optional("run-as", problems),
            user: table.optional("user", problems),
            group: table.optional("group", problems),
            groups: table.optional("groups", problems),
            allow_root: table.optional("allow-root", problems),
            directory: table.optional("directory", problems),
            env: table.optional("env", problems),
            pass_env: table.optional("pass-env", problems),
            umask: table.optional("umask", problems),
            rlimits: table.optional("rlimits", problems),
            stdio: table.optional("stdio", problems),
            stderr: table.optional("stderr", problems),
            connections: table.optional("connections", problems),
            on_truncation: table.optional("on-truncation", problems),
        };
        authenticates(&table, &raw, problems);
        backend::answers(&table, problems);
        table.finish(problems);
        Some(raw)
    }
}

/// Reports keys of a host that need each other, or contradict each other, in how it authenticates.
fn authenticates(table: &Table<'_>, raw: &RawHost, problems: &mut Problems) {
    match table.has("cert") || table.has("psk") {
        true => table.belongs("key", "cert", problems),
        false => table.lacks("\"cert\" or \"psk\"", problems),
    }
    table.belongs("ocsp", "cert", problems);
    table.belongs("psk-only-ke", "psk", problems);
    table.belongs("psk-plain", "psk", problems);
    raw.clients.check(table, raw.run_as, problems);
    // With the other, they say whom clients get that have no identity of this kind.
    let (run_as, other) = match raw.run_as {
        Some(UserFrom::Psk) => ("psk", "cert"),
        Some(UserFrom::CommonName) => ("cert-cn", "psk"),
        Some(UserFrom::Host) | None => return,
    };
    if run_as == "psk" {
        table.belongs("run-as", "psk", problems);
    }
    let users = ["user", "group", "groups"].map(|key| (key, table.place_of(key)));
    for (key, place) in users.into_iter().filter(|_| !table.has(other)) {
        if let Some(place) = place {
            let message = format!(
                "{key:?} contradicts run-as = {run_as:?}: without {other:?} each client gets the user of its identity"
            );
            problems.error(place, message);
        }
    }
}

impl FromToml for RawRlimit {
    const ONE: &'static str = r#"an integer, "unlimited" or { soft = …, hard = … }"#;
    const MANY: &'static str = "an array of limits";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        if let DeValue::Table(entries) = value.get_ref() {
            let mut table = Table::new("a limit", entries, value.span());
            let soft = table.required::<Bound>("soft", problems);
            let hard = table.required::<Bound>("hard", problems);
            table.finish(problems);
            return Some(Self {
                soft: soft?.0,
                hard: hard?.0,
            });
        }
        let Bound(both) = Bound::from_toml(value, problems)?;
        Some(Self {
            soft: both,
            hard: both,
        })
    }
}

/// One end of a resource limit.
struct Bound(u64);

impl FromToml for Bound {
    const ONE: &'static str = RawRlimit::ONE;
    const MANY: &'static str = RawRlimit::MANY;

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::Integer(_) => u64::from_toml(value, problems).map(Self),
            DeValue::String(text) if text == "unlimited" => {
                Some(Self(nix::sys::resource::RLIM_INFINITY))
            }
            _ => wrong_type(value, Self::ONE, problems),
        }
    }
}

/// The words of an enum whose values are words.
macro_rules! words {
    ($type:ty: $($word:literal => $meaning:ident),+) => {
        impl FromToml for $type {
            const ONE: &'static str = "a string";
            const MANY: &'static str = "an array of strings";

            fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
                word(value, &[$(($word, Self::$meaning)),+], problems)
            }
        }
    };
}

words!(LogFormat: "text" => Text, "json" => Json);
words!(Nameless: "reject" => Reject, "default" => Default);
words!(OnTruncation: "eof" => Eof, "kill" => Kill);
words!(Stderr: "log" => Log, "inherit" => Inherit, "null" => Null);
words!(UserFrom: "user" => Host, "psk" => Psk, "cert-cn" => CommonName);
words!(Version: "1.2" => Tls12, "1.3" => Tls13);
words!(proxy::Version: "v1" => V1, "v2" => V2);
words!(Stdio: "socket" => Socket, "pipe" => Pipe);

/// The value as a table to read from.
fn open<'a>(
    name: &'static str,
    expected: &str,
    value: &'a Spanned<DeValue<'a>>,
    problems: &mut Problems,
) -> Option<Table<'a>> {
    let place: Range<usize> = value.span();
    match value.get_ref() {
        DeValue::Table(entries) => Some(Table::new(name, entries, place)),
        _ => wrong_type(value, expected, problems),
    }
}
