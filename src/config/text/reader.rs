//! Reads a TOML table key by key. Reports missing keys, wrong types and unknown keys.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::text::hints::{elsewhere, ours};
use crate::config::text::problems::Problems;

/// Reader of a table, which is asked for one key after the other.
pub(in crate::config) struct TableReader<'a> {
    /// Name of the table in messages, such as `[[host]]`.
    name: &'static str,
    entries: &'a DeTable<'a>,
    /// Position of the table in the file.
    span: Range<usize>,
    /// Keys that were asked for.
    known: Vec<&'static str>,
}

/// A type whose values can be read from TOML.
pub(in crate::config) trait FromToml: Sized {
    /// Expected value in messages, such as `a string`.
    const ONE: &'static str;
    /// Expected value for an array of this type, such as `an array of strings`.
    const MANY: &'static str;
    /// Whether one value may stand for an array of one.
    const MAY_STAND_ALONE: bool = false;

    /// Reads a value. `None`: there is an error, which is reported.
    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self>;
}

impl<'a> TableReader<'a> {
    /// Makes a reader of a table.
    pub(in crate::config) fn new(
        name: &'static str,
        entries: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> Self {
        Self {
            name,
            entries,
            span,
            known: Vec::new(),
        }
    }

    /// Reads the value of a key. `None`: the key is absent, or there is an error, which is reported.
    pub(in crate::config) fn optional<T: FromToml>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.entries.get(key)?;
        T::from_toml(value, problems)
    }

    /// Reads the elements of an array, which is empty if the key is absent. `None`: there is an error, which
    /// is reported.
    pub(in crate::config) fn list<T: FromToml>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<Vec<T>> {
        if self.has(key) {
            return self.optional(key, problems);
        }
        self.known.push(key);
        Some(Vec::new())
    }

    /// Whether the table has a key, with a valid value or not.
    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Reads the value of a key as [`TableReader::optional`] does, and also reports an absent key.
    pub(in crate::config) fn required<T: FromToml>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<T> {
        if !self.has(key) {
            self.lacks(&format!("{key:?}"), problems);
        }
        self.optional(key, problems)
    }

    /// Reports that the table lacks something.
    pub(in crate::config) fn lacks(&self, what: &str, problems: &mut Problems) {
        problems.error(self.span.clone(), format!("{} without {what}", self.name));
    }

    /// Reports a key that needs another key, if the other key is absent.
    pub(in crate::config) fn belongs(&self, key: &str, to: &str, problems: &mut Problems) {
        if let Some(span) = self.span_of(key).filter(|_| !self.has(to)) {
            problems.error(span, format!("{key:?} without {to:?}"));
        }
    }

    /// Position of the value of a key; `None`: the key is absent.
    pub(in crate::config) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get(key).map(Spanned::span)
    }

    /// Reports all keys that the reader was not asked for.
    pub(in crate::config) fn finish(self, problems: &mut Problems) {
        for key in self.entries.keys() {
            let word: &str = key.get_ref();
            if self.known.contains(&word) {
                continue;
            }
            let guess = self.known.iter().find(|known| is_misspelling(word, known));
            let hint = match (ours(self.name, word), guess) {
                (Some(ours), _) => ours.to_owned(),
                (None, Some(known)) => format!("did you mean {known:?}?"),
                (None, None) => elsewhere(self.name, word)
                    .unwrap_or_else(|| format!("known are {}", self.known.join(", "))),
            };
            problems.error(
                key.span(),
                format!("unknown key {word:?} in {}: {hint}", self.name),
            );
        }
    }
}

/// Makes a reader of a value, which must be a table. `None`: it is no table, which is reported.
pub(in crate::config) fn open<'a>(
    name: &'static str,
    expected: &str,
    value: &'a Spanned<DeValue<'a>>,
    problems: &mut Problems,
) -> Option<TableReader<'a>> {
    let span: Range<usize> = value.span();
    match value.get_ref() {
        DeValue::Table(entries) => Some(TableReader::new(name, entries, span)),
        _ => wrong_type(value, expected, problems),
    }
}

/// Reports a value of a wrong type.
pub(in crate::config) fn wrong_type<T>(
    value: &Spanned<DeValue<'_>>,
    expected: &str,
    problems: &mut Problems,
) -> Option<T> {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    problems.error(value.span(), format!("expected {expected}, found {found}"));
    None
}

/// Checks that a number is within bounds, and reports it if not. `None`: the number was not given.
pub(in crate::config) fn within(
    raw: Option<&Spanned<u64>>,
    least: u64,
    most: u64,
    problems: &mut Problems,
) -> Option<usize> {
    let raw = raw?;
    let number = *raw.get_ref();
    if !(least..=most).contains(&number) {
        problems.error(
            raw.span(),
            format!("{number} is out of range: it must be {least} to {most}"),
        );
    }
    usize::try_from(number).ok()
}

