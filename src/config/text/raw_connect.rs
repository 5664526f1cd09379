//! What a `[[host]]` can say of its backends.
#![forbid(unsafe_code)]

use toml::Spanned;
use toml::de::DeValue;

use crate::config::text::problems::Problems;
use crate::config::text::reader::{FromToml, TableReader, wrong_type};

/// `"HOST:PORT"`, or several.
pub(in crate::config) struct RawConnect(pub(in crate::config) Vec<Spanned<String>>);

impl FromToml for RawConnect {
    const ONE: &'static str = "a string or an array of strings";
    const MANY: &'static str = "an array of arrays";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => Spanned::from_toml(value, problems).map(|one| Self(vec![one])),
            DeValue::Array(_) => Vec::from_toml(value, problems).map(Self),
            _ => wrong_type(value, Self::ONE, problems),
        }
    }
}

/// Reports what a host lacks, or has too much of, to answer its clients by a command or by backends.
pub(in crate::config) fn answers(table: &TableReader<'_>, problems: &mut Problems) {
    match (table.has("command"), table.place_of("connect")) {
        (false, None) => table.lacks("\"command\" or \"connect\"", problems),
        (true, Some(place)) => problems.error(place, "\"connect\" contradicts \"command\""),
        _ => {}
    }
    for key in ["connect-timeout", "resolve", "proxy-protocol"] {
        table.belongs(key, "connect", problems);
    }
    for key in OF_COMMANDS.into_iter().filter(|_| table.has("connect")) {
        if let Some(place) = table.place_of(key) {
            let message = format!("{key:?} contradicts \"connect\": no command is started");
            problems.error(place, message);
        }
    }
}

/// What only a command has.
const OF_COMMANDS: [&str; 12] = [
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
];
