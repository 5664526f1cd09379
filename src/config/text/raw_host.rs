//! Keys of a `[[host]]`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::host::OnTruncation;
use crate::config::run_as::UserFrom;
use crate::config::text::hints::no_shell;
use crate::config::text::problems::Problems;
use crate::config::text::raw_clients::RawClients;
use crate::config::text::reader::{FromToml, OneOrMore, TableReader, open, wrong_type};
use crate::proxy;
use crate::tls::profile::Version;
use crate::types::{Stderr, Stdio};

/// Contents of a `[[host]]`. `None`: the key is absent, or its value has an error, which is reported.
pub(in crate::config) struct RawHost {
    /// Empty if the key is absent.
    pub(in crate::config) names: Option<Vec<Spanned<String>>>,
    pub(in crate::config) default: Option<Spanned<bool>>,
    pub(in crate::config) listen: RawListen,
    pub(in crate::config) cert: Option<Spanned<Vec<Spanned<String>>>>,
    pub(in crate::config) key: Option<Spanned<Vec<Spanned<String>>>>,
    pub(in crate::config) key_password: Option<Spanned<String>>,
    pub(in crate::config) ocsp: Option<Spanned<OneOrMore>>,
    pub(in crate::config) psk: Option<Spanned<String>>,
    pub(in crate::config) psk_only_ke: Option<bool>,
    pub(in crate::config) psk_plain: Option<bool>,
    pub(in crate::config) clients: RawClients,
    /// Empty if the key is absent.
    pub(in crate::config) alpn: Option<Vec<Spanned<String>>>,
    pub(in crate::config) min_version: Option<Version>,
    pub(in crate::config) suites: Option<Spanned<Vec<Spanned<String>>>>,
    pub(in crate::config) kx_groups: Option<Spanned<Vec<Spanned<String>>>>,
    pub(in crate::config) max_fragment: Option<Spanned<u64>>,
    pub(in crate::config) command: Option<Spanned<Vec<Spanned<String>>>>,
    pub(in crate::config) connect: Option<Spanned<OneOrMore>>,
    pub(in crate::config) connect_timeout: Option<Spanned<Duration>>,
    pub(in crate::config) resolve: Option<Duration>,
    pub(in crate::config) proxy_protocol: Option<proxy::Version>,
    pub(in crate::config) run_as: Option<UserFrom>,
    pub(in crate::config) user: Option<Spanned<String>>,
    pub(in crate::config) group: Option<Spanned<String>>,
    pub(in crate::config) groups: Option<Spanned<Vec<Spanned<String>>>>,
    pub(in crate::config) allow_root: Option<bool>,
    pub(in crate::config) directory: Option<Spanned<String>>,
    pub(in crate::config) env: Option<BTreeMap<String, Spanned<String>>>,
    pub(in crate::config) pass_env: Option<Vec<Spanned<String>>>,
    pub(in crate::config) umask: Option<Spanned<String>>,
    pub(in crate::config) rlimits: Option<BTreeMap<String, Spanned<RawRlimit>>>,
    pub(in crate::config) stdio: Option<Stdio>,
    pub(in crate::config) stderr: Option<Stderr>,
    pub(in crate::config) connections: Option<Spanned<u64>>,
    pub(in crate::config) new_privileges: Option<Spanned<bool>>,
    pub(in crate::config) on_truncation: Option<OnTruncation>,
}

/// Listeners that a host is on.
pub(in crate::config) enum RawListen {
    /// All listeners: `listen` is absent.
    Every,
    /// Listeners with these names.
    Named(Vec<Spanned<String>>),
    /// `listen` has an error, which is reported.
    Invalid,
}

/// A command: an array of strings, and never one string, which would be a line for a shell.
struct Words(Vec<Spanned<String>>);

fn words(command: Spanned<Words>) -> Spanned<Vec<Spanned<String>>> {
    Spanned::new(command.span(), command.into_inner().0)
}

