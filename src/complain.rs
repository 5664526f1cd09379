//! Telling the operator what is wrong before there is a log.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process;

use nix::sys::stat::{FileStat, SFlag, fstat};
use syslog::{Facility, Formatter3164};

use crate::types::Severity;

/// Writes text to descriptor 2; line by line to the system's log where that is the connection
/// itself, as it is under inetd: a client must never read what is meant for the operator.
pub fn complain(severity: Severity, text: &str) {
    if !stderr_is_the_connection() {
        // Nobody is left to tell when this fails.
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

/// Whether descriptors 0 and 2 are one socket.
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
