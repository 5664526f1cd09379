//! The loop of an engine: waits for events, and lets connections react to them.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::connection::{Action, Connection};
use super::{Engine, Readiness, Scratch, Shared};
use crate::message::{OutputEnd, ToMonitor, bounded, encode};
use crate::process::Channel;
use crate::tls::tickets::TicketKeyRing;
use crate::types::{ConnectionId, Severity};

/// Events taken from the kernel at a time.
const EVENTS: usize = 256;
/// Token of the channel. The token of a descriptor of a connection is `id << 2 | side`.
const CHANNEL: u64 = u64::MAX;

/// The side of a connection in a token: the client's socket.
pub(super) const CLIENT: usize = 0;
/// The program's socket, or the pipe that a command writes.
pub(super) const PROGRAM: usize = 1;
/// The pipe that a command reads.
pub(super) const PROGRAM_INPUT: usize = 2;

/// The state of an engine that serves.
pub(super) struct EventLoop<'a> {
    pub(super) shared: Shared<'a>,
    pub(super) tickets: &'a TicketKeyRing,
    /// `None`: the monitor is gone, and the present connections are finished.
    pub(super) channel: Option<Channel>,
    /// Events that the channel is registered for.
    channel_interest: EpollFlags,
    pub(super) epoll: Epoll,
    pub(super) connections: HashMap<ConnectionId, Entry>,
    pub(super) timers: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    pub(super) draining: bool,
}

/// A connection, its registrations and its timer.
pub(super) struct Entry {
    pub(super) connection: Connection,
    /// Events that each side is registered for; empty: the side is not in the epoll set.
    pub(super) registered: [EpollFlags; 3],
    /// Time of its earliest timer.
    pub(super) timer: Option<Instant>,
}

impl Entry {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            registered: [EpollFlags::empty(); 3],
            timer: None,
        }
    }
}

impl<'a> EventLoop<'a> {
    /// Begins to serve.
    ///
    /// Errors: those of epoll(7) and of [`Channel::send`].
    pub(super) fn new(mut engine: Engine<'a>) -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, CHANNEL);
        epoll.add(&engine.channel, event)?;
        let ready = encode(&ToMonitor::Ready);
        engine.channel.send(ready, Vec::new())?;
        Ok(Self {
            shared: Shared {
                config: engine.config,
                acceptors: engine.acceptors,
                scratch: Scratch::new(),
                now: Instant::now(),
                traced: Vec::new(),
            },
            tickets: engine.tickets,
            channel: Some(engine.channel),
            channel_interest: EpollFlags::EPOLLIN,
            epoll,
            connections: HashMap::new(),
            timers: BinaryHeap::new(),
            draining: false,
        })
    }

    /// Serves until the engine is drained.
    ///
    /// Errors: those of [`Engine::run`].
    pub(super) fn run(mut self) -> nix::Result<()> {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        while !self.is_done() {
            let timeout = self.timeout();
            let count = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => 0,
                result => result?,
            };
            self.shared.now = Instant::now();
            for event in events.get(..count).unwrap_or_default() {
                match event.data() {
                    CHANNEL => self.receive()?,
                    token => self.dispatch(token, event.events()),
                }
            }
            self.expire();
            self.flush();
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let channel = self.channel.as_ref();
        let sent = channel.is_none_or(|channel| !channel.wants_write());
        self.draining && self.connections.is_empty() && sent
    }

    /// Lets the connection of a token react to events.
    fn dispatch(&mut self, token: u64, events: EpollFlags) {
        // Hang-up and error count as ready: reading or writing tells which it is.
        let broken = events.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        let read = broken || events.contains(EpollFlags::EPOLLIN);
        let write = broken || events.contains(EpollFlags::EPOLLOUT);
        let ready = match (token & 3) as usize {
            CLIENT => Readiness {
                client_read: read,
                client_write: write,
                ..Readiness::default()
            },
            PROGRAM => Readiness {
                program_read: read,
                program_write: write,
                ..Readiness::default()
            },
            _ => Readiness {
                program_write: write,
                ..Readiness::default()
            },
        };
        self.advance(ConnectionId(token >> 2), |connection, shared| {
            connection.advance(ready, shared)
        });
    }

    /// Advances a connection by a function, and carries out the action that it returns.
    pub(super) fn advance(
        &mut self,
        id: ConnectionId,
        step: impl FnOnce(&mut Connection, &mut Shared<'_>) -> Action,
    ) {
        let Some(entry) = self.connections.get_mut(&id) else {
            return; // the connection ended earlier in this iteration of the loop
        };
        let action = step(&mut entry.connection, &mut self.shared);
        for (id, line) in std::mem::take(&mut self.shared.traced) {
            self.send(&ToMonitor::Log {
                severity: Severity::Debug,
                id: Some(id),
                line: bounded(line),
            });
        }
        match action {
            Action::Wait => {}
            Action::ReportProxyHeader { addresses } => {
                self.send(&ToMonitor::ProxyHeader { id, addresses });
            }
            Action::RequestAdmission { host } => self.send(&ToMonitor::HostChosen { id, host }),
            Action::RequestProgram {
                host,
                handshake,
                duration,
            } => self.send(&ToMonitor::Open {
                id,
                host,
                handshake,
                handshake_us: u32::try_from(duration.as_micros()).unwrap_or(u32::MAX),
            }),
            Action::AskHowOutputEnded => {
                self.send(&ToMonitor::OutputEnded { id });
                if self.channel.is_none() {
                    self.output_ended_without_monitor(id);
                }
            }
            Action::KillCommand => self.send(&ToMonitor::Kill { id }),
            Action::Close(summary) => {
                self.connections.remove(&id); // closes the descriptors, which removes them from the epoll set
                self.send(&ToMonitor::Closed { id, summary });
                return;
            }
        }
        self.register(id);
        self.arm(id);
    }

    /// Sends a message to the monitor.
    pub(super) fn send(&mut self, message: &ToMonitor) {
        if let Some(channel) = &mut self.channel
            && channel.send(encode(message), Vec::new()).is_err()
        {
            self.monitor_gone();
        }
    }

    /// Drains the engine: without the monitor no command is started and no log is written, but the present
    /// connections may end by themselves.
    pub(super) fn monitor_gone(&mut self) {
        self.channel = None;
        self.draining = true;
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.output_ended_without_monitor(id);
        }
    }

    /// Goes on with a connection whose command has ended its output, if there is nobody to ask how.
    fn output_ended_without_monitor(&mut self, id: ConnectionId) {
        self.advance(id, |connection, shared| {
            connection.output_ended(OutputEnd::Whole, shared)
        });
    }

    /// Sends queued messages, and registers the channel for writing while messages are queued.
    fn flush(&mut self) {
        let Some(channel) = &mut self.channel else {
            return;
        };
        if channel.wants_write() && channel.flush().is_err() {
            return self.monitor_gone();
        }
        let interest = channel.interest();
        if interest != self.channel_interest {
            let mut event = EpollEvent::new(interest, CHANNEL);
            if self.epoll.modify(channel, &mut event).is_ok() {
                self.channel_interest = interest;
            }
        }
    }
}
