//! `tlssrv --status`: how it goes, for people. What a stranger has sent is shown in printable ASCII.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::Monitor;
use super::connection::{Command, Connection, canonical};
use super::control::{Asker, Sent, Slow};
use super::event::Source;
use super::limits::Over;
use super::numbers::expiries;
use crate::tls::names::version_name;
use crate::types::ConnectionId;

/// Those who have not taken their answers yet, at most; one more, and the oldest gets no more of it.
const MOST_SLOW: usize = 8;
/// The longest identity or name that is shown, in characters.
const MAX_SHOWN: usize = 256;

impl Monitor {
    /// Hosts and connections, as tables.
    pub(super) fn status(&self, now: Instant) -> String {
        let numbers = &self.numbers;
        let lived = numbers.started.elapsed().unwrap_or_default();
        let state = self.unready().unwrap_or("ready");
        let slots = self.slots.values();
        let engines = slots.filter(|slot| slot.load().is_some()).count();
        let refused = Over::ALL.map(|over| format!("{} {}", over.name(), numbers.over(over)));
        let mut text = format!(
            "tlssrv {}, process {}, {state}, up {}\n\
             engines: {engines}, restarted {}; reloads: {} ok, {} failed\n\
             refused over limits: {}\n\n",
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            age(lived),
            numbers.restarts.get(),
            numbers.reloads("ok"),
            numbers.reloads("failed"),
            refused.join(", "),
        );
        text.push_str(&table(&HOSTS, self.host_rows()));
        if !self.connections.is_empty() {
            let mut connections: Vec<(&ConnectionId, &Connection)> =
                self.connections.iter().collect();
            connections.sort_unstable_by_key(|(id, _)| **id);
            let rows = connections.into_iter().map(|(_, c)| connection_row(c, now));
            text.push('\n');
            text.push_str(&table(&CONNECTIONS, rows.collect()));
        }
        text
    }

    fn host_rows(&self) -> Vec<Vec<String>> {
        let mut present: HashMap<&str, (usize, usize)> = HashMap::new();
        for connection in self.connections.values() {
            let (open, commands) = present.entry(connection.host_label()).or_default();
            *open += usize::from(connection.is_served());
            *commands += usize::from(connection.runs());
        }
        let mut hosts: Vec<(&str, Option<SystemTime>)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for host in self.blueprint.config.hosts.iter() {
            let expiry = expiries(host).min();
            let place = *places.entry(&host.label).or_insert(hosts.len());
            match hosts.get_mut(place) {
                Some((_, known)) => *known = known.iter().copied().chain(expiry).min(),
                None => hosts.push((&host.label, expiry)),
            }
        }
        hosts.push(("", None));
        let row = |(label, expiry): (&str, Option<SystemTime>)| {
            let (open, commands) = present.get(label).copied().unwrap_or_default();
            let totals = self.numbers.totals(label);
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            vec![
                or_dash((!label.is_empty()).then(|| label.to_owned())),
                open.to_string(),
                commands.to_string(),
                totals.ended.to_string(),
                totals.failed.to_string(),
                totals.handshakes.to_string(),
                or_dash(
                    totals
                        .handshake_mean
                        .map(|mean| format!("{:.1}ms", mean * 1000.0)),
                ),
                size(totals.received),
                size(totals.sent),
                or_dash(expiry.map(|when| humantime::format_rfc3339_seconds(when).to_string())),
            ]
        };
        hosts.into_iter().map(row).collect()
    }

    /// Gives somebody an answer, as fast as it is taken.
    pub(super) fn answer_asker(&mut self, asker: Asker, text: &str) {
        let mut slow = Slow::new(asker, text);
        if slow.send() == Sent::Wholly {
            return;
        }
        let number = self.next_slow;
        self.next_slow += 1;
        let event = EpollEvent::new(EpollFlags::EPOLLOUT, Source::Asker(number).token());
        if self.epoll.add(&slow, event).is_ok() {
            self.slow.insert(number, slow);
        }
        while self.slow.len() > MOST_SLOW {
            self.slow.pop_first();
        }
    }

    /// Somebody takes more of an answer.
    pub(super) fn send_more(&mut self, number: u64) {
        if self.slow.get_mut(&number).map(Slow::send) == Some(Sent::Wholly) {
            self.slow.remove(&number);
        }
    }
}

/// The columns of the first table; its last row are connections that have no host.
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
/// The columns of the second one. What a stranger has chosen comes last.
const CONNECTIONS: [&str; 11] = [
    "ID", "HOST", "STATE", "PID", "AGE", "IN", "OUT", "TLS", "PEER", "SNI", "IDENTITY",
];

fn connection_row(connection: &Connection, now: Instant) -> Vec<String> {
    let (received, sent) = connection.moved;
    let facts = &connection.facts;
    let state = match &connection.command {
        _ if !connection.is_served() => "ended",
        Command::Unwanted => "handshake",
        Command::Dialling => "opening",
        Command::Running(_) | Command::Connected(_) => "open",
        Command::Failed(_) | Command::NoUser | Command::NoBackend(_) | Command::Exited(..) => {
            "closing"
        }
    };
    let pid = match connection.command {
        Command::Running(pid) => Some(pid.to_string()),
        _ => None,
    };
    let host = Some(connection.host_label()).filter(|label| !label.is_empty());
    let peer = connection
        .addresses
        .map(|(peer, _)| canonical(peer).to_string());
    let texts = [
        Some(connection.name.clone()),
        host.map(str::to_owned),
        Some(state.to_owned()),
        pid,
        Some(age(now.duration_since(connection.accepted))),
        Some(size(received)),
        Some(size(sent)),
        facts.version.and_then(version_name).map(str::to_owned),
        Some(peer.unwrap_or_else(|| "unix".to_owned())),
        facts.server_name.as_ref().map(|name| shown(name.as_str())),
        connection.identity().map(|identity| shown(&identity)),
    ];
    let texts = texts.into_iter();
    texts
        .map(|text| text.unwrap_or_else(|| "-".to_owned()))
        .collect()
}

/// Columns as wide as they have to be; the last one is not filled up.
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

/// What a terminal may be given: neither control characters nor what turns text around.
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

/// To the second, the two largest units: `3d4h`, `1m30s`.
fn age(time: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    let mut units = text.split(' ');
    let largest = units.next().unwrap_or_default().to_owned();
    largest + units.next().unwrap_or_default()
}

/// Bytes, in a unit that leaves few digits: `17`, `4.0k` (1000 of them), `1.2M`.
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
    fn numbers_are_short() {
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
    fn what_a_stranger_has_sent_is_printable_ascii_of_bounded_length() {
        assert_eq!(shown("alice@example.com"), "alice@example.com");
        assert_eq!(
            shown("a\u{1b}[31m\n\u{202e}b c"),
            "a\\u{1b}[31m\\n\\u{202e}b c"
        );
        assert_eq!(shown(&"a".repeat(300)).len(), 259);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = vec![vec!["1".into(), "long text".into(), String::new()]];
        let expected = "A  B          C\n1  long text\n";
        assert_eq!(table(&["A", "B", "C"], rows), expected);
    }
}
