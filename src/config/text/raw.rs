//! Keys of a configuration file outside of `[[host]]`: their types, and which of them are required.
#![forbid(unsafe_code)]

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::Form;
use crate::config::listener::FallbackPolicy;
use crate::config::log::LogFormat;
use crate::config::text::hints::FILE;
use crate::config::text::problems::Problems;
use crate::config::text::raw_host::RawHost;
use crate::config::text::reader::{FromToml, TableReader, open};
use crate::types::Severity;

/// Contents of a file. `None`: the key is absent, or its value has an error, which is reported.
pub(in crate::config) struct Raw {
    pub(in crate::config) engines: Option<Spanned<u64>>,
    pub(in crate::config) engine_user: Option<Spanned<String>>,
    pub(in crate::config) log: RawLog,
    pub(in crate::config) limits: RawLimits,
    pub(in crate::config) tickets: RawTickets,
    pub(in crate::config) metrics: Option<RawMetrics>,
    pub(in crate::config) listeners: Vec<Spanned<RawListener>>,
    pub(in crate::config) hosts: Vec<Spanned<RawHost>>,
}

/// Contents of `[log]`.
#[derive(Default)]
pub(in crate::config) struct RawLog {
    pub(in crate::config) to: Option<Spanned<String>>,
    pub(in crate::config) format: Option<LogFormat>,
    pub(in crate::config) level: Option<Severity>,
    pub(in crate::config) probes: Option<bool>,
}

/// Contents of `[limits]`.
#[derive(Default)]
pub(in crate::config) struct RawLimits {
    pub(in crate::config) connections: Option<Spanned<u64>>,
    pub(in crate::config) per_source: Option<Spanned<u64>>,
    pub(in crate::config) per_source_rate: Option<Spanned<u64>>,
    pub(in crate::config) handshake: Option<Spanned<Duration>>,
    pub(in crate::config) idle: Option<Duration>,
    pub(in crate::config) linger: Option<Spanned<Duration>>,
    pub(in crate::config) keep_alive: Option<Spanned<Duration>>,
    pub(in crate::config) send_buffer: Option<Spanned<u64>>,
    pub(in crate::config) receive_buffer: Option<Spanned<u64>>,
}

/// Contents of `[tickets]`.
#[derive(Default)]
pub(in crate::config) struct RawTickets {
    pub(in crate::config) keys: Option<Spanned<String>>,
}

/// Contents of `[metrics]`.
pub(in crate::config) struct RawMetrics {
    pub(in crate::config) listen: Option<Spanned<String>>,
}

/// Contents of a `[[listen]]`.
pub(in crate::config) struct RawListener {
    pub(in crate::config) name: Option<Spanned<String>>,
    pub(in crate::config) address: Option<Spanned<String>>,
    pub(in crate::config) systemd: Option<Spanned<String>>,
    pub(in crate::config) unknown_name: Option<Spanned<FallbackPolicy>>,
    pub(in crate::config) missing_name: Option<Spanned<FallbackPolicy>>,
    pub(in crate::config) proxy_protocol: Option<Spanned<bool>>,
    pub(in crate::config) proxy_from: Option<Spanned<Vec<Spanned<String>>>>,
}

impl Raw {
    /// Reads the text of a file. Reports syntax errors, unknown keys, wrong types and missing keys.
    ///
    /// `None`: there is a syntax error, after which the rest of the file cannot be interpreted.
    pub(in crate::config) fn parse(
        text: &str,
        form: Form,
        problems: &mut Problems,
    ) -> Option<Self> {
        let (file, errors) = DeTable::parse_recoverable(text);
        // Further errors on the same line are mostly consequences of the first one.
        let mut last_line = 0;
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            let line = problems.line(&span);
            if line != last_line {
                problems.error(span, format!("unable to read TOML: {}", error.message()));
            }
            last_line = line;
        }
        if !errors.is_empty() {
            return None;
        }

        let file = file.get_ref();
        let mut table = TableReader::new(FILE, file, 0..0);
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

/// Whether an array of tables is absent or empty. False for a value of another type.
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
            level: table.optional("level", problems),
            probes: table.optional("probes", problems),
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
        match (table.has("address"), table.span_of("systemd")) {
            (false, None) => table.lacks("\"address\" or \"systemd\"", problems),
            (true, Some(span)) => problems.error(span, "\"systemd\" contradicts \"address\""),
            _ => {}
        }
        table.finish(problems);
        Some(raw)
    }
}
