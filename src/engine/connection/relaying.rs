//! Begin and end of the relay of a connection.
#![forbid(unsafe_code)]

use super::state::{AwaitingKill, AwaitingProgram, State};
use super::{Action, Connection};
use crate::config::OnTruncation;
use crate::engine::program::ProgramStream;
use crate::engine::relay::{Relay, RelayStatus};
use crate::engine::{Readiness, Shared};
use crate::message::{End, bounded};
use crate::process::socket;

impl Connection {
    /// Begins to relay between client and program.
    pub(super) fn begin_relay(
        &mut self,
        awaiting: AwaitingProgram,
        program: ProgramStream,
        shared: &mut Shared<'_>,
    ) -> Action {
        let host = self.host.and_then(|host| shared.config.hosts.get(host));
        let on_truncation = host.map_or(OnTruncation::Eof, |host| host.on_truncation);
        let relay = Relay::new(
            awaiting.session,
            awaiting.stage,
            program,
            on_truncation,
            awaiting.to_program,
            awaiting.to_client,
        );
        self.state = State::Relay(Box::new(relay));
        self.restart_timeout(shared);
        let ready = Readiness {
            client_read: true,
            client_write: true,
            program_read: false,
            program_write: true,
        };
        self.advance(ready, shared)
    }

    /// Acts upon a step of the relay.
    pub(super) fn relayed(&mut self, status: RelayStatus, shared: &mut Shared<'_>) -> Action {
        let State::Relay(relay) = &self.state else {
            return Action::Wait;
        };
        let progress = relay.bytes != self.bytes || relay.lingers() != self.lingers;
        self.bytes = relay.bytes;
        self.lingers = relay.lingers();
        if progress {
            self.restart_timeout(shared);
        }
        match status {
            RelayStatus::Running => Action::Wait,
            RelayStatus::OutputEnded => Action::AskHowOutputEnded,
            RelayStatus::Killed(end, to_client) => {
                self.state = self.close(to_client, end, shared);
                self.advance(Readiness::default(), shared)
            }
            RelayStatus::Ended(end) => self.finish(end),
            RelayStatus::ClientVanished(end) => self.kill(end, shared),
            RelayStatus::BackendReset(to_client) => {
                self.state = self.close(to_client, End::BackendReset, shared);
                self.advance(Readiness::default(), shared)
            }
            RelayStatus::SessionFailed(failure, to_client) => {
                self.trace_failure(&failure, shared);
                let end = End::Tls(bounded(failure.reason));
                self.state = self.close(to_client, end, shared);
                self.advance(Readiness::default(), shared)
            }
        }
    }

    /// Has the command killed. A backend gets RST instead.
    fn kill(&mut self, end: End, shared: &Shared<'_>) -> Action {
        if let State::Relay(relay) = self.take_state() {
            let program = match relay.into_program() {
                ProgramStream::Backend(socket, _) => {
                    socket::reset(socket);
                    return self.finish(end);
                }
                program => program,
            };
            self.state = State::AwaitingKill(AwaitingKill { program, end });
        }
        self.deadline = shared.now.checked_add(shared.config.limits.linger);
        Action::KillCommand
    }

    /// Restarts the time limit `idle` or `linger`.
    fn restart_timeout(&mut self, shared: &Shared<'_>) {
        let limits = &shared.config.limits;
        let time = match &self.state {
            State::Relay(relay) if relay.lingers() => Some(limits.linger),
            _ => limits.idle,
        };
        self.deadline = time.and_then(|time| shared.now.checked_add(time));
    }
}
