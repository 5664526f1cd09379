//! Standard error of a command, line by line into the log.
#![forbid(unsafe_code)]

use std::io::{ErrorKind, PipeReader, Read};

use crate::log::{Allowance, Logger};
use crate::types::Severity;

/// Longest line, in bytes; what follows is another line.
const MAX_LINE: usize = 1024;
/// Lines per second that all commands together may write.
const LINES_PER_SECOND: u32 = 1000;
/// Bytes read before other connections get their turn.
const CHUNK: usize = 4096;
/// Chunks read at the end: as much as a pipe holds, since a grandchild may go on writing.
const LAST_CHUNKS: usize = 16;

/// The reading end of a command's standard error.
pub(super) struct StderrLog {
    pipe: PipeReader,
    partial: Vec<u8>,
}

/// Result of [`StderrLog::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Something was read.
    Read,
    /// Nothing is there for now.
    Empty,
    /// End-of-file.
    End,
}

impl StderrLog {
    /// Logs what comes through this pipe, which is non-blocking.
    pub(super) fn new(pipe: PipeReader) -> Self {
        Self {
            pipe,
            partial: Vec::new(),
        }
    }

    /// Logs the lines that have come, as lines of the connection of this name.
    pub(super) fn read(&mut self, name: &str, logger: &mut Logger) -> Progress {
        let mut chunk = [0; CHUNK];
        let length = match self.pipe.read(&mut chunk) {
            Ok(0) => return Progress::End,
            Ok(length) => length,
            Err(e) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&e.kind()) => {
                return Progress::Empty;
            }
            Err(_) => return Progress::End,
        };
        for &byte in chunk.get(..length).unwrap_or_default() {
            match byte {
                b'\n' => self.line(name, logger),
                byte => self.partial.push(byte),
            }
            if self.partial.len() >= MAX_LINE {
                self.line(name, logger);
            }
        }
        Progress::Read
    }

    /// Logs what is left, and closes the pipe.
    pub(super) fn finish(mut self, name: &str, logger: &mut Logger) {
        for _ in 0..LAST_CHUNKS {
            if self.read(name, logger) != Progress::Read {
                break;
            }
        }
        if !self.partial.is_empty() {
            self.line(name, logger);
        }
    }

    fn line(&mut self, name: &str, logger: &mut Logger) {
        let line = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial.clear();
        let fields = vec![("id", name.into()), ("stderr", line.into())];
        let allowance = Allowance::PerSecond(LINES_PER_SECOND, "stderr");
        logger.fields(Severity::Info, &fields, allowance);
    }
}
