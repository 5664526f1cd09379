//! One line per fact, to syslog, stderr or a file; as text (logfmt) or JSON.
//!
//! A log that cannot be written (a full disk, say) stops nothing. Lost lines are counted, and their number is
//! logged when writing works again.
#![forbid(unsafe_code)]

mod limiter;
mod sink;

use std::fmt::Write as _;
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value};

use crate::config::{Log, LogFormat};
use crate::types::{Severity, cause};
use limiter::Limiter;
use sink::Sink;

/// Limit of lines of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance<'a> {
    /// Every line is written.
    Unlimited,
    /// At most so many lines of this kind per second are written, since strangers can cause them at will.
    PerSecond(u32, &'a str),
}

/// The log.
pub struct Logger {
    sink: Sink,
    format: LogFormat,
    level: Severity,
    limiter: Limiter,
    lost: u64,
}

/// A line's keys and values, in their order.
pub type Fields = Vec<(&'static str, Value)>;

impl Logger {
    /// Opens the log.
    ///
    /// Errors: those of opening the file, or of reaching syslog.
    pub fn open(log: &Log) -> std::io::Result<Self> {
        Ok(Self {
            sink: Sink::open(&log.to)?,
            format: log.format,
            level: log.level,
            limiter: Limiter::default(),
            lost: 0,
        })
    }

    /// Opens the log file again, since it may have been moved away.
    pub fn reopen(&mut self) {
        if let Err(e) = self.sink.reopen() {
            self.say(
                Severity::Err,
                &format!("unable to reopen the log: {}", cause(&e)),
            );
        }
    }

    /// Writes a sentence.
    pub fn say(&mut self, severity: Severity, message: &str) {
        if self.wants(severity) {
            self.write(severity, Some(message), &Fields::new());
        }
    }

    /// Writes keys and values, unless lines of this kind come too often.
    pub fn fields(&mut self, severity: Severity, fields: &Fields, allowance: Allowance<'_>) {
        let allowed = self.wants(severity)
            && match allowance {
                Allowance::Unlimited => true,
                Allowance::PerSecond(most, kind) => self.limiter.allow(kind, most, Instant::now()),
            };
        if allowed {
            self.write(severity, None, fields);
        }
    }

    /// Logs the number of lines that were left out, for each kind whose window is over.
    pub fn tick(&mut self, now: Instant) {
        for (kind, count) in self.limiter.expire(now) {
            self.say(
                Severity::Info,
                &format!("left out {count} more lines of the kind: {kind}"),
            );
        }
    }

    /// Time of the next [`Logger::tick`].
    pub fn next_tick(&self) -> Option<Instant> {
        self.limiter.next_expiry()
    }

    /// Logs at once what [`Logger::tick`] would log later.
    pub fn finish(&mut self) {
        if let Some(end) = Instant::now().checked_add(limiter::WINDOW) {
            self.tick(end);
        }
    }

    /// Whether lines of this severity are logged. Nobody sees a trace who has not asked for it.
    fn wants(&self, severity: Severity) -> bool {
        severity <= self.level || severity == Severity::Debug
    }

    fn write(&mut self, severity: Severity, message: Option<&str>, fields: &Fields) {
        if self.lost > 0 {
            let lost = format!(
                "lines lost because the log could not be written: {}",
                self.lost
            );
            let line = self.line(Severity::Err, Some(&lost), &Fields::new());
            if self.sink.write(Severity::Err, &line).is_ok() {
                self.lost = 0;
            }
        }
        let line = self.line(severity, message, fields);
        if self.sink.write(severity, &line).is_err() {
            self.lost += 1;
        }
    }

    fn line(&self, severity: Severity, message: Option<&str>, fields: &Fields) -> String {
        let stamp = self.sink.wants_time().then(SystemTime::now);
        match self.format {
            LogFormat::Text => text(stamp, severity, message, fields),
            LogFormat::Json => json(stamp, severity, message, fields),
        }
    }
}

fn text(
    stamp: Option<SystemTime>,
    severity: Severity,
    message: Option<&str>,
    fields: &Fields,
) -> String {
    let mut line = String::new();
    if let Some(time) = stamp {
        let _ = write!(
            line,
            "{} {} ",
            humantime::format_rfc3339_millis(time),
            severity.name()
        );
    }
    if let Some(message) = message {
        // A message may quote what a stranger sent.
        line.extend(
            message
                .chars()
                .map(|c| if c.is_control() { '?' } else { c }),
        );
    }
    for (place, (key, value)) in fields.iter().enumerate() {
        if place > 0 || message.is_some() {
            line.push(' ');
        }
        let _ = match value {
            Value::String(s) if is_bare(s) => write!(line, "{key}={s}"),
            // JSON's quoting is logfmt's.
            value => write!(line, "{key}={value}"),
        };
    }
    line
}

fn is_bare(value: &str) -> bool {
    !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"\\=".contains(&b))
}

fn json(
    stamp: Option<SystemTime>,
    severity: Severity,
    message: Option<&str>,
    fields: &Fields,
) -> String {
    let mut object = Map::new();
    if let Some(time) = stamp {
        object.insert(
            "time".into(),
            humantime::format_rfc3339_millis(time).to_string().into(),
        );
    }
    object.insert("level".into(), severity.name().into());
    if let Some(message) = message {
        object.insert("message".into(), message.into());
    }
    for (key, value) in fields {
        object.insert((*key).into(), value.clone());
    }
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Severity, json, text};

    #[test]
    fn a_value_with_a_space_or_a_quote_or_a_control_character_is_quoted() {
        let fields = vec![
            ("plain", "a-b.c:1".into()),
            ("space", "a b".into()),
            ("quote", "a\"b".into()),
            ("line", "a\nb".into()),
            ("number", 7.into()),
        ];
        assert_eq!(
            text(None, Severity::Info, None, &fields),
            r#"plain=a-b.c:1 space="a b" quote="a\"b" line="a\nb" number=7"#
        );
    }

    #[test]
    fn json_has_the_same_keys() {
        let fields = vec![("id", "1.2".into()), ("in", 3.into())];
        assert_eq!(
            json(None, Severity::Info, None, &fields),
            r#"{"id":"1.2","in":3,"level":"info"}"#
        );
    }
}
