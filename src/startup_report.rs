//! The start-up report: messages to the operator before the log is open.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process;

use nix::sys::stat::{FileStat, SFlag, fstat};
use syslog::{Facility, Formatter3164};

use crate::types::Severity;

/// Writes text to standard error. Where standard error is the connection, as under inetd, the text goes to
/// the system's log line by line: a client must never read what is meant for the operator.
pub fn report(severity: Severity, text: &str) {
    if !stderr_is_the_connection() {
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
