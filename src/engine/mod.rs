//! The engine: an unprivileged process that serves TLS connections, and relays them to programs.
//!
//! One event loop serves thousands of connections. The monitor does what needs privileges: it accepts clients,
//! starts commands, connects to backends and writes the log.
#![forbid(unsafe_code)]

mod acceptor;
mod connection;
mod event_loop;
mod messages;
mod program;
mod readiness;
mod relay;
mod waiting;

use std::time::Instant;

use crate::config::{Config, Trace};
use crate::process::Channel;
use crate::tls::tickets::TicketKeyRing;
use crate::types::{Buffer, ConnectionId};
pub use acceptor::Acceptor;
use event_loop::EventLoop;
use readiness::Readiness;
use relay::CHUNK;

/// An engine before its first connection.
pub struct Engine<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The acceptor of each host, in the order of the configuration.
    pub acceptors: &'a [Acceptor],
    /// Key ring for the monitor's ticket keys.
    pub tickets: &'a TicketKeyRing,
    /// Channel to the monitor.
    pub channel: Channel,
}

impl Engine<'_> {
    /// Serves until the monitor sends `Drain` (or is gone) and the last connection has ended.
    ///
    /// Errors: those of epoll(7), and a channel that is broken or carries an invalid message.
    pub fn run(self) -> nix::Result<()> {
        EventLoop::new(self)?.run()
    }
}

/// State that the connections of an engine share.
struct Shared<'a> {
    config: &'a Config,
    acceptors: &'a [Acceptor],
    scratch: Scratch,
    /// Time at which this iteration of the loop began.
    now: Instant,
    /// Lines of `-D` that are not sent to the monitor yet.
    traced: Vec<(ConnectionId, String)>,
}

impl Shared<'_> {
    /// Traces a step of a handshake for `-D`.
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

/// Buffers that one connection at a time uses. Nothing in them is kept between two uses.
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
