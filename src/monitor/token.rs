//! Tokens of the monitor's epoll set: which descriptor an event is about.
#![forbid(unsafe_code)]

use nix::sys::epoll::{EpollEvent, EpollFlags};

use crate::types::{ConnectionId, EngineId};

/// A descriptor of the monitor's epoll set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The signal descriptor.
    Signals,
    /// The sockets that `--reload` and `--status` connect to.
    Control,
    /// The pipe of the process that looks up names.
    Resolver,
    /// The channel of the reporter.
    Reporter,
    /// A listening socket for metrics.
    MetricsListener(usize),
    /// A client of the control socket whose answer is not sent completely.
    AdminClient(u64),
    /// A listening socket for clients.
    Listener(usize),
    /// The channel of an engine.
    Engine(EngineId),
    /// The standard error of a command.
    Stderr(ConnectionId),
    /// A connection to a backend that is being made.
    Dial(ConnectionId),
}

impl Token {
    /// The event to register a descriptor with, to read from it.
    pub(super) fn readable(self) -> EpollEvent {
        self.event(EpollFlags::EPOLLIN)
    }

    /// The event to register a descriptor with, to write to it.
    pub(super) fn writable(self) -> EpollEvent {
        self.event(EpollFlags::EPOLLOUT)
    }

    /// The event to register a descriptor with for these flags.
    pub(super) fn event(self, flags: EpollFlags) -> EpollEvent {
        EpollEvent::new(flags, self.to_bits())
    }

    /// The kind in the three lowest bits, the number above.
    fn to_bits(self) -> u64 {
        match self {
            Self::Signals => 0,
            Self::Control => 1 << 3,
            Self::Resolver => 2 << 3,
            Self::Reporter => 3 << 3,
            Self::Listener(index) => 1 | (index as u64) << 3,
            Self::Engine(id) => 2 | id.0 << 3,
            Self::Stderr(id) => 3 | id.0 << 3,
            Self::Dial(id) => 4 | id.0 << 3,
            Self::MetricsListener(index) => 5 | (index as u64) << 3,
            Self::AdminClient(number) => 6 | number << 3,
        }
    }
}

/// The token of an event.
impl From<EpollEvent> for Token {
    fn from(event: EpollEvent) -> Self {
        let bits = event.data();
        let number = bits >> 3;
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        match bits & 7 {
            0 if number == 0 => Self::Signals,
            0 if number == 1 => Self::Control,
            0 if number == 2 => Self::Resolver,
            0 => Self::Reporter,
            1 => Self::Listener(index),
            2 => Self::Engine(EngineId(number)),
            3 => Self::Stderr(ConnectionId(number)),
            4 => Self::Dial(ConnectionId(number)),
            5 => Self::MetricsListener(index),
            _ => Self::AdminClient(number),
        }
    }
}
