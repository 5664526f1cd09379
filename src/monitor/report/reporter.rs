//! The reporter in the monitor: its process, and the sockets where metrics are asked for.
//!
//! The monitor accepts the clients and gives them to the reporter, which reads their requests. The monitor
//! only says what the reporter is to answer.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::panic;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollFlags};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::message::{MAX_TEXT, bounded, decode, encode};
use crate::monitor::generation::Generation;
use crate::monitor::listeners::{AcceptError, Listeners, Plan};
use crate::monitor::token::Token;
use crate::process::{
    Channel, Ended, Forked, Jail, Received, exit_now, fork_engine, wait_until_ended,
};
use crate::reporter::{self, Endpoint, MAX_PART, MAX_REQUESTS, Outcome, RequestId, ToReporter};

/// Wait before the next start after a reporter has died.
const PAUSE: Duration = Duration::from_secs(1);

/// The reporter, and the sockets for its clients.
pub(in crate::monitor) struct Reporter {
    listeners: Listeners,
    process: Option<Process>,
    /// Earliest start of the next process.
    not_before: Option<Instant>,
    /// Number of requests that wait for the metrics.
    waiting: usize,
}

/// A reporter process that lives.
struct Process {
    pid: Pid,
    channel: Channel,
    interest: EpollFlags,
    /// The generation that it was forked with.
    generation: Arc<Generation>,
    /// Exit status, once the process has been waited for: another process may have its id then.
    ended: Option<Ended>,
}

/// Result of [`Reporter::receive`].
pub(in crate::monitor) enum ReporterEvent {
    /// Nothing for now, or there is no reporter.
    Nothing,
    /// A request that is answered already.
    Answered,
    /// A client asks whether new clients are served.
    Readiness(RequestId),
    /// A client asks for the metrics.
    Request(RequestId),
    /// The reporter is gone, or was ended; a line for the log.
    Lost(String),
}

impl Reporter {
    /// A reporter for clients of these sockets, not started.
    pub(super) fn new(listeners: Listeners) -> Self {
        Self {
            listeners,
            process: None,
            not_before: None,
            waiting: 0,
        }
    }

    /// The sockets for clients.
    pub(in crate::monitor) fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Time of the next [`Reporter::start_due`]; `None`: a reporter lives, or none is wanted.
    pub(in crate::monitor) fn due(&self, now: Instant) -> Option<Instant> {
        let wanted = self.process.is_none() && !self.listeners.is_empty();
        wanted.then(|| self.not_before.unwrap_or(now))
    }

    /// Starts the reporter if it is due. Returns a line if that fails.
    pub(in crate::monitor) fn start_due(
        &mut self,
        generation: &Arc<Generation>,
        epoll: &Epoll,
        now: Instant,
    ) -> Vec<String> {
        if self.due(now).is_none_or(|due| due > now) {
            return Vec::new();
        }
        let Err(e) = self.start(generation, epoll) else {
            return Vec::new();
        };
        self.not_before = now.checked_add(PAUSE);
        vec![format!(
            "unable to start the reporter of metrics: {}",
            e.desc()
        )]
    }

    /// Errors: those of fork(2), socketpair(2) and `epoll_ctl(2)`.
    fn start(&mut self, generation: &Arc<Generation>, epoll: &Epoll) -> nix::Result<()> {
        let (ours, theirs) = Channel::pair()?;
        let pid = match fork_engine(theirs)? {
            Forked::Engine(channel) => run(generation, channel),
            Forked::Monitor(pid) => pid,
        };
        // If this fails, the process ends by itself with its channel.
        epoll.add(&ours, Token::Reporter.readable())?;
        self.process = Some(Process {
            pid,
            channel: ours,
            interest: EpollFlags::EPOLLIN,
            generation: Arc::clone(generation),
            ended: None,
        });
        Ok(())
    }

    /// Registers the sockets for clients while the reporter takes clients, unless accepting is paused.
    /// Returns a line for each failure.
    pub(in crate::monitor) fn listen(&mut self, paused: bool, epoll: &Epoll) -> Vec<String> {
        match !paused && self.takes_clients() {
            true => self.listeners.register(epoll),
            false => self.listeners.unregister(epoll),
        }
    }

    /// Gives the reporter the clients of a socket, at most so many.
    ///
    /// Errors: descriptors or memory have run out.
    pub(in crate::monitor) fn accept(
        &mut self,
        index: usize,
        most: usize,
        epoll: &Epoll,
    ) -> io::Result<()> {
        for _ in 0..most {
            if !self.takes_clients() {
                break;
            }
            match self.listeners.accept(index) {
                Ok((_, client)) => {
                    self.send(&ToReporter::Accepted, vec![client.socket], epoll);
                }
                Err(AcceptError::Empty) => break,
                Err(AcceptError::Exhausted(e)) => return Err(e),
            }
        }
        Ok(())
    }

