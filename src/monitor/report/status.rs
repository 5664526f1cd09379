//! The text of `tlssrv --status`. What a stranger sent is shown in printable ASCII.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use super::metrics::{Metrics, Present, ReloadResult, expiries};
use crate::monitor::clients::{Client, LimitExceeded, PlaintextSide};
use crate::tls::names::version_name;

/// Longest identity or name that is shown, in characters.
const MAX_SHOWN: usize = 256;

/// The state of the server, and its hosts and connections as tables.
pub(super) fn status(metrics: &Metrics, present: &Present<'_>, now: Instant) -> String {
    let state = present.unready.unwrap_or("ready");
    let refused = LimitExceeded::ALL;
    let refused = refused.map(|limit| format!("{} {}", limit.name(), metrics.refusals(limit)));
    let sockets = present.sockets.iter().map(|line| format!("{line}\n"));
    let mut text = format!(
        "tlssrv {}, process {}, {state}, up {}\n\
         engines: {}, restarted {}; reloads: {} ok, {} failed\n\
         refused over limits: {}\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        age(metrics.uptime()),
        present.engines,
        metrics.restarts(),
        metrics.reloads(ReloadResult::Ok),
        metrics.reloads(ReloadResult::Failed),
        refused.join(", "),
    );
    text.extend(sockets);
    for (name, _) in present.backends.iter().filter(|(_, count)| *count == 0) {
        let _ = writeln!(text, "backend {name}: name does not resolve");
    }
    text.push('\n');
    text.push_str(&table(&HOSTS, host_rows(metrics, present)));
    let mut clients: Vec<_> = present.clients.iter().collect();
    if !clients.is_empty() {
        clients.sort_unstable_by_key(|(id, _)| *id);
        let rows = clients
            .into_iter()
            .map(|(_, client)| client_row(client, now));
        text.push('\n');
        text.push_str(&table(&CONNECTIONS, rows.collect()));
    }
    text
}

fn host_rows(metrics: &Metrics, present: &Present<'_>) -> Vec<Vec<String>> {
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for (_, client) in present.clients.iter() {
        let (open, commands) = counts.entry(client.host_label()).or_default();
        *open += usize::from(client.is_open());
        *commands += usize::from(client.runs());
    }
    // Several hosts may have one label: they share a row.
    let mut hosts: Vec<(&str, Option<SystemTime>)> = Vec::new();
    let mut rows: HashMap<&str, usize> = HashMap::new();
    for host in present.config.hosts.iter() {
        let expiry = expiries(host).min();
        let row = *rows.entry(&host.label).or_insert(hosts.len());
        match hosts.get_mut(row) {
            Some((_, known)) => *known = known.iter().copied().chain(expiry).min(),
            None => hosts.push((&host.label, expiry)),
        }
    }
    hosts.push(("", None));
    let row = |(label, expiry): (&str, Option<SystemTime>)| {
        let (open, commands) = counts.get(label).copied().unwrap_or_default();
        let totals = metrics.totals(label);
        let mean = totals.handshake_mean;
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![
            or_dash((!label.is_empty()).then(|| label.to_owned())),
            open.to_string(),
            commands.to_string(),
            totals.ended.to_string(),
            totals.failed.to_string(),
            totals.handshakes.to_string(),
            or_dash(mean.map(|mean| format!("{:.1}ms", mean * 1000.0))),
            size(totals.received),
            size(totals.sent),
            or_dash(expiry.map(|when| humantime::format_rfc3339_seconds(when).to_string())),
        ]
    };
    hosts.into_iter().map(row).collect()
}

/// Columns of the first table. Its last row is about connections without a host.
const HOSTS: [&str; 10] = [
    "HOST",
    "OPEN",
    "COMMANDS",
    "ENDED",
    "FAILED",
    "HANDSHAKES",
    "MEAN",
    "IN",
    "OUT",
    "EXPIRES",
];
/// Columns of the second table. What strangers choose comes last.
const CONNECTIONS: [&str; 11] = [
    "ID", "HOST", "STATE", "PID", "AGE", "IN", "OUT", "TLS", "PEER", "SNI", "IDENTITY",
];

