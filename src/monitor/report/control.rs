//! The control sockets, for `tlssrv --reload` and `--status`.
//!
//! For each question the server listens on a Unix-domain socket, whose name comes from the path of its table
//! (`place.rs`). To connect is to ask. The answer is a text, and then one byte that says whether it has been done.
//! Nothing is read from the client.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::epoll::{Epoll, EpollFlags};

use super::metrics::ReloadResult;
use super::place::{Sockets, connect, is_of};
use super::question::Question;
use crate::monitor::token::Token;
use crate::types::cause;

/// Clients that are accepted in one turn of the loop.
const BATCH: usize = 4;
/// The last byte of an answer.
const DONE: u8 = 0;
const FAILED: u8 = 1;
/// Maximum number of clients that have not taken their answers yet. With one more, the oldest gets no more
/// of its answer.
const MAX_SLOW: usize = 8;

/// The control sockets of a server, and clients that take long answers slowly.
#[derive(Default)]
pub(in crate::monitor) struct Control {
    sockets: Sockets,
    /// Whether a client may wait to be accepted.
    waiting: bool,
    /// The oldest first.
    slow: BTreeMap<u64, SlowAnswer>,
    next_slow: u64,
}

/// A client of a control socket.
pub(in crate::monitor) struct AdminClient(UnixStream);

/// Result of [`Control::accept`].
enum Accepted {
    /// A client, and what it asks.
    Client(Question, AdminClient),
    /// A client that may not ask. It is gone already.
    Stranger,
    /// No client waits.
    Nobody,
}

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
    /// Listens for questions about a table. Says why others can take its sockets, if that could be otherwise.
    ///
    /// Errors: `AddrInUse` when another process has them.
    pub(in crate::monitor) fn listen(
        &mut self,
        table: &Path,
        epoll: &Epoll,
    ) -> io::Result<Option<String>> {
        let (sockets, why) = Sockets::bind(table)?;
        for (_, socket) in sockets.iter() {
            // A client that cannot be accepted yet is not to keep the loop busy.
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            epoll.add(socket, Token::Control.event(flags))?;
        }
        self.sockets = sockets;
        Ok(why)
    }

    /// Notes that a client has come.
    pub(in crate::monitor) fn wake(&mut self) {
        self.waiting = true;
    }

    /// Whether a client may wait to be accepted.
    pub(in crate::monitor) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Accepts a few clients, and says what each one asks. The others wait for the next turn of the loop, so that
    /// clients that connect again and again do not stop the service of others.
    ///
    /// Errors: why descriptors or memory for a further one are missing.
    pub(in crate::monitor) fn accept_some(
        &mut self,
    ) -> (Vec<(Question, AdminClient)>, Result<(), String>) {
        let mut clients = Vec::new();
        for _ in 0..BATCH {
            match self.accept() {
                Ok(Accepted::Client(question, client)) => clients.push((question, client)),
                Ok(Accepted::Stranger) => {}
                Ok(Accepted::Nobody) => break,
                Err(why) => return (clients, Err(why)),
            }
        }
        (clients, Ok(()))
    }

    /// Accepts the next client of any socket, if there is one. The sockets take turns.
    ///
    /// Errors: why descriptors or memory for it are missing.
    fn accept(&mut self) -> Result<Accepted, String> {
        if !self.waiting {
            return Ok(Accepted::Nobody);
        }
        self.sockets.rotate();
        for (question, socket) in self.sockets.iter() {
            match accept(socket) {
                Ok(Some(client)) if is_of(&client.0, &[]) => {
                    return Ok(Accepted::Client(*question, client));
                }
                Ok(Some(_)) => return Ok(Accepted::Stranger),
                Ok(None) => {}
                Err(e) => {
                    return Err(match question {
                        Question::Reload => {
                            format!("unable to accept who asks for a reload: {}", cause(&e))
                        }
                        Question::Status => {
                            format!("unable to accept who asks for the status: {}", cause(&e))
                        }
                    });
                }
            }
        }
        self.waiting = false;
        Ok(Accepted::Nobody)
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

/// The next client; `None`: there is none.
fn accept(socket: &UnixListener) -> io::Result<Option<AdminClient>> {
    match socket.accept() {
        Ok((stream, _)) => {
            // A client that does not read its answer must not hold up the server.
            stream.set_nonblocking(true)?;
            Ok(Some(AdminClient(stream)))
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
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
/// Errors: `ConnectionRefused` when there is none, `PermissionDenied` or `UnexpectedEof` when it does not take this
/// user.
pub fn ask(table: &Path, question: Question) -> io::Result<(String, bool)> {
    let mut answer = Vec::new();
    connect(table, question)?.read_to_end(&mut answer)?;
    match answer.split_last() {
        Some((&done, text)) if [DONE, FAILED].contains(&done) => {
            // The server may be of a user who is to be kept from the terminal of root.
            let odd = |c: char| c.is_control() && !['\n', '\t'].contains(&c);
            let text = String::from_utf8_lossy(text).replace(odd, "\u{fffd}");
            Ok((text, done == DONE))
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
