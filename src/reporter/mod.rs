//! Who answers those who ask for metrics: a process of its own, jailed as an engine is, that speaks HTTP to
//! strangers and asks the monitor what to tell them.
#![forbid(unsafe_code)]

mod client;
mod http;
mod request;
mod response;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::{Deserialize, Serialize};

use crate::message::{decode, encode};
use crate::process::{Channel, Received};
use client::{Client, Next};

/// Clients at a time; one more, and the oldest goes that has not even asked yet.
const MOST_CLIENTS: usize = 32;
/// Questions that the monitor has not answered yet, at most, those of clients that are gone among them.
pub const MOST_QUESTIONS: usize = 64;
/// Bytes of an answer in one message, at most.
pub const PART: usize = 8 * 1024;
/// Events taken from the kernel at a time.
const EVENTS: usize = 32;
/// The channel's token; clients have their number.
const CHANNEL: u64 = u64::MAX;

/// A client of the reporter, and its request, in messages.
pub type RequestId = u64;

/// Monitor → reporter.
#[derive(Serialize, Deserialize)]
pub enum ToReporter {
    /// Somebody has connected. Carries the socket.
    Accepted,
    /// A piece of an answer: at most [`PART`] bytes.
    Part {
        /// Whose question it answers.
        id: RequestId,
        /// The text after what has come before.
        text: String,
    },
    /// The answer is complete.
    End {
        /// Whose question it answers.
        id: RequestId,
        /// What it amounts to.
        verdict: Verdict,
    },
}

/// Reporter → monitor.
#[derive(Serialize, Deserialize)]
pub enum FromReporter {
    /// A client has asked for a page.
    Asked {
        /// Which client.
        id: RequestId,
        /// What it wants.
        page: Page,
    },
    /// It has to end, for this reason.
    Failed(String),
}

/// What there is to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Page {
    /// `/metrics`: all numbers, as Prometheus reads them.
    Metrics,
    /// `/healthz`: whether the monitor still does its work.
    Health,
    /// `/readyz`: whether new clients are served.
    Readiness,
}

/// What an answer amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// As wanted: 200.
    Good,
    /// Not now: 503.
    Unavailable,
}

/// Answers until the monitor is gone.
///
/// Errors: those of epoll(7), and a channel that broke or spoke nonsense.
pub fn run(channel: Channel) -> nix::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&channel, EpollEvent::new(EpollFlags::EPOLLIN, CHANNEL))?;
    let mut reporter = Reporter {
        channel,
        channel_interest: EpollFlags::EPOLLIN,
        epoll,
        clients: BTreeMap::new(),
        next_id: 0,
        unanswered: 0,
        now: Instant::now(),
    };
    let mut events = vec![EpollEvent::empty(); EVENTS];
    loop {
        let timeout = reporter.timeout();
        let count = match reporter.epoll.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            result => result?,
        };
        reporter.now = Instant::now();
        for event in events.get(..count).unwrap_or_default() {
            match event.data() {
                CHANNEL => match reporter.messages()? {
                    Monitor::Lives => {}
                    Monitor::Gone => return Ok(()),
                },
                id => reporter.turn(id)?,
            }
        }
        reporter.expire();
        reporter.flush()?;
    }
}

/// Whether there is anybody left to ask.
enum Monitor {
    Lives,
    Gone,
}

struct Reporter {
    channel: Channel,
    channel_interest: EpollFlags,
    epoll: Epoll,
    /// The oldest first.
    clients: BTreeMap<RequestId, Client>,
    next_id: RequestId,
    /// Questions that the monitor has not answered yet.
    unanswered: usize,
    /// The time of this turn of the loop.
    now: Instant,
}

impl Reporter {
    /// Takes messages from the monitor.
    fn messages(&mut self) -> nix::Result<Monitor> {
        loop {
            let (message, descriptors) = match self.channel.receive()? {
                Received::Empty => return Ok(Monitor::Lives),
                Received::Closed => return Ok(Monitor::Gone),
                Received::Message(bytes, descriptors) => (decode::<ToReporter>(bytes), descriptors),
            };
            let mut descriptors = descriptors.into_iter();
            match (message, descriptors.next(), descriptors.next()) {
                (Some(ToReporter::Accepted), Some(socket), None) => self.accept(socket)?,
                // This process has as many descriptors as it may have.
                (Some(ToReporter::Accepted), None, None) => {}
                (Some(ToReporter::Part { id, text }), None, None) => {
                    if let Some(client) = self.clients.get_mut(&id) {
                        client.hear(&text);
                    }
                }
                (Some(ToReporter::End { id, verdict }), None, None) => {
                    self.unanswered = self.unanswered.saturating_sub(1);
                    if let Some(client) = self.clients.get_mut(&id) {
                        client.answer(verdict, self.now);
                        self.turn(id)?;
                    }
                }
                _ => return Err(Errno::EPROTO),
            }
        }
    }

    fn accept(&mut self, socket: OwnedFd) -> nix::Result<()> {
        if self.clients.len() >= MOST_CLIENTS {
            // Who is slow on purpose makes room for who asks at once.
            let silent = self.clients.iter().find(|(_, client)| client.is_silent());
            let oldest = silent.or_else(|| self.clients.iter().next());
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.clients.remove(&id);
            }
        }
        let id = self.next_id;
        self.next_id += 1;
        self.clients.insert(id, Client::new(socket, self.now));
        // The request is often there already.
        self.turn(id)
    }

    /// Does for a client what can be done without waiting.
    fn turn(&mut self, id: RequestId) -> nix::Result<()> {
        let Some(client) = self.clients.get_mut(&id) else {
            return Ok(()); // it went earlier in this turn of the loop
        };
        match client.turn(self.now) {
            Next::Wait => {}
            Next::Ask(_) if self.unanswered >= MOST_QUESTIONS => {
                client.hear("too many questions\n");
                client.answer(Verdict::Unavailable, self.now);
            }
            Next::Ask(page) => {
                self.unanswered += 1;
                let message = encode(&FromReporter::Asked { id, page });
                self.channel.send(message, Vec::new())?;
            }
            Next::Gone => {
                self.clients.remove(&id); // closes its socket, which leaves epoll by that
                return Ok(());
            }
        }
        if client.register(&self.epoll, id).is_err() {
            self.clients.remove(&id);
        }
        Ok(())
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(next) = self.clients.values().map(|client| client.deadline).min() else {
            return EpollTimeout::NONE;
        };
        let wait = next.saturating_duration_since(self.now).as_millis();
        EpollTimeout::from(u16::try_from(wait.saturating_add(1)).unwrap_or(u16::MAX))
    }

    fn expire(&mut self) {
        let now = self.now;
        self.clients.retain(|_, client| client.deadline > now);
    }

    /// Sends on what the monitor had no room for.
    fn flush(&mut self) -> nix::Result<()> {
        if self.channel.wants_write() {
            self.channel.flush()?;
        }
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, self.channel.wants_write());
        if flags != self.channel_interest {
            let mut event = EpollEvent::new(flags, CHANNEL);
            self.epoll.modify(&self.channel, &mut event)?;
            self.channel_interest = flags;
        }
        Ok(())
    }
}
