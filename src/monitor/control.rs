//! Who asks a server to reload, or how it goes, and waits for the answer: `tlssrv --reload`, `--status`.
//!
//! For each question the server listens on a Unix-domain socket whose abstract name comes from the path of
//! its table, so that there is nothing to find, and nothing to clean up. To connect is to ask; what comes
//! back is a text, and then whether it has been done. Nothing is read from who asks.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use super::Monitor;
use super::inquiry::Wants;

/// The last byte of an answer.
const DONE: u8 = 0;
const FAILED: u8 = 1;

/// What a server can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// To read its table anew.
    Reload,
    /// How it goes.
    Status,
}

/// Where a server is asked.
pub(super) struct Control(Question, UnixListener);

/// Somebody who asks, and waits.
pub(super) struct Asker(UnixStream);

/// Somebody who gets a long answer.
pub(super) struct Slow {
    asker: Asker,
    answer: Vec<u8>,
    sent: usize,
}

/// How much of an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// All that ever will be.
    Wholly,
    Partly,
}

impl Control {
    /// Listens for those who ask this about a table.
    ///
    /// Errors: `AddrInUse` when another server has the same one.
    pub(super) fn listen(table: &Path, question: Question) -> io::Result<Self> {
        let listener = UnixListener::bind_addr(&address(table, question)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self(question, listener))
    }

    /// The next one who asks, and may: root, or who we are.
    ///
    /// Errors: those of accept(2), `WouldBlock` when nobody asks any more.
    pub(super) fn accept(&self) -> io::Result<Asker> {
        loop {
            let (stream, _) = self.1.accept()?;
            // Who does not read what it is told must not hold us up.
            if is_trusted(&stream) && stream.set_nonblocking(true).is_ok() {
                return Ok(Asker(stream));
            }
        }
    }
}

impl Monitor {
    /// Somebody asks.
    pub(super) fn asked(&mut self) {
        let mut place = 0;
        while let Some(control) = self.controls.get(place) {
            match (control.accept(), control.0) {
                (Ok(asker), Question::Reload) => self.reload(Some(asker)),
                (Ok(asker), Question::Status) => self.inquire(Wants::Status(asker)),
                (Err(e), _) if e.kind() == io::ErrorKind::WouldBlock => place += 1,
                (Err(e), question) => {
                    let what = match question {
                        Question::Reload => "a reload",
                        Question::Status => "the status",
                    };
                    self.pause(&format!("unable to accept who asks for {what}: {e}"));
                    break;
                }
            }
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}

impl Slow {
    /// The answer to a question that was answered.
    pub(super) fn new(asker: Asker, text: &str) -> Self {
        Self {
            asker,
            answer: [text.as_bytes(), &[DONE]].concat(),
            sent: 0,
        }
    }

    /// Sends as much as is taken.
    pub(super) fn send(&mut self) -> Sent {
        while let Some(rest @ [_, ..]) = self.answer.get(self.sent..) {
            match self.asker.0.write(rest) {
                Ok(sent) => self.sent += sent,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Sent::Partly,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break, // it has gone
            }
        }
        Sent::Wholly
    }
}

impl AsFd for Slow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.asker.0.as_fd()
    }
}

impl Asker {
    pub(super) fn tell(&mut self, text: &str) {
        let _ = self.0.write_all(format!("{text}\n").as_bytes());
    }

    pub(super) fn finish(mut self, line: &str, done: bool) {
        self.tell(&format!("tlssrv: {line}"));
        let _ = self.0.write_all(&[if done { DONE } else { FAILED }]);
    }
}

/// Asks the server that has this table; what it says, and whether it has done what was asked for.
///
/// Errors: `ConnectionRefused` when there is none, `PermissionDenied` when it is somebody else's.
pub fn ask(table: &Path, question: Question) -> io::Result<(String, bool)> {
    let mut stream = UnixStream::connect_addr(&address(table, question)?)?;
    if !is_trusted(&stream) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    match answer.split_last() {
        Some((&done, text)) if [DONE, FAILED].contains(&done) => {
            Ok((String::from_utf8_lossy(text).into_owned(), done == DONE))
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn is_trusted(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials)
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

fn address(table: &Path, question: Question) -> io::Result<SocketAddr> {
    // The table itself may be a link that is set to another file by and by.
    let directory = table
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new(".")).canonicalize()?;
    let table = directory.join(table.file_name().unwrap_or_default());
    let hash = digest(&SHA256, table.as_os_str().as_bytes());
    let hash: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = match question {
        Question::Reload => format!("tlssrv/{hash}"),
        Question::Status => format!("tlssrv/{hash}/status"),
    };
    SocketAddr::from_abstract_name(name)
}
