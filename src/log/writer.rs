//! Whoever writes the lines: the monitor itself, where the destination never makes it wait, else a process of its own.
//!
//! That process is tlssrv itself under another name. It waits for a pipe that nobody reads, a terminal that is
//! stopped or a disk that hangs, so that the monitor does not. It ends with the monitor's end of its socket, when it has
//! written what was in there.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::socket::{MsgFlags, recv, send};
use serde::{Deserialize, Serialize};

use super::Fields;
use super::line::{Form, Frame};
use super::sink::Sink;
use super::syslog::Syslog;
use crate::config::{LogFormat, LogTo};
use crate::exit::Exit;
use crate::types::{Severity, cause};

/// Argument 0 of the process that writes the log.
pub(super) const ARGUMENT_0: &str = "tlssrv-log";
/// Time until lines that are lost are told again, if that could not be written.
pub(super) const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Longest line, in bytes: a message has to fit into the buffer of a socket.
pub(super) const LONGEST: usize = 64 * 1024;
/// Longest message, in bytes: orders, one after the other.
pub(super) const LONGEST_MESSAGE: usize = LONGEST + 64;

/// What a writer is to do.
#[derive(Serialize, Deserialize)]
pub(super) enum Order {
    /// To write a line.
    Line(Severity, Vec<u8>),
    /// To count so many lines that were dropped before they came here.
    Dropped(u64),
    /// To open the log again.
    Reopen,
}

/// The destination does not take the line for now.
pub(super) struct Busy;

/// Writes lines, and tells of those that are lost.
pub(super) struct Writer {
    pub(super) sink: Sink,
    form: Form,
    /// Number of lines that were lost since the last time that it was told.
    lost: u64,
}

impl Writer {
    /// A writer that has lost nothing.
    pub(super) fn new(sink: Sink, form: Form) -> Self {
        let lost = 0;
        Self { sink, form, lost }
    }

    /// Carries out an order.
    ///
    /// Errors: not now; the order is as it was.
    pub(super) fn take(&mut self, order: &Order) -> Result<(), Busy> {
        match order {
            Order::Line(severity, line) => {
                self.tell_lost()?;
                match self.sink.write(*severity, line) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(Busy),
                    Err(_) => self.lost += 1,
                    Ok(()) => {}
                }
            }
            Order::Dropped(count) => {
                self.lost += count;
                let _ = self.tell_lost();
            }
            Order::Reopen => {
                if let Err(e) = self.sink.reopen() {
                    let message = format!("unable to reopen the log: {}", cause(&e));
                    if self.say(&message).is_err() {
                        self.lost += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether lost lines have to be told.
    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Tells of lost lines, if there are any and the log can be written again.
    ///
    /// Errors: not now.
    pub(super) fn tell_lost(&mut self) -> Result<(), Busy> {
        if self.lost > 0 {
            let lost = self.lost;
            let message = format!("lines lost because the log could not be written: {lost}");
            match self.say(&message) {
                Ok(()) => self.lost = 0,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(Busy),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn say(&mut self, message: &str) -> io::Result<()> {
        let line = (self.form).line(Severity::Err, Some(message), &Fields::new());
        self.sink.write(Severity::Err, &line)
    }
}

/// The arguments for a process that writes to a destination.
pub(super) fn arguments(to: &LogTo, format: LogFormat) -> Vec<OsString> {
    let format = match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let mut arguments = vec![OsString::from(format)];
    match to {
        LogTo::Stderr => {}
        LogTo::File(path) => arguments.extend(["file".into(), path.into()]),
        LogTo::Syslog(tag) => {
            let pid = std::process::id().to_string();
            arguments.extend(["syslog".into(), tag.into(), pid.into()]);
        }
    }
    arguments
}

/// Whether a process with this argument 0 writes the log.
pub fn is_writer(argument_0: Option<&OsString>) -> bool {
    argument_0.map(OsString::as_os_str) == Some(OsStr::new(ARGUMENT_0))
}

/// Writes what comes over standard input, until the other side closes it.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Exit {
    // The end of the monitor ends this process, and nothing before it.
    let _ = SigSet::all().thread_block();
    let _ = nix::sys::prctl::set_name(c"tlssrv-log");
    let _ = nix::sys::prctl::set_dumpable(false);
    let Some((to, form, pid)) = from_arguments(arguments) else {
        return Exit::Usage;
    };
    let opened = match to {
        LogTo::Stderr => Ok(Sink::stderr()),
        LogTo::File(path) => Sink::file(path),
        LogTo::Syslog(tag) => Syslog::connect(tag, pid).map(Sink::Syslog),
    };
    let errno = opened
        .as_ref()
        .map_or_else(|e| e.raw_os_error().unwrap_or(libc::EIO), |_| 0);
    let _ = send(
        libc::STDIN_FILENO,
        &errno.to_le_bytes(),
        MsgFlags::MSG_NOSIGNAL,
    );
    let Ok(sink) = opened else {
        return Exit::System;
    };
    let mut writer = Writer::new(sink, form);
    let stdin = io::stdin();
    let mut buffer = vec![0; LONGEST_MESSAGE];
    loop {
        if writer.has_lost() {
            let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            let wait = u16::try_from(TELL_AGAIN.as_millis()).unwrap_or(u16::MAX);
            if poll(&mut ready, PollTimeout::from(wait)) == Ok(0) {
                let _ = writer.tell_lost();
                continue;
            }
        }
        let mut orders = match recv(libc::STDIN_FILENO, &mut buffer, MsgFlags::empty()) {
            Ok(0) => return Exit::Success,
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(Errno::EINTR) => continue,
            Err(_) => return Exit::System,
        };
        while let Ok((order, rest)) = postcard::take_from_bytes(orders) {
            let _ = writer.take(&order);
            orders = rest;
        }
    }
}

/// `text` or `json`; then `file` and its path; or `syslog`, the tag and the process id; or nothing, for standard error.
fn from_arguments(mut arguments: impl Iterator<Item = OsString>) -> Option<(LogTo, Form, u32)> {
    let format = match arguments.next()?.to_str()? {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return None,
    };
    let mut pid = 0;
    let (to, frame) = match arguments.next() {
        None => (LogTo::Stderr, Frame::Stamped),
        Some(kind) if kind == "file" => (LogTo::File(arguments.next()?.into()), Frame::Stamped),
        Some(_) => {
            let tag = arguments.next()?.to_string_lossy().into_owned();
            pid = arguments.next()?.to_str()?.parse().ok()?;
            (LogTo::Syslog(tag), Frame::Bare)
        }
    };
    Some((to, Form { format, frame }, pid))
}
