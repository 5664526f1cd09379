//! The reporter: a process that serves metrics, health and readiness over HTTP.
//!
//! It is as unprivileged as an engine. It parses the requests of clients, and asks the monitor for the content
//! of the responses.
#![forbid(unsafe_code)]

mod client;
mod http;
mod message;
mod request;
mod response;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::message::{decode, encode};
use crate::process::{Channel, Received};
use client::{Action, Client};
pub use message::{Endpoint, FromReporter, MAX_PART, MAX_REQUESTS, Outcome, RequestId, ToReporter};

/// Largest number of clients. One more replaces the oldest that has not sent its request.
const MAX_CLIENTS: usize = 32;
/// Events taken from the kernel at a time.
const EVENTS: usize = 32;
/// Token of the channel. The token of a client is its request id.
const CHANNEL: u64 = u64::MAX;

/// Serves clients until the monitor is gone.
///
/// Errors: those of epoll(7), and a channel that is broken or carries an invalid message.
pub fn run(channel: Channel) -> nix::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&channel, EpollEvent::new(EpollFlags::EPOLLIN, CHANNEL))?;
    let mut reporter = Reporter {
        channel,
        channel_interest: EpollFlags::EPOLLIN,
        epoll,
        clients: BTreeMap::new(),
        next_id: RequestId(0),
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
                CHANNEL => match reporter.receive()? {
                    ChannelState::Open => {}
                    ChannelState::Closed => return Ok(()),
                },
                id => reporter.advance(RequestId(id))?,
            }
        }
        reporter.expire();
        reporter.flush()?;
    }
}

/// Whether the monitor is there.
enum ChannelState {
    Open,
    Closed,
}

struct Reporter {
    channel: Channel,
    channel_interest: EpollFlags,
    epoll: Epoll,
    /// The clients by the ids of their requests, the oldest first.
    clients: BTreeMap<RequestId, Client>,
    next_id: RequestId,
    /// Number of requests that the monitor has not answered.
    unanswered: usize,
    /// Time at which this iteration of the loop began.
    now: Instant,
}

impl Reporter {
    /// Receives messages from the monitor.
    fn receive(&mut self) -> nix::Result<ChannelState> {
        loop {
            let (message, descriptors) = match self.channel.receive()? {
                Received::Empty => return Ok(ChannelState::Open),
                Received::Closed => return Ok(ChannelState::Closed),
                Received::Message(bytes, descriptors) => (decode::<ToReporter>(bytes), descriptors),
            };
            let mut descriptors = descriptors.into_iter();
            match (message, descriptors.next(), descriptors.next()) {
                (Some(ToReporter::Accepted), Some(socket), None) => self.accept(socket)?,
                // The descriptor is missing: this process has as many as it may have.
                (Some(ToReporter::Accepted), None, None) => {}
                (Some(ToReporter::Part { id, text }), None, None) => {
                    if let Some(client) = self.clients.get_mut(&id) {
                        client.append_content(&text);
                    }
                }
                (Some(ToReporter::Complete { id, outcome }), None, None) => {
                    self.unanswered = self.unanswered.saturating_sub(1);
                    if let Some(client) = self.clients.get_mut(&id) {
                        client.respond(outcome, self.now);
                        self.advance(id)?;
                    }
                }
                _ => return Err(Errno::EPROTO),
            }
        }
    }

    /// Begins to serve a client.
    fn accept(&mut self, socket: OwnedFd) -> nix::Result<()> {
        if self.clients.len() >= MAX_CLIENTS {
            // Clients that are slow on purpose make room for clients that send their request at once.
            let silent = self.clients.iter().find(|(_, client)| client.is_silent());
            let oldest = silent.or_else(|| self.clients.iter().next());
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.clients.remove(&id);
            }
        }
        let id = self.next_id;
        self.next_id.0 += 1;
        self.clients.insert(id, Client::new(socket, self.now));
        // The request is often there already.
        self.advance(id)
    }

    /// Does for a client what can be done without waiting.
    fn advance(&mut self, id: RequestId) -> nix::Result<()> {
        let Some(client) = self.clients.get_mut(&id) else {
            return Ok(()); // the client was closed earlier in this iteration of the loop
        };
        match client.advance(self.now) {
            Action::Wait => {}
            Action::Request(_) if self.unanswered >= MAX_REQUESTS => {
                client.append_content("too many questions\n");
                client.respond(Outcome::Unavailable, self.now);
            }
            Action::Request(endpoint) => {
                self.unanswered += 1;
                let message = encode(&FromReporter::Request { id, endpoint });
                self.channel.send(message, Vec::new())?;
            }
            Action::Close => {
                self.clients.remove(&id); // closes the socket, which removes it from the epoll set
                return Ok(());
            }
        }
        if client.register(&self.epoll, id).is_err() {
            self.clients.remove(&id);
        }
        Ok(())
    }

    /// Time until the next deadline.
    fn timeout(&self) -> EpollTimeout {
        let Some(next) = self.clients.values().map(|client| client.deadline).min() else {
            return EpollTimeout::NONE;
        };
        let wait = next.saturating_duration_since(self.now).as_millis();
        EpollTimeout::from(u16::try_from(wait.saturating_add(1)).unwrap_or(u16::MAX))
    }

    /// Closes the clients whose deadline has passed.
    fn expire(&mut self) {
        let now = self.now;
        self.clients.retain(|_, client| client.deadline > now);
    }

    /// Sends queued messages, and registers the channel for writing while messages are queued.
    fn flush(&mut self) -> nix::Result<()> {
        if self.channel.wants_write() {
            self.channel.flush()?;
        }
        let interest = self.channel.interest();
        if interest != self.channel_interest {
            let mut event = EpollEvent::new(interest, CHANNEL);
            self.epoll.modify(&self.channel, &mut event)?;
            self.channel_interest = interest;
        }
        Ok(())
    }
}
