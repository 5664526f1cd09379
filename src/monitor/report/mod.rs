//! What the server tells about itself: metrics, status, and the sockets where both are asked for.
#![forbid(unsafe_code)]

mod control;
mod families;
mod metrics;
mod place;
mod question;
mod readiness;
mod reporter;
mod stats;
mod status;

use std::time::Instant;

use nix::sys::epoll::Epoll;
use prometheus::Error;

use super::listeners::Listeners;

pub use control::ask;
pub(super) use control::{AdminClient, Control};
pub(super) use metrics::{Metrics, Present, ReloadResult};
pub use question::Question;
pub(super) use readiness::{ready_text, unready};
pub(super) use reporter::{Reporter, ReporterEvent};
pub(super) use stats::{Stats, Waiter};

/// Everything that reports.
pub(super) struct Report {
    /// The metrics.
    pub(super) metrics: Metrics,
    /// The control sockets.
    pub(super) control: Control,
    /// The reporter, which answers HTTP requests.
    pub(super) reporter: Reporter,
    /// Requests for up-to-date numbers.
    pub(super) stats: Stats,
}

impl Report {
    /// Reports of a server that starts; `listeners`: the sockets for metrics.
    ///
    /// Errors: those of [`Metrics::new`].
    pub(super) fn new(listeners: Listeners) -> Result<Self, Error> {
        Ok(Self {
            metrics: Metrics::new()?,
            control: Control::default(),
            reporter: Reporter::new(listeners),
            stats: Stats::default(),
        })
    }

    /// A line for each socket for `clients`, and for each one for metrics.
    pub(super) fn sockets(&self, clients: &Listeners) -> Vec<String> {
        let metrics = self.reporter.listeners();
        clients.lines().chain(metrics.lines()).collect()
    }

    /// Answers the clients that wait for numbers.
    ///
    /// Errors: those of [`Metrics::text`]; the clients get an empty answer.
    pub(super) fn answer_waiters(
        &mut self,
        present: &Present<'_>,
        epoll: &Epoll,
        now: Instant,
    ) -> Result<(), Error> {
        let (mut metrics, mut status) = (None, None);
        for waiter in self.stats.take_waiters() {
            match waiter {
                Waiter::Metrics(id) => {
                    let text = metrics.get_or_insert_with(|| self.metrics.text(present));
                    let text = text.as_ref().map_or("", String::as_str);
                    self.reporter.answer_metrics(id, text, epoll);
                }
                Waiter::Status(client) => {
                    let text =
                        status.get_or_insert_with(|| status::status(&self.metrics, present, now));
                    self.control.answer(client, text, epoll);
                }
            }
        }
        metrics.transpose().map(drop)
    }
}