    /// Whether the reporter takes one more client: not while it is behind.
    fn takes_clients(&self) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|process| !process.channel.wants_write())
    }

    /// Receives a message from the reporter, if it takes messages; from one that is gone, its last messages.
    /// Requests for health are answered at once.
    pub(in crate::monitor) fn receive(&mut self, epoll: &Epoll) -> ReporterEvent {
        let gone = self.flush(epoll).is_err();
        let Some(process) = &mut self.process else {
            return ReporterEvent::Nothing;
        };
        if process.channel.wants_write() && !gone {
            return ReporterEvent::Nothing;
        }
        let message = match process.channel.receive() {
            Ok(Received::Empty) => return ReporterEvent::Nothing,
            Ok(Received::Message(bytes, descriptors)) if descriptors.is_empty() => {
                decode::<reporter::FromReporter>(bytes)
            }
            Ok(Received::Message(..)) => None,
            Ok(Received::Closed) | Err(_) => return self.lose("it is gone"),
        };
        let (id, endpoint) = match message {
            Some(reporter::FromReporter::Request { id, endpoint }) => (id, endpoint),
            Some(reporter::FromReporter::Failed(why)) if why.len() <= MAX_TEXT => {
                return self.lose(&why);
            }
            _ => return self.lose("it broke the protocol"),
        };
        match endpoint {
            Endpoint::Metrics if self.waiting >= MAX_REQUESTS => self.lose("it asks too much"),
            Endpoint::Metrics => {
                self.waiting += 1;
                ReporterEvent::Request(id)
            }
            Endpoint::Health => {
                self.answer(id, Outcome::Ok, "ok\n", epoll);
                ReporterEvent::Answered
            }
            Endpoint::Readiness => ReporterEvent::Readiness(id),
        }
    }

    /// Answers a request for readiness; `Err`: why new clients are not served.
    pub(in crate::monitor) fn answer_readiness(
        &mut self,
        id: RequestId,
        readiness: Result<&str, &str>,
        epoll: &Epoll,
    ) {
        match readiness {
            Ok(text) => self.answer(id, Outcome::Ok, text, epoll),
            Err(why) => self.answer(id, Outcome::Unavailable, &format!("{why}\n"), epoll),
        }
    }

    /// Answers a request for the metrics.
    pub(in crate::monitor) fn answer_metrics(&mut self, id: RequestId, text: &str, epoll: &Epoll) {
        self.waiting = self.waiting.saturating_sub(1);
        self.answer(id, Outcome::Ok, text, epoll);
    }

    /// Answers a request.
    fn answer(&mut self, id: RequestId, outcome: Outcome, mut content: &str, epoll: &Epoll) {
        while !content.is_empty() {
            let (part, rest) = content.split_at(content.floor_char_boundary(MAX_PART));
            let text = part.to_owned();
            self.send(&ToReporter::Part { id, text }, Vec::new(), epoll);
            content = rest;
        }
        self.send(&ToReporter::Complete { id, outcome }, Vec::new(), epoll);
    }

    fn send(&mut self, message: &ToReporter, descriptors: Vec<OwnedFd>, epoll: &Epoll) {
        if let Some(process) = &mut self.process {
            // That the reporter is gone is found out by the end of its channel.
            let _ = process.channel.send(encode(message), descriptors);
            let _ = self.flush(epoll);
        }
    }

    /// Errors: the reporter is gone.
    fn flush(&mut self, epoll: &Epoll) -> nix::Result<()> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let flushed = process.channel.flush();
        // While the reporter does not take answers, it need not ask.
        let interest = match process.channel.wants_write() {
            true => EpollFlags::EPOLLOUT,
            false => EpollFlags::EPOLLIN,
        };
        if interest != process.interest {
            process.interest = interest;
            let mut event = Token::Reporter.event(interest);
            let _ = epoll.modify(&process.channel, &mut event);
        }
        flushed
    }

    /// Notes that a child process has ended, if it was the reporter.
    pub(in crate::monitor) fn exited(&mut self, pid: Pid, status: Ended) {
        if let Some(process) = self.process.as_mut().filter(|process| process.pid == pid) {
            process.ended = Some(status);
        }
    }

    /// Uses the planned sockets from now on. The reporter stays if a new one would be the same. Returns a
    /// line for each socket that is new or closed.
    pub(in crate::monitor) fn adopt(
        &mut self,
        plan: Plan,
        generation: &Generation,
        epoll: &Epoll,
    ) -> Vec<String> {
        let lines = self.listeners.adopt(plan, epoll);
        let credentials = &generation.config.engine_credentials;
        let process = self.process.as_ref();
        let same = process
            .is_some_and(|process| process.generation.config.engine_credentials == *credentials);
        if !same || self.listeners.is_empty() {
            self.end();
            self.not_before = None;
        }
        lines
    }

    /// Ends the reporter, if it has not ended by itself.
    pub(in crate::monitor) fn end(&mut self) -> Option<Pid> {
        let process = self.process.take()?;
        self.waiting = 0;
        drop(process.channel);
        if process.ended.is_none() {
            let _ = kill(process.pid, Signal::SIGKILL);
            let _ = wait_until_ended(process.pid);
        }
        Some(process.pid)
    }

    fn lose(&mut self, why: &str) -> ReporterEvent {
        let Some(pid) = self.end() else {
            return ReporterEvent::Nothing;
        };
        self.not_before = Instant::now().checked_add(PAUSE);
        ReporterEvent::Lost(format!("reporter of metrics {pid} ended: {why}"))
    }
}

/// Runs a reporter, and ends the process.
fn run(generation: &Generation, mut channel: Channel) -> ! {
    let failed = |why: String| encode(&reporter::FromReporter::Failed(bounded(why)));
    let last_words = channel.last_words();
    panic::set_hook(Box::new(move |panic| {
        last_words(&failed(panic.to_string()));
    }));
    // The jail does not allow this system call.
    let _ = nix::sys::prctl::set_name(c"tlssrv-metrics");
    let jail = Jail {
        credentials: generation.config.engine_credentials.as_ref(),
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
