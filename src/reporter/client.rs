//! One client of the reporter: a request, a response, the end. Each step has a deadline.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::http::{Method, Status};
use super::message::{Endpoint, Outcome, RequestId};
use super::request::{self, Parsed};
use super::response::response;
use crate::process::socket::{self, Fin, Read};
use crate::types::Buffer;

/// Time limit of each step: the client sends its request, the monitor answers, the client takes the response.
const STEP: Duration = Duration::from_secs(10);
/// Time limit for the client's FIN, so that no RST overtakes the response.
const DRAIN: Duration = Duration::from_secs(2);
/// Bytes read at a time.
const CHUNK: usize = 4096;

/// A client of the reporter.
pub(super) struct Client {
    socket: OwnedFd,
    /// End of the time for the current step.
    pub(super) deadline: Instant,
    state: State,
    /// Events that the socket is registered for; empty: the socket is not in the epoll set.
    registered: EpollFlags,
}

enum State {
    /// The request is not complete; its bytes so far.
    Reading(Vec<u8>),
    /// The monitor has been asked.
    Waiting {
        method: Method,
        endpoint: Endpoint,
        /// Content of the response so far.
        content: String,
    },
    /// The unsent rest of the response.
    Writing(Buffer),
    /// Response and FIN are sent; more input is dropped.
    Draining,
}

/// What the reporter has to do for a client.
pub(super) enum Action {
    /// Wait for the next event.
    Wait,
    /// Ask the monitor.
    Request(Endpoint),
    /// Close the client.
    Close,
}

impl Client {
    /// A client that has just connected; the socket is non-blocking.
    pub(super) fn new(socket: OwnedFd, now: Instant) -> Self {
        Self {
            socket,
            deadline: now + STEP,
            state: State::Reading(Vec::new()),
            registered: EpollFlags::empty(),
        }
    }

    /// Whether the request is not complete.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.state, State::Reading(_))
    }

    /// Appends a part of the content of the response.
    pub(super) fn append_content(&mut self, text: &str) {
        if let State::Waiting { content, .. } = &mut self.state {
            content.push_str(text);
        }
    }

    /// Begins to send the response, whose content is complete.
    pub(super) fn respond(&mut self, outcome: Outcome, now: Instant) {
        if let State::Waiting {
            method,
            endpoint,
            content,
        } = &mut self.state
        {
            let status = match outcome {
                Outcome::Ok => Status::Ok,
                Outcome::Unavailable => Status::Unavailable,
            };
            let response = response(status, *endpoint, *method, content);
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
    pub(super) fn advance(&mut self, now: Instant) -> Action {
        if let State::Reading(head) = &mut self.state {
            let mut chunk = [0; CHUNK];
            match socket::receive(&self.socket, &mut chunk) {
                Read::WouldBlock => return Action::Wait,
                Read::Eof | Read::Broken => return Action::Close,
                Read::Bytes(length) => {
                    head.extend_from_slice(chunk.get(..length).unwrap_or_default());
                }
            }
            match request::parse(head) {
                Ok(Parsed::Partial) => return Action::Wait,
                Ok(Parsed::Complete(request)) => {
                    self.state = State::Waiting {
                        method: request.method,
                        endpoint: request.endpoint,
                        content: String::new(),
                    };
                    self.deadline = now + STEP;
                    return Action::Request(request.endpoint);
                }
                Err(status) => {
                    let text = status.text();
                    let response = response(status, Endpoint::Health, Method::Get, text);
                    self.write(&response, now);
                }
            }
        }
        if let State::Writing(buffer) = &mut self.state {
            if socket::flush(&self.socket, buffer, Fin::NotYet).is_err() {
                return Action::Close;
            }
            if !buffer.is_empty() {
                return Action::Wait;
            }
            if socket::shutdown_write(&self.socket).is_err() {
                return Action::Close;
            }
            self.state = State::Draining;
            self.deadline = now + DRAIN;
        }
        if let State::Draining = self.state {
            let mut chunk = [0; CHUNK];
            return match socket::receive(&self.socket, &mut chunk) {
                Read::Bytes(_) | Read::WouldBlock => Action::Wait,
                Read::Eof | Read::Broken => Action::Close,
            };
        }
        Action::Wait
    }

    /// Registers the socket for the events that the state waits for. A socket without any is removed from the
    /// epoll set, because a hang-up would be reported again and again.
    pub(super) fn register(&mut self, epoll: &Epoll, id: RequestId) -> nix::Result<()> {
        let wanted = match self.state {
            State::Reading(_) | State::Draining => EpollFlags::EPOLLIN,
            State::Waiting { .. } => EpollFlags::empty(),
            State::Writing(_) => EpollFlags::EPOLLOUT,
        };
        if wanted != self.registered {
            let mut event = EpollEvent::new(wanted, id.0);
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
