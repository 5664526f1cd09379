//! Keys of a `[[host]]` about its destination: a command or backends.
#![forbid(unsafe_code)]

use crate::config::text::problems::Problems;
use crate::config::text::reader::TableReader;

/// Reports a host without a destination or with two, and keys that do not apply to its destination.
pub(in crate::config) fn check_destination(table: &TableReader<'_>, problems: &mut Problems) {
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
const COMMAND_KEYS: [&str; 12] = [
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
