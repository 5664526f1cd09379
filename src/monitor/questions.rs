//! Questions of admin clients and of the reporter, answered.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::report::{Accepted, Present, Question, ReporterEvent, Waiter};
use super::{BATCH, Monitor};
use crate::types::{EngineId, Severity, cause};

/// Clients of the control sockets that are accepted in one turn of the loop.
const ADMIN_BATCH: usize = 4;

impl Monitor {
    /// Accepts a few clients of the control sockets, unless accepting is paused. The others wait for the next turn of
    /// the loop, so that clients that connect again and again do not stop the service of others.
    pub(super) fn accept_admin_clients(&mut self) {
        if self.lifecycle.is_paused() {
            return;
        }
        for _ in 0..ADMIN_BATCH {
            match self.report.control.accept() {
                Ok(Accepted::Client(Question::Reload, client)) => self.begin_reload(Some(client)),
                Ok(Accepted::Client(Question::Status, client)) => {
                    self.request_stats(Waiter::Status(client));
                }
                Ok(Accepted::Stranger) => {}
                Ok(Accepted::Nobody) => break,
                Err(why) => return self.pause(&why),
            }
        }
    }

    /// Answers the reporter.
    pub(super) fn serve_reporter(&mut self) {
        for _ in 0..BATCH {
            match self.report.reporter.receive(&self.epoll) {
                ReporterEvent::Nothing => break,
                ReporterEvent::Answered => {}
                ReporterEvent::Readiness(id) => {
                    let text = self.ready_text();
                    let readiness = self.unready().map_or(Ok(text.as_str()), Err);
                    (self.report.reporter).answer_readiness(id, readiness, &self.epoll);
                }
                ReporterEvent::Request(id) => self.request_stats(Waiter::Metrics(id)),
                ReporterEvent::Lost(line) => self.logger.say(Severity::Err, &line),
            }
        }
    }

    /// Lets a client wait for up-to-date numbers.
    fn request_stats(&mut self, waiter: Waiter) {
        let now = Instant::now();
        let ask = || self.engines.ask_for_traffic(&self.epoll);
        self.report.stats.request(waiter, ask, now);
        self.answer_waiters(now);
    }

    /// Answers the clients that wait for numbers, if the engines have answered or have had their time.
    pub(super) fn answer_waiters(&mut self, now: Instant) {
        if !self.report.stats.is_complete(now) {
            return;
        }
        let present = Present {
            config: &self.generations.current().config,
            clients: &self.clients,
            engines: self.engines.alive(),
            backends: self.programs.names().collect(),
            unready: self.unready(),
            sockets: self.report.sockets(&self.listeners),
        };
        if let Err(e) = self.report.answer_waiters(&present, &self.epoll, now) {
            let line = format!("unable to write metrics: {}", cause(&e));
            self.logger.say(Severity::Err, &line);
        }
    }

    /// Notes that an engine has told its numbers, or never will.
    pub(super) fn stats_answered(&mut self, engine: EngineId) {
        self.report.stats.answered(engine);
        self.answer_waiters(Instant::now());
    }

    /// Why new clients are not served; `None`: they are.
    fn unready(&self) -> Option<&'static str> {
        if !self.lifecycle.is_serving() {
            return Some("stopping");
        }
        if !self.lifecycle.is_ready() || !self.engines.can_serve(&self.generations) {
            return Some("no engine");
        }
        let config = &self.generations.current().config;
        (!self.programs.can_serve(config)).then_some("no backend has an address")
    }

    /// The text for who asks whether new clients are served, if they are: also which backends are away because
    /// their names do not resolve.
    fn ready_text(&self) -> String {
        let away = self
            .programs
            .names()
            .filter(|(_, addresses)| *addresses == 0);
        let away = away.map(|(name, _)| format!("backend {name}: name does not resolve\n"));
        std::iter::once("ready\n".to_owned()).chain(away).collect()
    }
}
