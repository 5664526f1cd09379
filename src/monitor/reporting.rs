//! `[metrics]` in the monitor: the sockets where they are asked for, and the reporter, which talks to those
//! who ask. The monitor only accepts and answers; it reads no request.
#![forbid(unsafe_code)]

use std::panic;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::engines::Blueprint;
use super::event::Source;
use super::inquiry::Wants;
use super::listener::{Listener, Refusal};
use super::{BATCH, Monitor};
use crate::message::{MAX_TEXT, bounded, decode, encode};
use crate::process::{Channel, Forked, Jail, Received, exit_now, fork_engine};
use crate::reporter::{
    self, FromReporter, MOST_QUESTIONS, PART, Page, RequestId, ToReporter, Verdict,
};
use crate::types::Severity;

/// The wait after a reporter has died.
const PAUSE: Duration = Duration::from_secs(1);

/// Where metrics are asked for, and who answers.
#[derive(Default)]
pub(super) struct Reporting {
    pub(super) listeners: Vec<Listener>,
    /// Whether they are in the epoll set.
    listening: bool,
    process: Option<Process>,
    /// When the next one may be started.
    not_before: Option<Instant>,
    /// Clients of the reporter that wait for the metrics.
    waiting: usize,
}

/// A living reporter.
struct Process {
    pid: Pid,
    channel: Channel,
    interest: EpollFlags,
    /// What it was born with.
    blueprint: Arc<Blueprint>,
    /// How it has ended, once that is known: its process id is somebody else's then.
    ended: Option<WaitStatus>,
}

impl Reporting {
    /// A child has ended.
    pub(super) fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        if let Some(process) = self.process.as_mut().filter(|process| process.pid == pid) {
            process.ended = Some(status);
        }
    }

    /// When a reporter is to be started; `None`: one lives, or none is wanted.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let wanted = self.process.is_none() && !self.listeners.is_empty();
        wanted.then(|| self.not_before.unwrap_or(now))
    }

    /// Ends the reporter, if it has not ended already.
    pub(super) fn bury(&mut self) -> Option<Pid> {
        let process = self.process.take()?;
        self.waiting = 0;
        drop(process.channel);
        if process.ended.is_none() {
            let _ = kill(process.pid, Signal::SIGKILL);
            let _ = waitpid(process.pid, None);
        }
        Some(process.pid)
    }

    /// Whether one more client can be given to the reporter: not while it is behind.
    fn takes_clients(&self) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|process| !process.channel.wants_write())
    }
}

