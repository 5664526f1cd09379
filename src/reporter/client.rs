//! One client of the reporter: a request, an answer, the end. Each step has its deadline.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::http::{Method, Status};
use super::request::{self, Parsed};
use super::response::response;
use super::{Page, RequestId, Verdict};
use crate::process::socket::{self, Fin, Read};
use crate::types::Buffer;

/// How long a client may take to ask, the monitor to answer, and a client to take the answer: of each so
/// long.
const STEP: Duration = Duration::from_secs(10);
/// How long it may take to notice the end, so that no RST eats the answer.
const DRAIN: Duration = Duration::from_secs(2);
/// Bytes read at a time.
const CHUNK: usize = 4096;

/// Somebody who wants to know something.
pub(super) struct Client {
    socket: OwnedFd,
    /// When it has to have moved on.
    pub(super) deadline: Instant,
    state: State,
    /// What epoll waits for; empty: it does not know the socket.
    registered: EpollFlags,
}

enum State {
    /// The request is not complete; this much has come.
    Reading(Vec<u8>),
    /// The monitor is asked; this much of the answer has come.
    Asking(Method, Page, String),
    /// What is left of the answer.
    Writing(Buffer),
    /// All is sent, FIN too; what still comes is dropped.
    Draining,
}

/// What to do with a client after its turn.
pub(super) enum Next {
    Wait,
    /// Ask the monitor for this.
    Ask(Page),
    /// Close it.
    Gone,
}

impl Client {
    /// Somebody who has just connected; the socket is non-blocking.
    pub(super) fn new(socket: OwnedFd, now: Instant) -> Self {
        Self {
            socket,
            deadline: now + STEP,
            state: State::Reading(Vec::new()),
            registered: EpollFlags::empty(),
        }
    }

    /// Whether its request has not come yet.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.state, State::Reading(_))
    }

    /// A piece of what it has asked for.
    pub(super) fn hear(&mut self, text: &str) {
        if let State::Asking(_, _, answer) = &mut self.state {
            answer.push_str(text);
        }
    }

    /// That was all of it.
    pub(super) fn answer(&mut self, verdict: Verdict, now: Instant) {
        if let State::Asking(method, page, answer) = &mut self.state {
            let status = match verdict {
                Verdict::Good => Status::Ok,
                Verdict::Unavailable => Status::Unavailable,
            };
            let response = response(status, *page, *method, answer);
            self.write(&response, now);
        }
    }

    fn write(&mut self, response: &[u8], now: Instant) {
        let mut buffer = Buffer::default();
        buffer.append(response);
        self.state = State::Writing(buffer);
        self.deadline = now + STEP;
    }

    /// Does what can be done without waiting.
    pub(super) fn turn(&mut self, now: Instant) -> Next {
        if let State::Reading(head) = &mut self.state {
            let mut chunk = [0; CHUNK];
            match socket::receive(&self.socket, &mut chunk) {
                Read::WouldBlock => return Next::Wait,
                Read::Eof | Read::Broken => return Next::Gone,
                Read::Bytes(length) => {
                    head.extend_from_slice(chunk.get(..length).unwrap_or_default());
                }
            }
            match request::parse(head) {
                Ok(Parsed::Partial) => return Next::Wait,
                Ok(Parsed::Whole(request)) => {
                    self.state = State::Asking(request.method, request.page, String::new());
                    self.deadline = now + STEP;
                    return Next::Ask(request.page);
                }
                Err(refusal) => {
                    let text = refusal.text();
                    let response = response(refusal, Page::Health, Method::Get, text);
                    self.write(&response, now);
                }
            }
        }
        if let State::Writing(buffer) = &mut self.state {
            if socket::flush(&self.socket, buffer, Fin::NotYet).is_err() {
                return Next::Gone;
            }
            if !buffer.is_empty() {
                return Next::Wait;
            }
            if socket::shutdown_write(&self.socket).is_err() {
                return Next::Gone;
            }
            self.state = State::Draining;
            self.deadline = now + DRAIN;
        }
        if let State::Draining = self.state {
            let mut chunk = [0; CHUNK];
            return match socket::receive(&self.socket, &mut chunk) {
                Read::Bytes(_) | Read::WouldBlock => Next::Wait,
                Read::Eof | Read::Broken => Next::Gone,
            };
        }
        Next::Wait
    }

    /// Makes epoll wait for what the state is waiting for. A socket that nothing is wanted from is taken
    /// out: its end would keep us awake.
    pub(super) fn register(&mut self, epoll: &Epoll, id: RequestId) -> nix::Result<()> {
        let wanted = match self.state {
            State::Reading(_) | State::Draining => EpollFlags::EPOLLIN,
            State::Asking(..) => EpollFlags::empty(),
            State::Writing(_) => EpollFlags::EPOLLOUT,
        };
        if wanted != self.registered {
            let mut event = EpollEvent::new(wanted, id);
            match (self.registered.is_empty(), wanted.is_empty()) {
                (true, _) => epoll.add(&self.socket, event)?,
                (false, true) => epoll.delete(&self.socket)?,
                (false, false) => epoll.modify(&self.socket, &mut event)?,
            }
            self.registered = wanted;
        }
        Ok(())
    }
}
