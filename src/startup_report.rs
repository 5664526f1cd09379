//! The start-up report: messages to the operator before the log is open.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FileStat, SFlag, fstat};
use syslog::{Facility, Formatter3164};

use crate::systemd::journal::{Journal, entry};
use crate::types::Severity;

/// Time for standard error to take a message, in milliseconds.
const PATIENCE: u16 = 2000;

/// Writes text to standard error. Where standard error is the connection, as under inetd, the text goes to
/// the system's log line by line: a client must never read what is meant for the operator. The journal gets an entry.
pub fn report(severity: Severity, text: &str) {
    if let Some(journal) = Journal::of_stderr()
        && journal.send(&entry(severity, text.trim_end(), &[])).is_ok()
    {
        return;
    }
    if !stderr_is_the_connection() {
        // A reader that stands still must not keep this process from ending.
        let (stderr, wait) = (io::stderr(), PollTimeout::from(PATIENCE));
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut ready, wait) == Ok(0) {
            return;
        }
        // If this fails, there is no other way to tell it.
        let _ = io::stderr().write_all(text.trim_end().as_bytes());
        let _ = io::stderr().write_all(b"\n");
        return;
    }
    let formatter = Formatter3164 {
        facility: Facility::LOG_DAEMON,
        hostname: None,
        process: "tlssrv".into(),
        pid: process::id(),
    };
    let Ok(mut log) = syslog::unix(formatter) else {
        return;
    };
    for line in text.lines() {
        let _ = match severity {
            Severity::Err => log.err(line),
            Severity::Warning => log.warning(line),
            _ => log.notice(line),
        };
    }
}

/// Whether standard input and standard error are one socket.
pub fn stderr_is_the_connection() -> bool {
    let is_socket = |stat: &FileStat| {
        SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK
    };
    match (fstat(io::stdin()), fstat(io::stderr())) {
        (Ok(stdin), Ok(stderr)) => {
            is_socket(&stdin) && (stdin.st_dev, stdin.st_ino) == (stderr.st_dev, stderr.st_ino)
        }
        _ => false,
    }
}
