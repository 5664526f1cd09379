//! The unprivileged side: one event loop over thousands of connections; TLS and relay, nothing else.
#![forbid(unsafe_code)]

mod acceptor;
mod connection;
mod program;
mod relay;
mod waiting;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::os::fd::OwnedFd;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::config::{Config, Trace};
use crate::message::{
    End, Summary, TRAFFIC_PER_MESSAGE, ToEngine, ToMonitor, bounded, decode, encode,
};
use crate::process::{Channel, Received};
use crate::tls::tickets::TicketKeyRing;
use crate::types::{Buffer, ConnectionId, ListenerId, Severity, Stdio};
pub use acceptor::Acceptor;
use connection::{Connection, Next};
use program::ProgramStream;
use relay::CHUNK;

/// Events taken from the kernel at a time.
const EVENTS: usize = 256;
/// Messages taken from the monitor before connections get their turn.
const MESSAGES: usize = 64;
/// The channel's token; connections have `id << 2 | side`.
const CHANNEL: u64 = u64::MAX;

/// What an engine is made of, before its first connection.
pub struct Engine<'a> {
    /// Hosts, limits, whether to trace.
    pub config: &'a Config,
    /// What answers the clients of each host, in the order of the table.
    pub acceptors: &'a [Acceptor],
    /// Where the monitor's ticket keys go.
    pub tickets: &'a TicketKeyRing,
    /// The way to the monitor.
    pub channel: Channel,
}

impl Engine<'_> {
    /// Serves until the monitor says `Drain` (or is gone) and the last connection has ended.
    ///
    /// Errors: those of epoll(7), and a channel that broke or spoke nonsense.
    pub fn run(mut self) -> nix::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&self.channel, EpollEvent::new(EpollFlags::EPOLLIN, CHANNEL))?;
        self.channel.send(encode(&ToMonitor::Ready), Vec::new())?;
        let mut running = Running {
            shared: Shared {
                config: self.config,
                acceptors: self.acceptors,
                scratch: Scratch::new(),
                now: Instant::now(),
                traced: Vec::new(),
            },
            tickets: self.tickets,
            channel: Some(self.channel),
            channel_takes: false,
            epoll,
            connections: HashMap::new(),
            timers: BinaryHeap::new(),
            draining: false,
        };
        let mut events = vec![EpollEvent::empty(); EVENTS];
        while !running.is_done() {
            let timeout = running.timeout();
            let count = match running.epoll.wait(&mut events, timeout) {
                Err(nix::errno::Errno::EINTR) => 0,
                result => result?,
            };
            running.shared.now = Instant::now();
            for event in events.get(..count).unwrap_or_default() {
                match event.data() {
                    CHANNEL => running.messages()?,
                    token => running.ready(token, event.events()),
                }
            }
            running.expire();
            running.flush();
        }
        Ok(())
    }
}

/// What all connections of an engine use.
struct Shared<'a> {
    config: &'a Config,
    acceptors: &'a [Acceptor],
    scratch: Scratch,
    /// The time of this turn of the loop.
    now: Instant,
    traced: Vec<(ConnectionId, String)>,
}

/// Buffers that one connection at a time uses, and that hold nothing in between.
struct Scratch {
    input: Buffer,
    plaintext: Buffer,
    ciphertext: Buffer,
}

impl Scratch {
    fn new() -> Self {
        Self {
            input: Buffer::with_capacity(4 * CHUNK),
            plaintext: Buffer::with_capacity(4 * CHUNK),
            ciphertext: Buffer::with_capacity(4 * CHUNK),
        }
    }
}

/// What the kernel says about a connection's descriptors.
#[derive(Clone, Copy, Default)]
struct Ready {
    client: bool,
    client_takes: bool,
    command: bool,
    command_takes: bool,
}

/// What a connection waits for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Wanted {
    client: bool,
    client_takes: bool,
    command: bool,
    command_takes: bool,
}

/// A connection, and what epoll knows of it.
struct Entry {
    connection: Connection,
    /// What each side is registered for; empty: not at all.
    registered: [EpollFlags; 3],
    /// When the earliest of its timers goes off.
    timer: Option<Instant>,
}

