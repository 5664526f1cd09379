//! Destinations of log lines: standard error, a file, syslog.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use syslog::{Facility, Formatter3164, LoggerBackend};

use super::Severity;
use crate::config::LogTo;

/// An open log.
pub(crate) enum Sink {
    Stderr,
    File(PathBuf, File),
    Syslog(String, Syslog),
}

type Syslog = Box<syslog::Logger<LoggerBackend, Formatter3164>>;

impl Sink {
    pub(crate) fn open(to: &LogTo) -> io::Result<Self> {
        match to {
            LogTo::Stderr => Ok(Self::Stderr),
            LogTo::File(path) => Ok(Self::File(path.clone(), append_to(path)?)),
            LogTo::Syslog(tag) => Ok(Self::Syslog(tag.clone(), connect(tag)?)),
        }
    }

    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Stderr => {}
            Self::File(path, file) => *file = append_to(path)?,
            Self::Syslog(tag, logger) => *logger = connect(tag)?,
        }
        Ok(())
    }

    /// Whether a line needs its own time and severity: syslog adds both.
    pub(crate) fn wants_time(&self) -> bool {
        !matches!(self, Self::Syslog(..))
    }

    /// Writes one line with one system call, so that lines of several writers don't mix.
    pub(crate) fn write(&mut self, severity: Severity, line: &str) -> io::Result<()> {
        match self {
            Self::Stderr => io::stderr().write_all(format!("{line}\n").as_bytes()),
            Self::File(_, file) => file.write_all(format!("{line}\n").as_bytes()),
            Self::Syslog(tag, logger) => send(logger, severity, line).or_else(|_| {
                // The daemon may have been started anew, with a new socket.
                *logger = connect(tag)?;
                send(logger, severity, line)
            }),
        }
    }
}

fn connect(tag: &str) -> io::Result<Syslog> {
    let formatter = Formatter3164 {
        facility: Facility::LOG_DAEMON,
        hostname: None,
        process: tag.to_owned(),
        pid: std::process::id(),
    };
    let logger = syslog::unix(formatter).map_err(io::Error::other)?;
    Ok(Box::new(logger))
}

fn send(logger: &mut Syslog, severity: Severity, line: &str) -> io::Result<()> {
    match severity {
        Severity::Err => logger.err(line),
        Severity::Warning => logger.warning(line),
        Severity::Notice => logger.notice(line),
        Severity::Info => logger.info(line),
        Severity::Debug => logger.debug(line),
    }
    .map_err(io::Error::other)
}

/// Others than its owner and group are not to read who connected.
fn append_to(path: &Path) -> io::Result<File> {
    File::options()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}
