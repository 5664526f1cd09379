//! One line per fact, to syslog, standard error, the journal or a file; as text (logfmt) or JSON.
//!
//! A log that cannot be written (a full disk, a pipe that nobody reads) stops nothing, and nobody waits for it. Lost
//! lines are counted, and their number is logged when writing works again.
#![forbid(unsafe_code)]

mod limiter;
mod line;
mod outlet;
mod sink;
mod syslog;
mod writer;

use std::time::Instant;

use nix::unistd::Pid;
use serde_json::Value;

use crate::config::{Log, LogTo};
use crate::types::{Severity, cause};
use limiter::Limiter;
use outlet::Outlet;

pub use writer::{is_writer, run};

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
    outlet: Outlet,
    /// The log that is wanted, if it could not be opened.
    wanted: Option<Log>,
    level: Severity,
    limiter: Limiter,
}

/// A line's keys and values, in their order.
pub type Fields = Vec<(&'static str, Value)>;

impl Logger {
    /// Opens the log: standard error, with a warning, where there is no syslog.
    ///
    /// Errors: those of opening the file.
    pub fn open(log: &Log) -> std::io::Result<Self> {
        match Self::open_at(&log.to, log) {
            Err(e) if matches!(log.to, LogTo::Syslog(_)) => {
                let mut logger = Self::open_at(&LogTo::Stderr, log)?;
                logger.wanted = Some(log.clone());
                logger.say(Severity::Warning, &no_syslog(&e));
                Ok(logger)
            }
            opened => opened,
        }
    }

    fn open_at(to: &LogTo, log: &Log) -> std::io::Result<Self> {
        let (outlet, slow) = Outlet::open(to, log.format)?;
        let mut logger = Self {
            outlet,
            wanted: None,
            level: log.level,
            limiter: Limiter::default(),
        };
        if let Some(line) = slow {
            logger.say(Severity::Warning, &line);
        }
        Ok(logger)
    }

    /// Whether a log could be opened. Nothing is written, and no file is made.
    ///
    /// Errors: what a start would say, with its severity.
    pub fn check(log: &Log) -> Result<(), (Severity, String)> {
        sink::check(&log.to).map_err(|e| match &log.to {
            LogTo::Syslog(_) => (Severity::Warning, no_syslog(&e)),
            LogTo::Stderr | LogTo::File(_) => (Severity::Err, cannot_open(&log.to, &e)),
        })
    }

    /// Opens the log again: a file may have been moved away, and there may be a syslog by now.
    pub fn reopen(&mut self) {
        let wanted = self.wanted.as_ref();
        match wanted.map(|log| Self::open_at(&log.to, log)) {
            Some(Ok(other)) => self.replace(other),
            Some(Err(_)) | None => self.outlet.reopen(),
        }
    }

    /// Writes a sentence.
    pub fn say(&mut self, severity: Severity, message: &str) {
        if self.wants(severity) {
            self.write(severity, Some(message), &Fields::new());
        }
    }

    /// Lets lines wait for each other until [`Logger::release`].
    pub fn hold(&mut self) {
        self.outlet.hold();
    }

    /// Lets lines go out that have waited for each other.
    pub fn release(&mut self) {
        self.outlet.release();
    }

    /// Writes sentences.
    pub fn say_all(&mut self, severity: Severity, messages: Vec<String>) {
        for message in messages {
            self.say(severity, &message);
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

    /// Logs the number of lines that were left out, for each kind whose window is over, and tries again what could not
    /// be written.
    pub fn tick(&mut self, now: Instant) {
        for (kind, count) in self.limiter.expire(now) {
            self.say(
                Severity::Info,
                &format!("left out {count} more lines of the kind: {kind}"),
            );
        }
        self.outlet.tick(now);
    }

    /// Time of the next [`Logger::tick`].
    pub fn next_tick(&self) -> Option<Instant> {
        let due = [self.limiter.next_expiry(), self.outlet.due()];
        due.into_iter().flatten().min()
    }

    /// Notes that a child process has ended: it may be the one that writes the log.
    pub fn exited(&mut self, pid: Pid) {
        self.outlet.exited(pid);
    }

    /// Logs from now on what is at least this severe, and as another log does, if there is one.
    pub fn change(&mut self, level: Severity, other: Option<Self>) {
        match other {
            Some(other) => self.replace(other),
            None => {
                self.level = level;
                self.wanted.iter_mut().for_each(|log| log.level = level);
            }
        }
    }

    /// Logs from now on as another log does. What this one could not write is counted there.
    fn replace(&mut self, other: Self) {
        self.finish();
        let before = std::mem::replace(self, other);
        self.outlet.count_dropped(before.outlet.unwritten());
    }

    /// Writes everything, and waits for that, but for a limited time.
    pub fn close(&mut self) {
        self.finish();
        self.outlet.close();
    }

    /// Logs at once what [`Logger::tick`] would log later.
    fn finish(&mut self) {
        if let Some(end) = Instant::now().checked_add(limiter::WINDOW) {
            self.tick(end);
        }
    }

    /// Whether lines of this severity are logged. Nobody sees a trace who has not asked for it.
    fn wants(&self, severity: Severity) -> bool {
        severity <= self.level || severity == Severity::Debug
    }

    fn write(&mut self, severity: Severity, message: Option<&str>, fields: &Fields) {
        let line = self.outlet.form().line(severity, message, fields);
        self.outlet.line(severity, line);
    }
}

/// Why a log cannot be opened.
pub fn cannot_open(to: &LogTo, e: &std::io::Error) -> String {
    let log = match to {
        LogTo::Syslog(_) => "syslog".to_owned(),
        LogTo::Stderr => "standard error".to_owned(),
        LogTo::File(path) => path.display().to_string(),
    };
    format!("unable to open the log {log}: {}", cause(e))
}

fn no_syslog(e: &std::io::Error) -> String {
    format!(
        "unable to log to syslog: {}: logging to standard error instead",
        cause(e)
    )
}
