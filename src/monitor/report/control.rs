//! The control sockets, for `tlssrv --reload` and `--status`.
//!
//! For each question the server listens on a Unix-domain socket whose abstract name comes from the path of
//! its table, so that there is nothing to find, and nothing to clean up. To connect is to ask. The answer is
//! a text, and then one byte that says whether it has been done. Nothing is read from the client.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use nix::sys::epoll::{Epoll, EpollFlags};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use super::metrics::ReloadResult;
use crate::monitor::token::Token;

/// The last byte of an answer.
const DONE: u8 = 0;
const FAILED: u8 = 1;
/// Maximum number of clients that have not taken their answers yet. With one more, the oldest gets no more
/// of its answer.
const MAX_SLOW: usize = 8;

/// What a server can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// To reload its table.
    Reload,
    /// For its status.
    Status,
}

/// The control sockets of a server, and clients that take long answers slowly.
#[derive(Default)]
pub(in crate::monitor) struct Control {
    sockets: Vec<(Question, UnixListener)>,
    /// The oldest first.
    slow: BTreeMap<u64, SlowAnswer>,
    next_slow: u64,
}

/// A client of a control socket.
pub(in crate::monitor) struct AdminClient(UnixStream);

/// An answer that is not sent completely.
struct SlowAnswer {
    client: AdminClient,
    answer: Vec<u8>,
    sent: usize,
}

/// How much of an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// All that ever will be.
    Completely,
    Partly,
}

impl Control {
    /// Listens for questions about a table.
    ///
    /// Errors: `AddrInUse` when another server has the same table.
    pub(in crate::monitor) fn listen(&mut self, table: &Path, epoll: &Epoll) -> io::Result<()> {
        let mut sockets = Vec::new();
        for question in [Question::Reload, Question::Status] {
            let socket = UnixListener::bind_addr(&address(table, question)?)?;
            socket.set_nonblocking(true)?;
            // A client that cannot be accepted yet is not to keep the loop busy.
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            epoll.add(&socket, Token::Control.event(flags))?;
            sockets.push((question, socket));
        }
        self.sockets = sockets;
        Ok(())
    }

    /// The next client of any socket; `None`: there is none.
    ///
    /// Errors: why descriptors or memory for it are missing.
    pub(in crate::monitor) fn accept(&self) -> Option<Result<(Question, AdminClient), String>> {
        let each = self.sockets.iter();
        each.filter_map(|(question, socket)| {
            let client = accept(socket).transpose()?;
            Some(match client {
                Ok(client) => Ok((*question, client)),
                Err(e) => Err(match question {
                    Question::Reload => format!("unable to accept who asks for a reload: {e}"),
                    Question::Status => format!("unable to accept who asks for the status: {e}"),
                }),
            })
        })
        .next()
    }

    /// Sends a complete answer to a client, as fast as the client takes it.
    pub(in crate::monitor) fn answer(&mut self, client: AdminClient, text: &str, epoll: &Epoll) {
        let mut slow = SlowAnswer {
            client,
            answer: [text.as_bytes(), &[DONE]].concat(),
            sent: 0,
        };
        if slow.send() == Sent::Completely {
            return;
        }
        let number = self.next_slow;
        self.next_slow += 1;
        let event = Token::AdminClient(number).writable();
        if epoll.add(&slow.client.0, event).is_ok() {
            self.slow.insert(number, slow);
        }
        while self.slow.len() > MAX_SLOW {
            self.slow.pop_first();
        }
    }

    /// Sends more of an answer.
    pub(in crate::monitor) fn send_more(&mut self, number: u64) {
        if self.slow.get_mut(&number).map(SlowAnswer::send) == Some(Sent::Completely) {
            self.slow.remove(&number);
        }
    }
}

/// The next client that may ask: root, or the user that this server runs as. `None`: there is none.
fn accept(socket: &UnixListener) -> io::Result<Option<AdminClient>> {
    loop {
        let stream = match socket.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) => return Err(e),
        };
        // A client that does not read its answer must not hold up the server.
        if is_trusted(&stream) && stream.set_nonblocking(true).is_ok() {
            return Ok(Some(AdminClient(stream)));
        }
    }
}

impl SlowAnswer {
    /// Sends as much as the client takes.
    fn send(&mut self) -> Sent {
        while let Some(rest @ [_, ..]) = self.answer.get(self.sent..) {
            match self.client.0.write(rest) {
                Ok(sent) => self.sent += sent,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Sent::Partly,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break, // the client has gone
            }
        }
        Sent::Completely
    }
}

impl AdminClient {
    /// Sends a line of an answer.
    pub(in crate::monitor) fn send(&mut self, line: &str) {
        let _ = self.0.write_all(format!("{line}\n").as_bytes());
    }

    /// Sends the last line of an answer, and whether the server has done what it was asked for.
    pub(in crate::monitor) fn finish(mut self, line: &str, result: ReloadResult) {
        self.send(&format!("tlssrv: {line}"));
        let last = match result {
            ReloadResult::Ok => DONE,
            ReloadResult::Failed => FAILED,
        };
        let _ = self.0.write_all(&[last]);
    }
}

/// Asks the server that has this table; its answer, and whether it has done what it was asked for.
///
/// Errors: `ConnectionRefused` when there is none, `PermissionDenied` when another user runs it.
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
    // The table itself may be a link, which is set to another file at times.
    let directory = table
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new(".")).canonicalize()?;
    let table = directory.join(table.file_name().unwrap_or_default());
    let hash = digest(&SHA256, table.as_os_str().as_bytes());
    let hash = base16ct::lower::encode_string(hash.as_ref());
    let name = match question {
        Question::Reload => format!("tlssrv/{hash}"),
        Question::Status => format!("tlssrv/{hash}/status"),
    };
    SocketAddr::from_abstract_name(name)
}
