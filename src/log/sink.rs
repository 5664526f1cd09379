//! Destinations of log lines: standard error, a file, syslog, the journal.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{AccessFlags, eaccess};

use super::line::Frame;
use super::syslog::Syslog;
use crate::config::LogTo;
use crate::systemd::journal::Journal;
use crate::types::Severity;

/// An open log.
pub(super) enum Sink {
    Stderr(Stream),
    File(PathBuf, File, Stream),
    Syslog(Syslog),
    Journal(Journal),
}

/// Lines that are written to a descriptor.
#[derive(Default)]
pub(super) struct Stream {
    /// Whether a line was written in part, when space ran out.
    torn: bool,
}

impl Sink {
    /// Opens a log. Standard error may be the journal, which then gets entries by its own protocol.
    ///
    /// Errors: those of opening the file, or of reaching syslog.
    pub(super) fn open(to: &LogTo) -> io::Result<Self> {
        match to {
            LogTo::Stderr => Ok(Journal::of_stderr().map_or_else(Self::stderr, Self::Journal)),
            LogTo::File(path) => Self::file(path.clone()),
            LogTo::Syslog(tag) => {
                Syslog::connect(tag.clone(), std::process::id()).map(Self::Syslog)
            }
        }
    }

    /// Standard error, whatever it is.
    pub(super) fn stderr() -> Self {
        Self::Stderr(Stream::default())
    }

    /// A file, which is opened.
    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        let file = append_to(&path)?;
        Ok(Self::File(path, file, Stream::default()))
    }

    /// What the lines need.
    pub(super) fn frame(&self) -> Frame {
        match self {
            Self::Stderr(_) | Self::File(..) => Frame::Stamped,
            Self::Syslog(_) => Frame::Bare,
            Self::Journal(_) => Frame::Journal,
        }
    }

    /// Whether [`Sink::write`] never waits for a reader or a disk. A descriptor that others have open, too, cannot be
    /// made non-blocking, since that would hold for all of them; a file is never non-blocking.
    pub(super) fn never_waits(&self) -> bool {
        match self {
            Self::Stderr(_) | Self::File(..) => false,
            Self::Syslog(syslog) => syslog.never_waits(),
            Self::Journal(_) => true,
        }
    }

    /// Opens the log again, since a file may have been moved away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Stderr(_) | Self::Journal(_) => {}
            Self::File(path, file, stream) => {
                *file = append_to(path)?;
                *stream = Stream::default();
            }
            Self::Syslog(syslog) => syslog.reconnect()?,
        }
        Ok(())
    }

    /// Writes one line, with one system call if it can be, so that lines of several writers don't mix.
    ///
    /// Errors: the line is lost; `WouldBlock` only where [`Sink::never_waits`]: it can be written later.
    pub(super) fn write(&mut self, severity: Severity, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stderr(stream) => stream.write(io::stderr().as_fd(), line),
            Self::File(_, file, stream) => stream.write(file.as_fd(), line),
            Self::Syslog(syslog) => syslog.write(severity, line),
            Self::Journal(journal) => journal.send(line),
        }
    }

    /// Number of bytes that are on their way to a daemon.
    pub(super) fn unread(&self) -> usize {
        match self {
            Self::Stderr(_) | Self::File(..) => 0,
            Self::Syslog(syslog) => syslog.unread(),
            Self::Journal(journal) => journal.unread(),
        }
    }
}

impl Stream {
    /// Writes a line completely, however long that takes.
    fn write(&mut self, to: BorrowedFd<'_>, line: &[u8]) -> io::Result<()> {
        let whole;
        let mut rest = line;
        if self.torn {
            whole = [b"\n", line].concat();
            rest = &whole;
        }
        let begin = rest.len();
        while !rest.is_empty() {
            match nix::unistd::write(to, rest) {
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                // Another process has made the descriptor non-blocking, which they share.
                Err(Errno::EAGAIN) => {
                    let mut ready = [PollFd::new(to, PollFlags::POLLOUT)];
                    let _ = poll(&mut ready, PollTimeout::NONE);
                }
                Err(e) => {
                    self.torn |= rest.len() < begin;
                    return Err(e.into());
                }
            }
        }
        self.torn = false;
        Ok(())
    }
}

/// Opens a file for appending. Others than its owner and group are not to read who connected.
fn append_to(path: &Path) -> io::Result<File> {
    File::options()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// Whether a log could be opened. Nothing is written, and no file is made.
///
/// Errors: those of [`Sink::open`].
pub(super) fn check(to: &LogTo) -> io::Result<()> {
    match to {
        LogTo::Stderr => Ok(()),
        LogTo::Syslog(_) => Sink::open(to).map(drop),
        LogTo::File(path) => {
            // A pipe without a reader would be waited for.
            let mut options = File::options();
            options.append(true).custom_flags(libc::O_NONBLOCK);
            match options.open(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let directory = path.parent().unwrap_or(Path::new("/"));
                    Ok(eaccess(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
                }
                Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(()),
                opened => opened.map(drop),
            }
        }
    }
}