fn client_row(client: &Client, now: Instant) -> Vec<String> {
    let (received, sent) = client.traffic();
    let handshake = client.handshake();
    let state = match client.plaintext() {
        _ if !client.is_open() => "ended",
        PlaintextSide::NotRequested => "handshake",
        PlaintextSide::Dialling => "opening",
        PlaintextSide::Running(_) | PlaintextSide::Connected(_) => "open",
        PlaintextSide::LaunchFailed(_)
        | PlaintextSide::NoUser
        | PlaintextSide::NoBackend(_)
        | PlaintextSide::Exited(..) => "closing",
    };
    let pid = match client.plaintext() {
        PlaintextSide::Running(pid) => Some(pid.to_string()),
        _ => None,
    };
    let host = Some(client.host_label()).filter(|label| !label.is_empty());
    let server_name = handshake.server_name.as_ref();
    let texts = [
        Some(client.name().to_owned()),
        host.map(str::to_owned),
        Some(state.to_owned()),
        pid,
        Some(age(now.duration_since(client.accepted()))),
        Some(size(received)),
        Some(size(sent)),
        handshake.version.and_then(version_name).map(str::to_owned),
        Some(client.peer()),
        server_name.map(|name| shown(name.as_str())),
        client.identity().map(|identity| shown(&identity)),
    ];
    let texts = texts.into_iter();
    texts
        .map(|text| text.unwrap_or_else(|| "-".to_owned()))
        .collect()
}

/// Rows in columns that are as wide as their longest text; the last column is not padded.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut widths: Vec<usize> = head.iter().map(|title| title.len()).collect();
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = text.len().max(*width);
        }
    }
    let mut text = String::new();
    let head = head.iter().map(|title| (*title).to_owned()).collect();
    for row in std::iter::once(head).chain(rows) {
        let line: Vec<String> = widths
            .iter()
            .zip(row)
            .map(|(&w, t)| format!("{t:w$}"))
            .collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}

/// A text that is safe for a terminal: no control characters, no change of the direction of writing.
fn shown(text: &str) -> String {
    let escaped = |c: char| match c {
        ' '..='~' => c.to_string(),
        c => c.escape_default().to_string(),
    };
    let mut shown: String = text.chars().take(MAX_SHOWN).map(escaped).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

/// A time in its two largest units: `3d4h`, `1m30s`.
fn age(time: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    let mut units = text.split(' ');
    let largest = units.next().unwrap_or_default().to_owned();
    largest + units.next().unwrap_or_default()
}

/// A number of bytes with few digits: `17`, `4.0k` (4000), `1.2M`.
fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return bytes.to_string();
    }
    let (mut tenths, mut units) = (bytes / 100, "kMGTPE".chars());
    let mut unit = units.next().unwrap_or_default();
    while tenths >= 10_000 {
        tenths /= 1000;
        unit = units.next().unwrap_or_default();
    }
    format!("{}.{}{unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::{age, shown, size, table};
    use std::time::Duration;

    #[test]
    fn sizes_and_ages_are_short() {
        let sizes = [0, 999, 1000, 123_456, 999_999, 1_000_000, u64::MAX];
        let sizes = sizes.map(size);
        assert_eq!(
            sizes,
            ["0", "999", "1.0k", "123.4k", "999.9k", "1.0M", "18.4E"]
        );
        let ages = [0, 59, 60, 3661, 90_061].map(|s| age(Duration::from_secs(s)));
        assert_eq!(ages, ["0s", "59s", "1m", "1h1m", "1day1h"]);
    }

    #[test]
    fn text_of_a_stranger_is_shown_in_printable_ascii_of_bounded_length() {
        assert_eq!(shown("alice@example.com"), "alice@example.com");
        assert_eq!(
            shown("a\u{1b}[31m\n\u{202e}b c"),
            "a\\u{1b}[31m\\n\\u{202e}b c"
        );
        assert_eq!(shown(&"a".repeat(300)).len(), 259);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["1".into(), "long text".into(), String::new()]];
        let expected = "A  B          C\n1  long text\n";
        assert_eq!(table(&["A", "B", "C"], rows), expected);
    }
}
