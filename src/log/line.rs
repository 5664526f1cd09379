//! Forms of a log line: logfmt or JSON, with a time, without one, or as an entry of the journal.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::Fields;
use crate::config::LogFormat;
use crate::systemd::journal;
use crate::types::Severity;

/// The form of the lines of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// How keys and values are written.
    pub(super) format: LogFormat,
    /// What the destination needs beside them.
    pub(super) frame: Frame,
}

/// What surrounds keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Time and severity go before, and a newline goes after.
    Stamped,
    /// Nothing: syslog adds time and severity.
    Bare,
    /// An entry of the journal, which has a field for each key.
    Journal,
}

impl Form {
    /// A line with a sentence, or with keys and values, or with both.
    pub(super) fn line(
        self,
        severity: Severity,
        message: Option<&str>,
        fields: &Fields,
    ) -> Vec<u8> {
        let stamp = (self.frame == Frame::Stamped).then(SystemTime::now);
        let mut line = match (self.format, self.frame) {
            (LogFormat::Text, _) => text(stamp, severity, message, fields),
            (LogFormat::Json, Frame::Journal) => json(None, None, message, fields),
            (LogFormat::Json, _) => json(stamp, Some(severity), message, fields),
        };
        match self.frame {
            Frame::Stamped => line.push('\n'),
            Frame::Bare => {}
            Frame::Journal => {
                let fields: Vec<_> = fields.iter().map(journal_field).collect();
                return journal::entry(severity, &line, &fields);
            }
        }
        line.into_bytes()
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
    // A message may quote what a stranger sent.
    line.push_str(&escaped(message.unwrap_or_default(), deceives));
    for (place, (key, value)) in fields.iter().enumerate() {
        if place > 0 || message.is_some() {
            line.push(' ');
        }
        let _ = match value {
            Value::String(s) if is_bare(s) => write!(line, "{key}={s}"),
            // JSON's quoting is logfmt's.
            value => write!(line, "{key}={}", quoted(value)),
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
    severity: Option<Severity>,
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
    if let Some(severity) = severity {
        object.insert("level".into(), severity.name().into());
    }
    if let Some(message) = message {
        object.insert("message".into(), message.into());
    }
    for (key, value) in fields {
        object.insert((*key).into(), value.clone());
    }
    quoted(&Value::Object(object))
}

/// A value in JSON. JSON itself escapes the controls of C0 only.
fn quoted(value: &Value) -> String {
    escaped(&value.to_string(), deceives)
}

/// The name and the value of a field of the journal. A value keeps its newlines, which the journal keeps apart.
fn journal_field((key, value): &(&'static str, Value)) -> (String, String) {
    let name = format!("TLSSRV_{}", key.to_ascii_uppercase());
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    (name, escaped(&text, |c| c != '\n' && deceives(c)))
}

/// Whether a character can do something to a terminal, or make a line look like another one: controls of C0 and C1,
/// DEL, separators of lines, and format characters that change the direction of text or are not seen.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}')
}

/// A text with these characters as JSON escapes them.
fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_escaped(c) {
            true => drop(write!(out, "\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(format: LogFormat, fields: &Fields) -> String {
        let frame = Frame::Bare;
        let line = Form { format, frame }.line(Severity::Info, None, fields);
        String::from_utf8(line).unwrap()
    }

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
            bare(LogFormat::Text, &fields),
            r#"plain=a-b.c:1 space="a b" quote="a\"b" line="a\nb" number=7"#
        );
    }

    #[test]
    fn json_has_the_same_keys() {
        let fields = vec![("id", "1.2".into()), ("in", 3.into())];
        assert_eq!(
            bare(LogFormat::Json, &fields),
            r#"{"id":"1.2","in":3,"level":"info"}"#
        );
    }

    #[test]
    fn what_deceives_a_reader_is_escaped_in_each_format() {
        for c in
            "\u{1b}\u{7f}\u{80}\u{9b}\u{9f}\u{61c}\u{200f}\u{2028}\u{202e}\u{2066}\u{feff}".chars()
        {
            let (value, escape) = (format!("é{c}"), format!("é\\u{:04x}", u32::from(c)));
            let fields: Fields = vec![("k", value.as_str().into())];
            assert_eq!(bare(LogFormat::Text, &fields), format!("k=\"{escape}\""));
            let json = bare(LogFormat::Json, &fields);
            assert!(json.contains(&escape) && !json.contains(c), "{json}");
            let parsed: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(parsed.get("k"), Some(&value.as_str().into()));
            for format in [LogFormat::Text, LogFormat::Json] {
                for frame in [Frame::Stamped, Frame::Bare, Frame::Journal] {
                    let line = Form { format, frame }.line(Severity::Err, Some(&value), &fields);
                    assert!(
                        !String::from_utf8(line).unwrap().contains(c),
                        "{format:?} {frame:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_entry_of_the_journal_has_neither_time_nor_level() {
        let fields: Fields = vec![
            ("id", "1.2".into()),
            ("stderr", "a\nb\u{1b}".into()),
            ("in", 3.into()),
        ];
        for (format, message) in [
            (LogFormat::Text, r#"said id=1.2 stderr="a\nb\u001b" in=3"#),
            (
                LogFormat::Json,
                r#"{"id":"1.2","in":3,"message":"said","stderr":"a\nb\u001b"}"#,
            ),
        ] {
            let frame = Frame::Journal;
            let line = Form { format, frame }.line(Severity::Err, Some("said"), &fields);
            let head =
                format!("MESSAGE={message}\nPRIORITY=3\nSYSLOG_IDENTIFIER=tlssrv\nTLSSRV_ID=1.2\n");
            let length = 9_u64.to_le_bytes();
            let tail = b"a\nb\\u001b\nTLSSRV_IN=3\n";
            let expected = [head.as_bytes(), b"TLSSRV_STDERR\n", &length, tail].concat();
            assert_eq!(
                String::from_utf8_lossy(&line),
                String::from_utf8_lossy(&expected)
            );
        }
    }
}