/// Reads a string that must be one of a few words. `None`: there is an error, which is reported.
pub(in crate::config) fn word<T: Copy>(
    value: &Spanned<DeValue<'_>>,
    words: &[(&str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let list: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    let expected = list.join(" or ");
    let Some(found) = value.get_ref().as_str() else {
        return wrong_type(value, &expected, problems);
    };
    let meaning = words
        .iter()
        .find(|(word, _)| *word == found)
        .map(|(_, meaning)| *meaning);
    if meaning.is_none() {
        problems.error(
            value.span(),
            format!("expected {expected}, found {found:?}"),
        );
    }
    meaning
}

impl FromToml for String {
    const ONE: &'static str = "a string";
    const MANY: &'static str = "a string or an array of strings";
    const MAY_STAND_ALONE: bool = true;

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(string) => Some(string.to_string()),
            _ => wrong_type(value, Self::ONE, problems),
        }
    }
}

/// One string, or an array of strings.
pub(in crate::config) struct OneOrMore(pub(in crate::config) Vec<Spanned<String>>);

impl FromToml for OneOrMore {
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

impl FromToml for bool {
    const ONE: &'static str = "true or false";
    const MANY: &'static str = "an array of booleans";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        value
            .get_ref()
            .as_bool()
            .or_else(|| wrong_type(value, Self::ONE, problems))
    }
}

/// All integers of a configuration are counts, which are not negative.
impl FromToml for u64 {
    const ONE: &'static str = "an integer";
    const MANY: &'static str = "an array of integers";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let Some(integer) = value.get_ref().as_integer() else {
            return wrong_type(value, Self::ONE, problems);
        };
        let number = Self::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            problems.error(value.span(), format!("{integer} is out of range"));
        }
        number
    }
}

/// A duration such as `10s` or `1m30s`. It is at most a year, so that adding it to a time cannot overflow.
impl FromToml for Duration {
    const ONE: &'static str = r#"a duration, as "10s" or "1m30s""#;
    const MANY: &'static str = "an array of durations";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            return wrong_type(value, Self::ONE, problems);
        };
        let reason = match humantime::parse_duration(text) {
            Ok(duration) if duration <= LONGEST => return Some(duration),
            Ok(_) => "longer than a year".to_owned(),
            Err(error) => error.to_string(),
        };
        problems.error(
            value.span(),
            format!("unable to read duration {text:?}: {reason}"),
        );
        None
    }
}

impl<T: FromToml> FromToml for Spanned<T> {
    const ONE: &'static str = T::ONE;
    const MANY: &'static str = T::MANY;
    const MAY_STAND_ALONE: bool = T::MAY_STAND_ALONE;

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        T::from_toml(value, problems).map(|inner| Self::new(value.span(), inner))
    }
}

/// All elements are read even if one has an error, so that all errors are reported.
impl<T: FromToml> FromToml for Vec<T> {
    const ONE: &'static str = T::MANY;
    const MANY: &'static str = "an array of arrays";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = value.get_ref().as_array() else {
            return match value.get_ref() {
                DeValue::String(_) if T::MAY_STAND_ALONE => {
                    T::from_toml(value, problems).map(|one| vec![one])
                }
                _ => wrong_type(value, Self::ONE, problems),
            };
        };
        let elements: Vec<_> = array
            .iter()
            .map(|value| T::from_toml(value, problems))
            .collect();
        elements.into_iter().collect()
    }
}

/// A table with arbitrary keys.
impl<T: FromToml> FromToml for BTreeMap<String, T> {
    const ONE: &'static str = "a table";
    const MANY: &'static str = "an array of tables";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            return wrong_type(value, Self::ONE, problems);
        };
        let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
            Some((key.get_ref().to_string(), T::from_toml(value, problems)?))
        };
        // Entries do not depend on each other, so entries without errors are checked further.
        Some(table.iter().filter_map(entry).collect())
    }
}

/// Whether a word looks like a known one with a letter wrong, missing or added, or with two letters
/// swapped: at most two letters remain between the common prefix and the common suffix.
fn is_misspelling(word: &str, known: &str) -> bool {
    let (word, known) = (word.as_bytes(), known.as_bytes());
    let longer = word.len().max(known.len());
    let shorter = word.len().min(known.len());
    let same = |(a, b): &(&u8, &u8)| a == b;
    let head = word.iter().zip(known).take_while(same).count();
    let tail = word
        .iter()
        .rev()
        .zip(known.iter().rev())
        .take_while(same)
        .count();
    longer > 3 && longer - shorter <= 1 && head + tail + 2 >= longer
}

/// Maximum of all limits on connections, which is the default of `fs.nr_open`: the descriptors that a
/// Linux process may have.
pub(in crate::config) const MOST_CONNECTIONS: u64 = 1024 * 1024;

/// Maximum of all durations.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::is_misspelling;

    #[test]
    fn one_typing_mistake_is_recognised() {
        for word in ["engnies", "engine", "enginess", "engimes", "Engines"] {
            assert!(is_misspelling(word, "engines"), "{word}");
        }
        for word in ["listen", "engine-user", "psk", ""] {
            assert!(!is_misspelling(word, "engines"), "{word}");
        }
        assert!(!is_misspelling("key", "env"));
    }
}
