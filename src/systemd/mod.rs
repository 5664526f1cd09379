//! The protocols between systemd and a service: passed sockets and notifications, without libsystemd.
//!
//! Everything is taken once, when the process starts, together with its variables, so that no command and no other
//! process of tlssrv can take it.
#![forbid(unsafe_code)]

pub mod journal;
mod notify;
mod passed;

pub use notify::Notifier;
pub use passed::{Passed, PassedClient};

use std::rc::Rc;

use crate::process::take_passed;

/// What systemd passes to a service.
pub struct Systemd {
    /// The sockets to listen on, in their order.
    ///
    /// Errors: the socket that cannot be listened on, why, and what to do.
    pub sockets: Result<Vec<Rc<Passed>>, String>,
    /// The way to the service manager.
    pub notifier: Notifier,
}

impl Systemd {
    /// Takes everything. This has to be called once, before the process opens anything.
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
