//! What an event of the monitor's epoll set is about.
#![forbid(unsafe_code)]

use crate::types::ConnectionId;

/// What an event is about.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Signals,
    Control,
    Resolver,
    /// The channel of the reporter.
    Reporter,
    /// A socket where metrics are asked for.
    Metrics(usize),
    /// Somebody who takes a long answer slowly.
    Asker(u64),
    Listener(usize),
    Engine(usize),
    Stderr(ConnectionId),
    Dial(ConnectionId),
}

impl Source {
    pub(super) fn token(self) -> u64 {
        match self {
            Self::Signals => 0,
            Self::Control => 1 << 3,
            Self::Resolver => 2 << 3,
            Self::Reporter => 3 << 3,
            Self::Listener(index) => 1 | (index as u64) << 3,
            Self::Engine(index) => 2 | (index as u64) << 3,
            Self::Stderr(id) => 3 | id.0 << 3,
            Self::Dial(id) => 4 | id.0 << 3,
            Self::Metrics(index) => 5 | (index as u64) << 3,
            Self::Asker(number) => 6 | number << 3,
        }
    }

    pub(super) fn of(token: u64) -> Self {
        let index = usize::try_from(token >> 3).unwrap_or(usize::MAX);
        match token & 7 {
            0 if index == 0 => Self::Signals,
            0 if index == 1 => Self::Control,
            0 if index == 2 => Self::Resolver,
            0 => Self::Reporter,
            1 => Self::Listener(index),
            2 => Self::Engine(index),
            3 => Self::Stderr(ConnectionId(token >> 3)),
            4 => Self::Dial(ConnectionId(token >> 3)),
            5 => Self::Metrics(index),
            _ => Self::Asker(token >> 3),
        }
    }
}
