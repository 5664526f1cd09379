//! A parser of log lines.

use std::collections::BTreeMap;

use serde_json::Value;

/// A log line: level, message, keys and values.
#[derive(Clone, Debug)]
pub struct Line {
    /// `err`, `info` …; empty where the line does not belong to the log.
    pub level: String,
    /// The words that are not `key=value`.
    pub message: String,
    /// Keys in their order.
    pub keys: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Line {
    /// A line of logfmt, as it goes to stderr or a file: time, level, message, keys with values.
    pub fn parse(line: &str) -> Self {
        let mut words = line.splitn(3, ' ');
        let (time, level, rest) = (words.next(), words.next(), words.next());
        let stamped = time.is_some_and(|time| time.ends_with('Z') && time.contains('T'));
        let (level, mut rest) = match (stamped, level, rest) {
            (true, Some(level), Some(rest)) => (level, rest),
            _ => ("", line),
        };
        let mut parsed = Self {
            level: level.to_owned(),
            message: String::new(),
            keys: Vec::new(),
            values: BTreeMap::new(),
        };
        while !rest.is_empty() {
            let (word, value, tail) = word(rest);
            match value {
                Some(value) => parsed.set(word, value),
                None => {
                    parsed.message.push_str(word);
                    parsed.message.push(' ');
                }
            }
            rest = tail;
        }
        parsed.message.truncate(parsed.message.trim_end().len());
        parsed
    }

    /// A line of JSON.
    pub fn parse_json(line: &str) -> Self {
        let object: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut parsed = Self {
            level: object.get("level").map(text).unwrap_or_default(),
            message: object.get("message").map(text).unwrap_or_default(),
            keys: Vec::new(),
            values: BTreeMap::new(),
        };
        for (key, value) in &object {
            if !["time", "level", "message"].contains(&key.as_str()) {
                parsed.set(key, text(value));
            }
        }
        parsed
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The value of a key that must be there.
    pub fn value(&self, key: &str) -> &str {
        self.get(key)
            .unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    /// The value of a key that must be a number.
    pub fn number(&self, key: &str) -> u64 {
        let value = self.value(key);
        value
            .parse()
            .unwrap_or_else(|_| panic!("{key}={value} is no number"))
    }

    /// Whether this is the one line of a connection.
    pub fn is_connection(&self) -> bool {
        self.get("id").is_some() && self.get("end").is_some()
    }

    fn set(&mut self, key: &str, value: String) {
        self.keys.push(key.to_owned());
        let before = self.values.insert(key.to_owned(), value);
        assert!(before.is_none(), "{key} comes twice");
    }
}

/// The first word, its value where it is a `key=value`, and what comes after.
fn word(text: &str) -> (&str, Option<String>, &str) {
    let end = text.find([' ', '=']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let Some(value) = rest.strip_prefix('=') else {
        return (word, None, rest.trim_start());
    };
    if !value.starts_with('"') {
        let (value, rest) = value.split_at(value.find(' ').unwrap_or(value.len()));
        return (word, Some(value.to_owned()), rest.trim_start());
    }
    let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
    let parsed = values.next().unwrap().unwrap();
    let rest = &value[values.byte_offset()..];
    (word, Some(parsed), rest.trim_start())
}
