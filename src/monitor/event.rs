//! What an event of the monitor's epoll set is about.
#![forbid(unsafe_code)]

use crate::message::Id;

/// What an event is about.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Signals,
    Control,
    Resolver,
    Listener(usize),
    Engine(usize),
    Stderr(Id),
    Dial(Id),
}

impl Source {
    pub(super) fn token(self) -> u64 {
        match self {
            Self::Signals => 0,
            Self::Control => 1 << 3,
            Self::Resolver => 2 << 3,
            Self::Listener(index) => 1 | (index as u64) << 3,
            Self::Engine(index) => 2 | (index as u64) << 3,
            Self::Stderr(id) => 3 | id << 3,
            Self::Dial(id) => 4 | id << 3,
        }
    }

    pub(super) fn of(token: u64) -> Self {
        let index = usize::try_from(token >> 3).unwrap_or(usize::MAX);
        match token & 7 {
            0 if index == 0 => Self::Signals,
            0 if index == 1 => Self::Control,
            0 => Self::Resolver,
            1 => Self::Listener(index),
            2 => Self::Engine(index),
            3 => Self::Stderr(token >> 3),
            _ => Self::Dial(token >> 3),
        }
    }
}
