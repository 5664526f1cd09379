//! Child processes that have ended, and what engines are told of the ends of commands.
#![forbid(unsafe_code)]

use std::time::Instant;

use super::Monitor;
use super::violation::Violation;
use crate::message::ToEngine;
use crate::process::reap;
use crate::types::{ConnectionId, EngineId};

impl Monitor {
    /// Notes which children have ended.
    pub(super) fn reap(&mut self) {
        while let Some((pid, status)) = reap() {
            self.engines.exited(pid, status);
            self.programs.exited(pid);
            self.report.reporter.exited(pid, status);
            self.logger.exited(pid);
            // A child that is none of these was there before the monitor.
            if let Some((id, client)) = self.clients.command_exited(pid, status) {
                (self.report.metrics).exited(client.host_label(), status);
                match client.is_open() {
                    true => self.answer(id),
                    false => self.conclude(id),
                }
            }
        }
    }

    /// Answers an engine that asks how the output of a command has ended, now or later.
    pub(super) fn output_ended(
        &mut self,
        engine: EngineId,
        id: ConnectionId,
    ) -> Result<(), Violation> {
        // The exit status may be there already.
        self.reap();
        if let Some(end) = self.clients.output_ended(engine, id, Instant::now())? {
            self.send(engine, &ToEngine::OutputEnded { id, end }, Vec::new());
        }
        Ok(())
    }

    /// Answers the questions that have waited too long for an exit status.
    pub(super) fn answer_overdue(&mut self, now: Instant) {
        while let Some(id) = self.clients.overdue_question(now) {
            self.answer(id);
        }
    }

    /// Answers the engine that asks about the output of a command, if one waits.
    fn answer(&mut self, id: ConnectionId) {
        if let Some((engine, end)) = self.clients.answer(id) {
            self.send(engine, &ToEngine::OutputEnded { id, end }, Vec::new());
        }
    }
}
