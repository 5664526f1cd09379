//! What systemd gives to a service, and what a service tells systemd: a few lines of our own, no libsystemd.
//!
//! Everything is taken once, when the process starts, and its variables with it: no command and no later
//! program of ours can take it for its own.
#![forbid(unsafe_code)]

mod notify;
mod passed;

pub use notify::Notifier;
pub use passed::{Passed, PassedClient};

use std::rc::Rc;

use crate::process::take_passed;

/// What we were started with.
pub struct Systemd {
    /// The sockets to listen on, in their order.
    ///
    /// Errors: which of them we cannot listen on, why, and what to do.
    pub sockets: Result<Vec<Rc<Passed>>, String>,
    /// Where to say how it goes.
    pub notifier: Notifier,
}

impl Systemd {
    /// Takes it; to be called once, before this process has opened anything.
    pub fn take() -> Self {
        let sockets = take_passed().and_then(|passed| {
            let sockets = passed
                .into_iter()
                .map(|(name, socket)| Passed::new(name, socket));
            sockets.map(|socket| socket.map(Rc::new)).collect()
        });
        Self {
            sockets: sockets.map_err(|why| format!("unable to use what systemd passed: {why}")),
            notifier: Notifier::take(),
        }
    }
}