/// The sides of a connection in a token.
const CLIENT: usize = 0;
const COMMAND: usize = 1;
/// The pipe that a command reads, where it is not the socket that it writes.
const COMMAND_INPUT: usize = 2;

struct Running<'a> {
    shared: Shared<'a>,
    tickets: &'a TicketKeyRing,
    /// `None`: the monitor is gone; what runs is finished.
    channel: Option<Channel>,
    channel_takes: bool,
    epoll: Epoll,
    connections: HashMap<ConnectionId, Entry>,
    timers: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    draining: bool,
}

impl Running<'_> {
    fn is_done(&self) -> bool {
        let sent = self
            .channel
            .as_ref()
            .is_none_or(|channel| !channel.wants_write());
        self.draining && self.connections.is_empty() && sent
    }

    /// Takes messages from the monitor.
    fn messages(&mut self) -> nix::Result<()> {
        for _ in 0..MESSAGES {
            let Some(channel) = &mut self.channel else {
                break;
            };
            let (message, descriptors) = match channel.receive()? {
                Received::Empty => break,
                Received::Message(bytes, descriptors) => (decode::<ToEngine>(bytes), descriptors),
                Received::Closed => {
                    // Nobody is left who could start a command or write a log; what runs may end by itself.
                    self.channel = None;
                    self.draining = true;
                    break;
                }
            };
            let mut descriptors = descriptors.into_iter();
            match (message, descriptors.next(), descriptors.next()) {
                (Some(ToEngine::Accepted { id, listener }), Some(socket), None) => {
                    self.accept(id, socket, listener);
                }
                (
                    Some(ToEngine::Opened {
                        id,
                        stdio: Stdio::Socket,
                    }),
                    Some(socket),
                    None,
                ) => {
                    self.opened(id, ProgramStream::Socket(socket));
                }
                (
                    Some(ToEngine::Opened {
                        id,
                        stdio: Stdio::Pipe,
                    }),
                    Some(read),
                    Some(write),
                ) => {
                    self.opened(id, ProgramStream::Pipes(read, Some(write)));
                }
                (Some(ToEngine::Connected { id, transport }), Some(socket), None) => {
                    self.opened(id, ProgramStream::Backend(socket, transport));
                }
                (Some(ToEngine::Admitted { id }), None, None) => {
                    self.turn(id, |connection, shared| connection.admitted(shared));
                }
                // Descriptors are missing: this process has as many as it may have.
                (Some(ToEngine::Accepted { id, .. }), None, None) => {
                    let report = Summary::unknown(End::Refused);
                    self.tell(&ToMonitor::Closed {
                        id,
                        summary: report,
                    });
                }
                (
                    Some(
                        ToEngine::Refused { id }
                        | ToEngine::Opened { id, .. }
                        | ToEngine::Connected { id, .. },
                    ),
                    _,
                    None,
                ) => {
                    self.turn(id, |connection, shared| connection.refused(shared));
                }
                (Some(ToEngine::TicketKeys(keys)), None, None) => {
                    channel.wipe();
                    // Keys that AWS-LC refuses leave the old ones in place.
                    let _ = self.tickets.set(&keys);
                }
                (Some(ToEngine::ReportTraffic), None, None) => self.report(),
                (Some(ToEngine::Drain), None, None) => self.draining = true,
                _ => return Err(nix::errno::Errno::EPROTO),
            }
        }
        Ok(())
    }

    /// Says how much each connection has moved.
    fn report(&mut self) {
        let entries = self.connections.values();
        let moved: Vec<_> = entries.map(|e| e.connection.report_moved()).collect();
        for some in moved.chunks(TRAFFIC_PER_MESSAGE) {
            self.tell(&ToMonitor::Traffic(some.to_vec()));
        }
        self.tell(&ToMonitor::TrafficReported);
    }

    fn accept(&mut self, id: ConnectionId, socket: OwnedFd, listener: ListenerId) {
        let connection = Connection::new(id, socket, listener, &self.shared);
        let entry = Entry {
            connection,
            registered: [EpollFlags::empty(); 3],
            timer: None,
        };
        self.connections.insert(id, entry);
        // The hello is often there already.
        self.turn(id, |connection, shared| {
            connection.turn(Ready::default(), shared)
        });
    }

    fn opened(&mut self, id: ConnectionId, command: ProgramStream) {
        self.turn(id, |connection, shared| connection.opened(command, shared));
    }

    fn ready(&mut self, token: u64, events: EpollFlags) {
        // Hang-up and error count as ready: reading or writing says what it is.
        let broken = events.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        let reads = broken || events.contains(EpollFlags::EPOLLIN);
        let takes = broken || events.contains(EpollFlags::EPOLLOUT);
        let ready = match (token & 3) as usize {
            CLIENT => Ready {
                client: reads,
                client_takes: takes,
                ..Ready::default()
            },
            COMMAND => Ready {
                command: reads,
                command_takes: takes,
                ..Ready::default()
            },
            _ => Ready {
                command_takes: takes,
                ..Ready::default()
            },
        };
        self.turn(ConnectionId(token >> 2), |connection, shared| {
            connection.turn(ready, shared)
        });
    }

    /// Gives a connection its turn, and does what it asks for afterwards.
    fn turn(
        &mut self,
        id: ConnectionId,
        turn: impl FnOnce(&mut Connection, &mut Shared<'_>) -> Next,
    ) {
        let Some(entry) = self.connections.get_mut(&id) else {
            return; // it ended earlier in this turn of the loop
        };
        let next = turn(&mut entry.connection, &mut self.shared);
        for (id, line) in std::mem::take(&mut self.shared.traced) {
            let line = bounded(line);
            self.tell(&ToMonitor::Log {
                severity: Severity::Debug,
                id: Some(id),
                line,
            });
        }
        match next {
            Next::Wait => {}
            Next::Proxied { addresses } => self.tell(&ToMonitor::ProxyHeader { id, addresses }),
            Next::Ask { host } => {
                self.tell(&ToMonitor::HostChosen { id, host });
            }
            Next::Open {
                host,
                facts,
                handshake,
            } => {
                let handshake_us = u32::try_from(handshake.as_micros()).unwrap_or(u32::MAX);
                self.tell(&ToMonitor::Open {
                    id,
                    host,
                    handshake: facts,
                    handshake_us,
                });
            }
            Next::Kill => self.tell(&ToMonitor::Kill { id }),
            Next::Close(report) => {
                self.connections.remove(&id); // closes its descriptors, which leave epoll by that
                self.tell(&ToMonitor::Closed {
                    id,
                    summary: report,
                });
                return;
            }
        }
        self.register(id);
        self.arm(id);
    }

    fn tell(&mut self, message: &ToMonitor) {
        if let Some(channel) = &mut self.channel
            && channel.send(encode(message), Vec::new()).is_err()
        {
            self.channel = None;
            self.draining = true;
        }
    }

    /// Sends on what the monitor had no room for.
    fn flush(&mut self) {
        let Some(channel) = &mut self.channel else {
            return;
        };
        if channel.wants_write() && channel.flush().is_err() {
            self.channel = None;
            self.draining = true;
            return;
        }
        let takes = channel.wants_write();
        if takes != self.channel_takes {
            let flags = if takes {
                EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT
            } else {
                EpollFlags::EPOLLIN
            };
            let modified = self
                .epoll
                .modify(channel, &mut EpollEvent::new(flags, CHANNEL));
            if modified.is_ok() {
                self.channel_takes = takes;
            }
        }
    }
}

impl Shared<'_> {
    /// Notes a step of a handshake for `-D`.
    fn trace(&mut self, id: ConnectionId, line: impl FnOnce() -> String) {
        if self.config.trace == Trace::On {
            let line = match &self.config.remote_name {
                Some(name) => format!("tls reports {name}: {}", line()),
                None => format!("tls reports {}", line()),
            };
            self.traced.push((id, line));
        }
    }
}
