//! The service manager (`sd_notify(3)`): readiness, reloads, and a status line.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::systemd::Notifier;
use crate::types::Severity;

/// Time between two status lines, unless there is something else to tell.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest reason for a failed reload, in bytes: a status is one line.
const MAX_REASON: usize = 400;

/// The service manager, if one listens.
#[derive(Default)]
pub(super) struct Service {
    notifier: Notifier,
    /// Clients that got a command or a backend, and have ended.
    served: u64,
    /// Clients that were refused because of a limit.
    refused: u64,
    /// Whether the service manager waits for the end of a reload.
    reloading: bool,
    /// Why the last reload failed.
    mistake: Option<String>,
    stopping: bool,
    /// The last status, and its time; `None`: the server is not ready yet.
    told: Option<(Counts, Instant)>,
}

/// The numbers in a status.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts {
    open: usize,
    served: u64,
    refused: u64,
}

impl Service {
    /// A service manager that is told by way of `notifier`.
    pub(super) fn new(notifier: Notifier) -> Self {
        Self {
            notifier,
            ..Self::default()
        }
    }

    /// Counts a client that was served.
    pub(super) fn count_served(&mut self) {
        self.served += 1;
    }

    /// Counts a client that was refused.
    pub(super) fn count_refused(&mut self) {
        self.refused += 1;
    }

    /// Time of the next [`Service::tick`]; `open`: number of open connections.
    pub(super) fn due(&self, open: usize) -> Option<Instant> {
        let notifier = self.notifier.next_tick();
        notifier.into_iter().chain(self.status_due(open)).min()
    }

    /// Sends what is due: a status, the watchdog's sign of life, messages that were not taken before.
    pub(super) fn tick(&mut self, open: usize, now: Instant) {
        self.notifier.tick(now);
        if self.status_due(open).is_some_and(|when| when <= now) {
            self.send_status("", open);
        }
    }

    /// Tells that clients are served.
    pub(super) fn ready(&mut self, open: usize) {
        self.send_status("READY=1\n", open);
    }

    /// Tells that a reload begins.
    pub(super) fn reloading(&mut self) {
        self.reloading = true;
        self.mistake = None;
        // From this time systemd knows that the reload is the one that it has asked for (sd_notify(3)).
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        let state = format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros());
        self.notifier.notify(state);
    }

    /// Notes why the reload fails.
    pub(super) fn reload_failed(&mut self, problems: &[(Severity, String)]) {
        let errors = problems.iter().filter(|(level, _)| *level == Severity::Err);
        let mut errors = errors.map(|(_, text)| text.lines().next().unwrap_or_default());
        let mut why = errors.next().unwrap_or_default().to_owned();
        why.truncate(why.floor_char_boundary(MAX_REASON));
        match errors.count() {
            0 => {}
            more => why.push_str(&format!(" (and {more} more)")),
        }
        self.mistake = self.reloading.then_some(why);
    }

    /// Tells that the reload is over, if one was announced.
    pub(super) fn reloaded(&mut self, open: usize) {
        if std::mem::take(&mut self.reloading) {
            self.send_status("READY=1\n", open);
        }
    }

    /// Tells that no more clients are accepted.
    pub(super) fn stopping(&mut self, open: usize) {
        self.reloading = false;
        self.stopping = true;
        self.send_status("STOPPING=1\n", open);
    }

    /// Time of the next status, if the numbers have changed.
    fn status_due(&self, open: usize) -> Option<Instant> {
        let (told, when) = self.told?;
        let changed = self.notifier.is_heard() && told != self.counts(open);
        changed.then(|| when + PAUSE)
    }

    fn counts(&self, open: usize) -> Counts {
        Counts {
            open,
            served: self.served,
            refused: self.refused,
        }
    }

    /// Sends lines of the protocol, and a status.
    fn send_status(&mut self, lines: &str, open: usize) {
        let counts = self.counts(open);
        let stopping = if self.stopping { "stopping: " } else { "" };
        let mistake = match &self.mistake {
            Some(why) => format!("; the old configuration stays: {why}"),
            None => String::new(),
        };
        let message = format!("{lines}STATUS={stopping}{counts}{mistake}");
        self.notifier.notify(message);
        self.told = Some((counts, Instant::now()));
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            open,
            served,
            refused,
        } = self;
        let plural = if *open == 1 { "" } else { "s" };
        write!(
            f,
            "{open} connection{plural}, {served} served, {refused} refused"
        )
    }
}
