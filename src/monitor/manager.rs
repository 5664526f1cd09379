//! What the service manager is told: whether we serve, whom, and what was wrong with the last reload.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::{Monitor, Stop};
use crate::systemd::Notifier;
use crate::types::Severity;

/// Between two statuses, unless there is something else to say.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes that say what was wrong, at most: a status is one line.
const MISTAKE: usize = 400;

/// The service manager, if one listens.
#[derive(Default)]
pub(super) struct Manager {
    notifier: Notifier,
    /// Clients that have got a command, and are gone.
    pub(super) served: u64,
    /// Clients that were over a limit, and closed at once.
    pub(super) refused: u64,
    /// Whether it has been told of a reload, and not yet of its end.
    reloading: bool,
    /// What was wrong with the last reload, if anything was.
    mistake: Option<String>,
    /// The numbers that it was told last, and when; `None`: we do not serve yet.
    told: Option<(Counts, Instant)>,
}

/// The numbers in a status.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts {
    open: usize,
    served: u64,
    refused: u64,
}

impl Manager {
    pub(super) fn new(notifier: Notifier) -> Self {
        Self {
            notifier,
            ..Self::default()
        }
    }

    /// A reload begins.
    pub(super) fn reloading(&mut self) {
        self.reloading = true;
        self.mistake = None;
        // By the time systemd knows that this is the reload that it has asked for (sd_notify(3)).
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        let state = format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros());
        self.notifier.notify(state);
    }

    /// It comes to nothing, for these reasons.
    pub(super) fn reload_refused(&mut self, problems: &[(Severity, String)]) {
        let errors = problems.iter().filter(|(level, _)| *level == Severity::Err);
        let mut errors = errors.map(|(_, text)| text.lines().next().unwrap_or_default());
        let mut why = errors.next().unwrap_or_default().to_owned();
        why.truncate(why.floor_char_boundary(MISTAKE));
        match errors.count() {
            0 => {}
            more => why.push_str(&format!(" (and {more} more)")),
        }
        self.mistake = self.reloading.then_some(why);
    }
}

impl Monitor {
    /// Tells it what is due.
    pub(super) fn tell_manager(&mut self, now: Instant) {
        self.manager.notifier.tick(now);
        if self.status_due().is_some_and(|when| when <= now) {
            self.tell_status("", now);
        }
    }

    /// When something is due.
    pub(super) fn manager_due(&self) -> Option<Instant> {
        let notifier = self.manager.notifier.next_tick();
        notifier.into_iter().chain(self.status_due()).min()
    }

    /// We serve.
    pub(super) fn tell_ready(&mut self) {
        self.tell_status("READY=1\n", Instant::now());
    }

    /// A reload is over, whatever has come of it.
    pub(super) fn tell_reloaded(&mut self) {
        if std::mem::take(&mut self.manager.reloading) {
            self.tell_status("READY=1\n", Instant::now());
        }
    }

    /// Nobody is accepted any more.
    pub(super) fn tell_stopping(&mut self) {
        self.manager.reloading = false;
        self.tell_status("STOPPING=1\n", Instant::now());
    }

    /// When it has to hear the numbers, because they have changed.
    fn status_due(&self) -> Option<Instant> {
        let (told, when) = self.manager.told?;
        let changed = self.manager.notifier.is_heard() && told != self.counts();
        changed.then(|| when + PAUSE)
    }

    fn counts(&self) -> Counts {
        Counts {
            open: self.connections.len(),
            served: self.manager.served,
            refused: self.manager.refused,
        }
    }

    /// Says how it goes, after `news`: lines of the protocol.
    fn tell_status(&mut self, news: &str, now: Instant) {
        let counts = self.counts();
        let stopping = match self.stop {
            Stop::No => "",
            Stop::Draining | Stop::Now => "stopping: ",
        };
        let mistake = match &self.manager.mistake {
            Some(why) => format!("; the old configuration stays: {why}"),
            None => String::new(),
        };
        let message = format!("{news}STATUS={stopping}{counts}{mistake}");
        self.manager.notifier.notify(message);
        self.manager.told = Some((counts, now));
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
