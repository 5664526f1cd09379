//! What an event of the monitor's epoll set is about.
#![forbid(unsafe_code)]

use crate::message::Id;

/// What an event is about.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Signals,
    Control,
    Listener(usize),
    Engine(usize),
    Stderr(Id),
}

impl Source {
    pub(super) fn token(self) -> u64 {
        match self {
            Self::Signals => 0,
            Self::Control => 1 << 2,
            Self::Listener(index) => 1 | (index as u64) << 2,
            Self::Engine(index) => 2 | (index as u64) << 2,
            Self::Stderr(id) => 3 | id << 2,
        }
    }

    pub(super) fn of(token: u64) -> Self {
        let index = usize::try_from(token >> 2).unwrap_or(usize::MAX);
        match token & 3 {
            0 if index == 0 => Self::Signals,
            0 => Self::Control,
            1 => Self::Listener(index),
            2 => Self::Engine(index),
            _ => Self::Stderr(token >> 2),
        }
    }
}