impl Monitor {
    /// Starts the reporter, if it is due; it and its sockets are heard as long as they can be.
    pub(super) fn report_metrics(&mut self, now: Instant) {
        if self.reporting.due(now).is_some_and(|due| due <= now)
            && let Err(e) = self.start_reporter()
        {
            let line = format!("unable to start the reporter of metrics: {e}");
            self.logger.say(Severity::Err, &line);
            self.reporting.not_before = now.checked_add(PAUSE);
        }
        let wanted = self.exhausted_until.is_none() && self.reporting.takes_clients();
        if wanted == self.reporting.listening {
            return;
        }
        for (index, listener) in self.reporting.listeners.iter().enumerate() {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, Source::Metrics(index).token());
            let result = match wanted {
                true => self.epoll.add(listener, event),
                false => self.epoll.delete(listener),
            };
            if let Err(e) = result {
                let line = format!("unable to wait for who asks for metrics: {e}");
                self.logger.say(Severity::Err, &line);
            }
        }
        self.reporting.listening = wanted;
    }

    fn start_reporter(&mut self) -> nix::Result<()> {
        let (ours, theirs) = Channel::pair()?;
        let pid = match fork_engine(theirs)? {
            Forked::Engine(channel) => be_reporter(&self.blueprint, channel),
            Forked::Monitor(pid) => pid,
        };
        let interest = EpollFlags::EPOLLIN;
        let event = EpollEvent::new(interest, Source::Reporter.token());
        self.epoll.add(&ours, event)?; // that of the child ends by itself, when its channel does
        self.reporting.process = Some(Process {
            pid,
            channel: ours,
            interest,
            blueprint: Arc::clone(&self.blueprint),
            ended: None,
        });
        Ok(())
    }

    /// Gives new clients to the reporter.
    pub(super) fn accept_metrics(&mut self, index: usize) {
        for _ in 0..BATCH {
            let Some(listener) = self.reporting.listeners.get(index) else {
                return;
            };
            if !self.reporting.takes_clients() {
                return;
            }
            match listener.accept() {
                Ok(client) => self.tell_reporter(&ToReporter::Accepted, vec![client.socket]),
                Err(Refusal::Nobody) => return,
                Err(Refusal::Exhausted(e)) => {
                    return self.pause(&format!("unable to accept who asks for metrics: {e}"));
                }
            }
        }
    }

    /// Takes messages from the reporter, as long as it takes ours; of one that is gone, what it has said last.
    pub(super) fn hear_reporter(&mut self) {
        let gone = self.flush_reporter().is_err();
        for _ in 0..BATCH {
            let Some(process) = &mut self.reporting.process else {
                return;
            };
            if process.channel.wants_write() && !gone {
                return;
            }
            let message = match process.channel.receive() {
                Ok(Received::Empty) => return,
                Ok(Received::Message(bytes, descriptors)) if descriptors.is_empty() => {
                    decode::<FromReporter>(bytes)
                }
                Ok(Received::Message(..)) => None,
                Ok(Received::Closed) | Err(_) => return self.lose_reporter("it is gone"),
            };
            match message {
                Some(FromReporter::Asked { id, page }) => self.asked_for(id, page),
                Some(FromReporter::Failed(why)) if why.len() <= MAX_TEXT => {
                    self.lose_reporter(&why);
                }
                _ => self.lose_reporter("it broke the protocol"),
            }
        }
    }

    fn asked_for(&mut self, id: RequestId, page: Page) {
        match page {
            Page::Health => self.answer_client(id, Verdict::Good, "ok\n"),
            Page::Readiness => match self.unready() {
                None => self.answer_client(id, Verdict::Good, "ready\n"),
                Some(why) => self.answer_client(id, Verdict::Unavailable, &format!("{why}\n")),
            },
            Page::Metrics if self.reporting.waiting < MOST_QUESTIONS => {
                self.reporting.waiting += 1;
                self.inquire(Wants::Metrics(id));
            }
            Page::Metrics => self.lose_reporter("it asks too much"),
        }
    }

    /// Answers a client of the reporter.
    pub(super) fn answer_client(&mut self, id: RequestId, verdict: Verdict, mut text: &str) {
        while !text.is_empty() {
            let (part, rest) = text.split_at(text.floor_char_boundary(PART));
            let text_of_part = part.to_owned();
            let message = ToReporter::Part {
                id,
                text: text_of_part,
            };
            self.tell_reporter(&message, Vec::new());
            text = rest;
        }
        self.tell_reporter(&ToReporter::End { id, verdict }, Vec::new());
    }

    /// A client of the reporter waits no more.
    pub(super) fn answer_metrics(&mut self, id: RequestId, text: &str) {
        self.reporting.waiting = self.reporting.waiting.saturating_sub(1);
        self.answer_client(id, Verdict::Good, text);
    }

    fn tell_reporter(&mut self, message: &ToReporter, descriptors: Vec<std::os::fd::OwnedFd>) {
        if let Some(process) = &mut self.reporting.process {
            // A reporter that is gone is found out by the end of its channel.
            let _ = process.channel.send(encode(message), descriptors);
            let _ = self.flush_reporter();
        }
    }

    /// Errors: the reporter is gone.
    fn flush_reporter(&mut self) -> nix::Result<()> {
        let Some(process) = &mut self.reporting.process else {
            return Ok(());
        };
        let flushed = process.channel.flush();
        // While it does not take answers, it need not ask.
        let interest = match process.channel.wants_write() {
            true => EpollFlags::EPOLLOUT,
            false => EpollFlags::EPOLLIN,
        };
        if interest != process.interest {
            process.interest = interest;
            let mut event = EpollEvent::new(interest, Source::Reporter.token());
            let _ = self.epoll.modify(&process.channel, &mut event);
        }
        flushed
    }

    fn lose_reporter(&mut self, why: &str) {
        if let Some(pid) = self.reporting.bury() {
            let line = format!("reporter of metrics {pid} ended: {why}");
            self.logger.say(Severity::Err, &line);
            self.reporting.not_before = Instant::now().checked_add(PAUSE);
        }
    }

    /// The current configuration has these sockets for metrics; the reporter stays, if it would be born the
    /// same.
    pub(super) fn move_metrics(&mut self, listeners: Vec<Listener>) {
        self.reporting.listeners = listeners;
        let credentials = &self.blueprint.config.engine_credentials;
        let stays = self.reporting.process.as_ref().is_some_and(|process| {
            process.blueprint.config.engine_credentials == *credentials
                && !self.reporting.listeners.is_empty()
        });
        if !stays {
            self.reporting.bury();
            self.reporting.not_before = None;
        }
    }

    /// Takes the sockets out of the epoll set; those that stay come back in the next turn.
    pub(super) fn deafen_metrics(&mut self) {
        if std::mem::take(&mut self.reporting.listening) {
            for listener in &self.reporting.listeners {
                let _ = self.epoll.delete(listener);
            }
        }
    }
}

/// The life of a reporter process.
fn be_reporter(blueprint: &Blueprint, mut channel: Channel) -> ! {
    let failed = |why: String| encode(&FromReporter::Failed(bounded(why)));
    let last_words = channel.last_words();
    panic::set_hook(Box::new(move |panic| {
        last_words(&failed(panic.to_string()));
    }));
    // Before the jail: there is no such call in it.
    let _ = nix::sys::prctl::set_name(c"tlssrv-metrics");
    let jail = Jail {
        credentials: blueprint.config.engine_credentials.as_ref(),
    };
    if let Err(e) = jail.enter() {
        let _ = channel.send(failed(e.to_string()), Vec::new());
        exit_now(97);
    }
    match reporter::run(channel) {
        Ok(()) => exit_now(0),
        Err(e) => {
            last_words(&failed(e.desc().to_owned()));
            exit_now(111)
        }
    }
}
