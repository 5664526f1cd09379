//! Errors, warnings and notices about a configuration, shown as file, line, message and the line itself.
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::types::Severity;
pub(in crate::config) use crate::types::cause;

/// Errors, warnings and notices about one configuration.
#[derive(Debug)]
pub struct Problems {
    origin: Origin,
    list: Vec<Problem>,
}

/// Text that the configuration was read from.
#[derive(Debug)]
enum Origin {
    CommandLine,
    File { path: PathBuf, text: String },
}

/// An error, warning or notice.
#[derive(Debug)]
struct Problem {
    severity: Severity,
    span: Span,
    /// Line of another file that the problem is about.
    elsewhere: Option<FileLine>,
    message: String,
}

/// Range of bytes of the file that a problem is about; `None`: the whole file, or there is no file.
pub(in crate::config) type Span = Option<Range<usize>>;

/// Line of a file that the configuration names. The line is never shown, because it may contain a key.
#[derive(Debug)]
pub(in crate::config) struct FileLine {
    /// Path of the file.
    pub(in crate::config) path: PathBuf,
    /// Line number, from 1.
    pub(in crate::config) line: usize,
}

impl Problems {
    /// Makes an empty list of problems for a command line.
    pub(in crate::config) fn on_command_line() -> Self {
        Self {
            origin: Origin::CommandLine,
            list: Vec::new(),
        }
    }

    /// Makes an empty list of problems for a file with this text.
    pub(in crate::config) fn in_file(path: &Path, text: &str) -> Self {
        let origin = Origin::File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        Self {
            origin,
            list: Vec::new(),
        }
    }

    /// Adds an error.
    pub(in crate::config) fn error(&mut self, span: impl Into<Span>, message: impl Into<String>) {
        self.add(Severity::Err, span.into(), None, message.into());
    }

    /// Adds a warning.
    pub(in crate::config) fn warning(&mut self, span: impl Into<Span>, message: impl Into<String>) {
        self.add(Severity::Warning, span.into(), None, message.into());
    }

    /// Adds an error in another file, whose name is at this span.
    pub(in crate::config) fn error_in(
        &mut self,
        line: FileLine,
        span: Span,
        message: impl Into<String>,
    ) {
        self.add(Severity::Err, span, Some(line), message.into());
    }

    /// Adds a warning about another file, whose name is at this span.
    pub(in crate::config) fn warning_in(
        &mut self,
        line: FileLine,
        span: Span,
        message: impl Into<String>,
    ) {
        self.add(Severity::Warning, span, Some(line), message.into());
    }

    /// Adds a notice.
    pub(in crate::config) fn notice(&mut self, message: impl Into<String>) {
        self.add(Severity::Notice, None, None, message.into());
    }

    /// Whether there are errors.
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|problem| problem.severity == Severity::Err)
    }

    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Texts of the problems, in the order of the file. Each has one or more lines, without the last
    /// newline.
    pub fn reports(&self) -> Vec<(Severity, String)> {
        let lines = match &self.origin {
            Origin::CommandLine => Vec::new(),
            Origin::File { text, .. } => lines(text),
        };
        let mut sorted: Vec<&Problem> = self.list.iter().collect();
        sorted.sort_by_key(|problem| {
            let start = problem.span.as_ref().map(|span| span.start);
            (start, problem.elsewhere.as_ref().map(|other| other.line))
        });
        sorted
            .into_iter()
            .map(|problem| (problem.severity, self.report(problem, &lines)))
            .collect()
    }

    /// Number of the line where a span begins, from 1; 0 for a command line.
    pub(in crate::config) fn line(&self, span: &Range<usize>) -> usize {
        match &self.origin {
            Origin::CommandLine => 0,
            Origin::File { text, .. } => {
                1 + text
                    .bytes()
                    .take(span.start)
                    .filter(|byte| *byte == b'\n')
                    .count()
            }
        }
    }

    fn add(
        &mut self,
        severity: Severity,
        span: Span,
        elsewhere: Option<FileLine>,
        message: String,
    ) {
        self.list.push(Problem {
            severity,
            span,
            elsewhere,
            message,
        });
    }

    /// Text of a problem. `lines` are the lines of the file.
    fn report(&self, problem: &Problem, lines: &[(usize, &str)]) -> String {
        let message = match problem.severity {
            Severity::Err => problem.message.clone(),
            Severity::Warning => format!("warning: {}", problem.message),
            _ => format!("notice: {}", problem.message),
        };
        if let Some(FileLine { path, line }) = &problem.elsewhere {
            return format!("{}:{line}: {message}", path.display());
        }
        let Origin::File { path, .. } = &self.origin else {
            return format!("tlssrv: {message}");
        };
        let path = path.display();
        let Some(span) = &problem.span else {
            return format!("{path}: {message}");
        };
        let number = lines
            .partition_point(|(start, _)| *start <= span.start)
            .max(1);
        let Some((start, line)) = lines.get(number - 1) else {
            return format!("{path}: {message}");
        };
        let before = span.start.saturating_sub(*start).min(line.len());
        let marked = span.end.saturating_sub(*start).clamp(before, line.len());
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

/// Lines of a text with the offset in bytes of each. There is at least one.
fn lines(text: &str) -> Vec<(usize, &str)> {
    let mut start = 0;
    text.split('\n')
        .map(|line| {
            let offset = start;
            start += line.len() + 1;
            (offset, line.strip_suffix('\r').unwrap_or(line))
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
    fn problems_are_reported_in_the_order_of_the_file() {
        let mut problems = Problems::in_file(Path::new("f.toml"), "a\nb\n");
        problems.error(2..3, "second");
        problems.warning(0..1, "first");
        let severities = problems.reports().into_iter().map(|(severity, _)| severity);
        assert_eq!(
            severities.collect::<Vec<_>>(),
            [Severity::Warning, Severity::Err]
        );
    }
}
