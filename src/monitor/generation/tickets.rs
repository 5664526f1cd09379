//! The renewal of the keys that seal session tickets.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use super::Generation;
use crate::tls::tickets::{ROTATION, TicketKeys};

/// Random ticket keys, and when they are renewed.
pub(in crate::monitor) struct TicketRotation {
    keys: TicketKeys,
    due: Instant,
}

/// The system has no randomness for new keys.
#[derive(Clone, Copy, Debug)]
pub(in crate::monitor) struct NoRandomness;

impl TicketRotation {
    /// New keys. Errors: no randomness.
    pub(in crate::monitor) fn new(now: Instant) -> Result<Self, NoRandomness> {
        Ok(Self {
            keys: TicketKeys::generate().map_err(|_| NoRandomness)?,
            due: now + ROTATION,
        })
    }

    /// The keys of today.
    pub(super) fn keys(&self) -> &TicketKeys {
        &self.keys
    }

    /// Time of the next renewal.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Renews the keys, and those of the rings that engines of these generations are forked with.
    ///
    /// Errors: no randomness; the old keys stay.
    pub(super) fn rotate<'a>(
        &mut self,
        mut generations: impl Iterator<Item = &'a Arc<Generation>>,
        now: Instant,
    ) -> Result<&TicketKeys, NoRandomness> {
        self.due = now + ROTATION;
        self.keys.rotate().map_err(|_| NoRandomness)?;
        generations
            .try_for_each(|generation| generation.ring.set(&self.keys))
            .map_err(|_| NoRandomness)?;
        Ok(&self.keys)
    }
}
