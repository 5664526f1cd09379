//! What is wrong with a configuration: file, line, message, and the line itself.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::types::Severity;

/// Everything that is wrong, or looks wrong, with one configuration.
#[derive(Debug)]
pub struct Problems {
    source: Source,
    list: Vec<Problem>,
}

/// What the configuration was read from.
#[derive(Debug)]
enum Source {
    CommandLine,
    File { path: PathBuf, text: String },
}

#[derive(Debug)]
struct Problem {
    severity: Severity,
    place: Span,
    elsewhere: Option<FileLine>,
    message: String,
}

/// Bytes of the file that a problem is about; `None`: the whole of it, or there is no file.
pub(in crate::config) type Span = Option<Range<usize>>;

/// A line of a file that the configuration names. It is never shown: it may have a key in it.
#[derive(Debug)]
pub(in crate::config) struct FileLine {
    pub(in crate::config) path: PathBuf,
    /// From 1.
    pub(in crate::config) line: usize,
}

impl Problems {
    pub(in crate::config) fn on_command_line() -> Self {
        Self {
            source: Source::CommandLine,
            list: Vec::new(),
        }
    }

    pub(in crate::config) fn in_file(path: &Path, text: &str) -> Self {
        let source = Source::File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        Self {
            source,
            list: Vec::new(),
        }
    }

    pub(in crate::config) fn error(&mut self, place: impl Into<Span>, message: impl Into<String>) {
        self.add(Severity::Err, place.into(), None, message.into());
    }

    pub(in crate::config) fn warning(
        &mut self,
        place: impl Into<Span>,
        message: impl Into<String>,
    ) {
        self.add(Severity::Warning, place.into(), None, message.into());
    }

    /// An error in another file, which is named at this place.
    pub(in crate::config) fn error_in(
        &mut self,
        line: FileLine,
        place: Span,
        message: impl Into<String>,
    ) {
        self.add(Severity::Err, place, Some(line), message.into());
    }

    /// A warning of another file, which is named at this place.
    pub(in crate::config) fn warning_in(
        &mut self,
        line: FileLine,
        place: Span,
        message: impl Into<String>,
    ) {
        self.add(Severity::Warning, place, Some(line), message.into());
    }

    pub(in crate::config) fn notice(&mut self, message: impl Into<String>) {
        self.add(Severity::Notice, None, None, message.into());
    }

    /// Whether anything is an error.
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|problem| problem.severity == Severity::Err)
    }

    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each problem as text, of one or several lines without the last newline; in the order of the
    /// file.
    pub fn reports(&self) -> Vec<(Severity, String)> {
        let lines = match &self.source {
            Source::CommandLine => Vec::new(),
            Source::File { text, .. } => lines(text),
        };
        let mut sorted: Vec<&Problem> = self.list.iter().collect();
        sorted.sort_by_key(|problem| {
            let start = problem.place.as_ref().map(|place| place.start);
            (start, problem.elsewhere.as_ref().map(|other| other.line))
        });
        sorted
            .into_iter()
            .map(|problem| (problem.severity, self.report(problem, &lines)))
            .collect()
    }

    /// The line of the file, from 1, where a place begins.
    pub(in crate::config) fn line(&self, place: &Range<usize>) -> usize {
        match &self.source {
            Source::CommandLine => 0,
            Source::File { text, .. } => {
                1 + text
                    .bytes()
                    .take(place.start)
                    .filter(|byte| *byte == b'\n')
                    .count()
            }
        }
    }

    fn add(
        &mut self,
        severity: Severity,
        place: Span,
        elsewhere: Option<FileLine>,
        message: String,
    ) {
        self.list.push(Problem {
            severity,
            place,
            elsewhere,
            message,
        });
    }

    fn report(&self, problem: &Problem, lines: &[(usize, &str)]) -> String {
        let message = match problem.severity {
            Severity::Err => problem.message.clone(),
            Severity::Warning => format!("warning: {}", problem.message),
            _ => format!("notice: {}", problem.message),
        };
        if let Some(FileLine { path, line }) = &problem.elsewhere {
            return format!("{}:{line}: {message}", path.display());
        }
        let Source::File { path, .. } = &self.source else {
            return format!("tlssrv: {message}");
        };
        let path = path.display();
        let Some(place) = &problem.place else {
            return format!("{path}: {message}");
        };
        let number = lines
            .partition_point(|(start, _)| *start <= place.start)
            .max(1);
        let Some((start, line)) = lines.get(number - 1) else {
            return format!("{path}: {message}");
        };
        let before = place.start.saturating_sub(*start).min(line.len());
        let marked = place.end.saturating_sub(*start).clamp(before, line.len());
        let width = |range| line.get(range).map_or(0, |text: &str| text.chars().count());
        let indent: String = line
            .get(..before)
            .unwrap_or_default()
            .chars()
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let carets = "^".repeat(width(before..marked).max(1));
        let gutter = " ".repeat(number.to_string().len());
        let line = line.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
        format!("{path}:{number}: {message}\n  {number} | {line}\n  {gutter} | {indent}{carets}")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reports()
            .iter()
            .try_for_each(|(_, report)| writeln!(f, "{report}"))
    }
}

/// What the system says went wrong, without the number.
pub(in crate::config) fn cause(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => Errno::from_raw(errno).desc().to_owned(),
        None => error.to_string(),
    }
}

/// Each line with the place where it starts; one at least.
fn lines(text: &str) -> Vec<(usize, &str)> {
    let mut start = 0;
    text.split('\n')
        .map(|line| {
            let place = start;
            start += line.len() + 1;
            (place, line.strip_suffix('\r').unwrap_or(line))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line_and_a_caret_under_the_value() {
        let text = "a = 1\n\tkey = \"v\u{e4}lue\"\r\n";
        let mut problems = Problems::in_file(Path::new("f.toml"), text);
        problems.error(13..21, "bad value");
        assert_eq!(
            problems.to_string(),
            "f.toml:2: bad value\n  2 | \tkey = \"v\u{e4}lue\"\n    | \t      ^^^^^^^\n"
        );
    }

    #[test]
    fn a_problem_at_the_end_of_the_file_shows_the_last_line() {
        let mut problems = Problems::in_file(Path::new("f.toml"), "a = [");
        problems.error(5..5, "unclosed");
        assert_eq!(
            problems.to_string(),
            "f.toml:1: unclosed\n  1 | a = [\n    |      ^\n"
        );
    }

    #[test]
    fn problems_come_in_the_order_of_the_file() {
        let mut problems = Problems::in_file(Path::new("f.toml"), "a\nb\n");
        problems.error(2..3, "second");
        problems.warning(0..1, "first");
        let text = problems.to_string();
        assert!(text.find("first") < text.find("second"), "{text}");
    }
}