impl FromToml for Words {
    const ONE: &'static str = "an array of strings";
    const MANY: &'static str = "an array of arrays";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        if let DeValue::String(line) = value.get_ref() {
            let _: Option<Self> = wrong_type(value, Self::ONE, problems);
            problems.error(value.span(), no_shell(line));
            return None;
        }
        Vec::from_toml(value, problems).map(Self)
    }
}

/// Resource limit: `1024`, `"unlimited"`, or `{ soft = 1024, hard = "unlimited" }`.
pub(in crate::config) struct RawRlimit {
    pub(in crate::config) soft: u64,
    pub(in crate::config) hard: u64,
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
                (true, None) => RawListen::Invalid,
            },
            cert: table.optional("cert", problems),
            key: table.optional("key", problems),
            key_password: table.optional("key-password", problems),
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
            command: table.optional("command", problems).map(words),
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
            new_privileges: table.optional("new-privileges", problems),
            on_truncation: table.optional("on-truncation", problems),
        };
        check_authentication(&table, &raw, problems);
        check_destination(&table, problems);
        table.finish(problems);
        Some(raw)
    }
}

/// Reports a host without a destination or with two, and keys that do not apply to its destination.
fn check_destination(table: &TableReader<'_>, problems: &mut Problems) {
    match (table.has("command"), table.span_of("connect")) {
        (false, None) => table.lacks("\"command\" or \"connect\"", problems),
        (true, Some(span)) => problems.error(span, "\"connect\" contradicts \"command\""),
        _ => {}
    }
    for key in ["connect-timeout", "resolve", "proxy-protocol"] {
        table.belongs(key, "connect", problems);
    }
    for key in COMMAND_KEYS.into_iter().filter(|_| table.has("connect")) {
        if let Some(span) = table.span_of(key) {
            let message = format!("{key:?} contradicts \"connect\": no command is started");
            problems.error(span, message);
        }
    }
}

/// Keys that only apply to commands.
const COMMAND_KEYS: [&str; 13] = [
    "run-as",
    "user",
    "group",
    "groups",
    "allow-root",
    "directory",
    "env",
    "pass-env",
    "umask",
    "rlimits",
    "stdio",
    "stderr",
    "new-privileges",
];

/// Reports keys about authentication that need or contradict other keys.
fn check_authentication(table: &TableReader<'_>, raw: &RawHost, problems: &mut Problems) {
    match table.has("cert") || table.has("psk") {
        true => table.belongs("key", "cert", problems),
        false => table.lacks("\"cert\" or \"psk\"", problems),
    }
    table.belongs("key-password", "cert", problems);
    table.belongs("ocsp", "cert", problems);
    table.belongs("psk-only-ke", "psk", problems);
    table.belongs("psk-plain", "psk", problems);
    raw.clients.check(table, raw.run_as, problems);
    // `user`, `group` and `groups` are for clients without an identity of this kind, which only come if
    // the host has the other key too.
    let (run_as, other) = match raw.run_as {
        Some(UserFrom::Psk) => ("psk", "cert"),
        Some(UserFrom::CommonName) => ("cert-cn", "psk"),
        Some(UserFrom::Host) | None => return,
    };
    if run_as == "psk" {
        table.belongs("run-as", "psk", problems);
    }
    let users = ["user", "group", "groups"].map(|key| (key, table.span_of(key)));
    for (key, span) in users.into_iter().filter(|_| !table.has(other)) {
        if let Some(span) = span {
            let message = format!(
                "{key:?} contradicts run-as = {run_as:?}: without {other:?} each client gets the user of its identity"
            );
            problems.error(span, message);
        }
    }
}

impl FromToml for RawRlimit {
    const ONE: &'static str = r#"an integer, "unlimited" or { soft = …, hard = … }"#;
    const MANY: &'static str = "an array of limits";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        if let DeValue::Table(entries) = value.get_ref() {
            let mut table = TableReader::new("a limit", entries, value.span());
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

/// Soft or hard limit of a resource.
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
