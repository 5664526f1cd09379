//! Reading a TOML table key by key: what is there, of which type, and what nobody asked for.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::text::problems::Problems;

/// A table whose keys are taken one after the other.
pub(in crate::config) struct TableReader<'a> {
    /// What the table is, in the operator's words: `[[host]]`.
    name: &'static str,
    entries: &'a DeTable<'a>,
    place: Range<usize>,
    known: Vec<&'static str>,
}

/// What a TOML value can become. Whoever cannot, says so to the problems and is `None`.
pub(in crate::config) trait FromToml: Sized {
    /// What the file should say: `a string`.
    const ONE: &'static str;
    /// What it should say for several: `an array of strings`.
    const MANY: &'static str;

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self>;
}

impl<'a> TableReader<'a> {
    pub(in crate::config) fn new(
        name: &'static str,
        entries: &'a DeTable<'a>,
        place: Range<usize>,
    ) -> Self {
        Self {
            name,
            entries,
            place,
            known: Vec::new(),
        }
    }

    /// The value of a key; `None` when it is absent, and when it is wrong, which is then reported.
    pub(in crate::config) fn optional<T: FromToml>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.entries.get(key)?;
        T::from_toml(value, problems)
    }

    /// The elements of a list; none where the key is absent, and `None` where it is wrong.
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

    /// Whether a key is there, right or wrong.
    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// As [`TableReader::optional`], and a key that is absent is reported too.
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

    /// Reports that something is absent.
    pub(in crate::config) fn lacks(&self, what: &str, problems: &mut Problems) {
        problems.error(self.place.clone(), format!("{} without {what}", self.name));
    }

    /// Reports a key that means nothing without another one, where that is absent.
    pub(in crate::config) fn belongs(&self, key: &str, to: &str, problems: &mut Problems) {
        if let Some(place) = self.place_of(key).filter(|_| !self.has(to)) {
            problems.error(place, format!("{key:?} without {to:?}"));
        }
    }

    /// Where the value of a key stands; `None`: the key is absent.
    pub(in crate::config) fn place_of(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get(key).map(Spanned::span)
    }

    /// Reports every key that nobody asked for.
    pub(in crate::config) fn finish(self, problems: &mut Problems) {
        for key in self.entries.keys() {
            let word: &str = key.get_ref();
            if self.known.contains(&word) {
                continue;
            }
            let hint = match self.known.iter().find(|known| is_slip(word, known)) {
                Some(known) => format!("did you mean {known:?}?"),
                None => format!("known are {}", self.known.join(", ")),
            };
            problems.error(
                key.span(),
                format!("unknown key {word:?} in {}: {hint}", self.name),
            );
        }
    }
}

/// The value as a table to read from.
pub(in crate::config) fn open<'a>(
    name: &'static str,
    expected: &str,
    value: &'a Spanned<DeValue<'a>>,
    problems: &mut Problems,
) -> Option<TableReader<'a>> {
    let place: Range<usize> = value.span();
    match value.get_ref() {
        DeValue::Table(entries) => Some(TableReader::new(name, entries, place)),
        _ => wrong_type(value, expected, problems),
    }
}

/// Reports that a value is not of the type it should be.
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

/// A number that must be within these bounds; `None`: it was not given. A number out of bounds is reported.
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

/// The meaning of a string that must be one of a few words.
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
    const MANY: &'static str = "an array of strings";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(string) => Some(string.to_string()),
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

/// Integers are counts here, never negative.
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

/// `10s`, `1m30s`; at most a year, which leaves clocks room to add it.
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

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        T::from_toml(value, problems).map(|inner| Self::new(value.span(), inner))
    }
}

/// Every element is read, so that all that are wrong are reported.
impl<T: FromToml> FromToml for Vec<T> {
    const ONE: &'static str = T::MANY;
    const MANY: &'static str = "an array of arrays";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        let Some(array) = value.get_ref().as_array() else {
            return wrong_type(value, Self::ONE, problems);
        };
        let elements: Vec<_> = array
            .iter()
            .map(|value| T::from_toml(value, problems))
            .collect();
        elements.into_iter().collect()
    }
}

/// A table whose keys are the operator's.
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
        // Entries mean something without the others, so that those which are right are looked at.
        Some(table.iter().filter_map(entry).collect())
    }
}

/// Whether a word looks like another one with a letter wrong, missing, added, or two swapped:
/// at most two letters remain between what both begin and what both end with.
fn is_slip(word: &str, known: &str) -> bool {
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

/// More than a process may have descriptors (`fs.nr_open` as Linux has it).
pub(in crate::config) const MOST_CONNECTIONS: u64 = 1024 * 1024;

const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::is_slip;

    #[test]
    fn one_slip_of_the_finger_is_recognised() {
        for word in ["engnies", "engine", "enginess", "engimes", "Engines"] {
            assert!(is_slip(word, "engines"), "{word}");
        }
        for word in ["listen", "engine-user", "psk", ""] {
            assert!(!is_slip(word, "engines"), "{word}");
        }
        assert!(!is_slip("key", "env"));
    }
}
