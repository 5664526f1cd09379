//! One connection: PROXY header, `ClientHello`, handshake, relay, end.
#![forbid(unsafe_code)]

mod closing;
mod handshake;
mod proxy_header;
mod relaying;
mod state;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::program::ProgramStream;
use super::relay::ByteCounts;
use super::{Readiness, Shared};
use crate::message::{End, OutputEnd, Summary, Traffic};
use crate::types::{ConnectionId, HandshakeInfo, HostId, ListenerId, UnfitName};
use state::{AwaitingProgram, Hello, State};

/// A connection, from accept to the last byte.
pub(super) struct Connection {
    id: ConnectionId,
    socket: OwnedFd,
    listener: ListenerId,
    accepted: Instant,
    /// End of the time limit of the current state.
    pub(super) deadline: Option<Instant>,
    host: Option<HostId>,
    handshake_info: HandshakeInfo,
    /// The name that the client asked for, if no host can have it.
    unfit_name: Option<UnfitName>,
    state: State,
    /// Plaintext bytes that were relayed until the last step.
    bytes: ByteCounts,
    /// Whether one side had ended by the last step, so that `linger` counts instead of `idle`.
    lingers: bool,
    /// Whether the client has sent nothing, or a PROXY header without addresses alone.
    silent: bool,
}

/// What the event loop has to do for a connection.
pub(super) enum Action {
    /// Wait for the next event.
    Wait,
    /// Tell the monitor the client's address, and the address that it connected to.
    ReportProxyHeader {
        addresses: Option<(SocketAddr, SocketAddr)>,
    },
    /// Ask the monitor whether the host admits the connection.
    RequestAdmission { host: HostId },
    /// Ask the monitor for the host's program.
    RequestProgram {
        host: HostId,
        handshake: HandshakeInfo,
        /// Time from accept to the end of the handshake.
        duration: Duration,
    },
    /// Ask the monitor how the output of the command has ended.
    AskHowOutputEnded,
    /// Tell the monitor to kill the command.
    KillCommand,
    /// Close the connection, and send this summary to the monitor.
    Close(Summary),
}

impl Connection {
    /// A connection that has just been accepted.
    pub(super) fn new(
        id: ConnectionId,
        socket: OwnedFd,
        listener: ListenerId,
        shared: &Shared<'_>,
    ) -> Self {
        Self {
            id,
            socket,
            listener,
            accepted: shared.now,
            deadline: shared.now.checked_add(shared.config.limits.handshake),
            host: None,
            handshake_info: HandshakeInfo::default(),
            unfit_name: None,
            state: match shared.config.listener(listener) {
                Some(listener) if listener.proxy_from.is_some() => State::ProxyHeader(Vec::new()),
                _ => State::Hello(Hello::new(Vec::new())),
            },
            bytes: ByteCounts::default(),
            lingers: false,
            silent: true,
        }
    }

    /// The traffic so far.
    pub(super) fn traffic(&self) -> Traffic {
        let bytes = match &self.state {
            State::Relay(relay) => relay.bytes,
            _ => self.bytes,
        };
        Traffic {
            id: self.id,
            received: bytes.received,
            sent: bytes.sent,
        }
    }

    /// Does what can be done without waiting.
    pub(super) fn advance(&mut self, ready: Readiness, shared: &mut Shared<'_>) -> Action {
        let state = match &mut self.state {
            State::Relay(relay) => {
                let status = relay.advance(&self.socket, ready, &mut shared.scratch);
                return self.relayed(status, shared);
            }
            state => std::mem::replace(state, State::Ended(End::Closed)),
        };
        let awaited_program = matches!(state, State::AwaitingProgram(_));
        let awaited_host = matches!(state, State::AwaitingHost(_));
        self.state = match state {
            State::ProxyHeader(bytes) => match self.proxy_header(bytes, shared) {
                Ok((state, addresses)) => {
                    self.state = state;
                    return Action::ReportProxyHeader { addresses };
                }
                Err(state) => state,
            },
            State::Admitted(hello) => self.parse_hello(hello, shared),
            State::Hello(hello) => self.hello(hello, shared),
            State::Handshake(handshake) => self.handshake(handshake, shared),
            State::AwaitingKill(awaiting) => awaiting.advance(&mut shared.scratch),
            State::Closing(closing) => self.closing(closing, shared),
            other => other,
        };
        match &self.state {
            State::AwaitingHost(awaiting) if !awaited_host => Action::RequestAdmission {
                host: awaiting.host,
            },
            State::AwaitingProgram(awaiting) if !awaited_program => Action::RequestProgram {
                host: awaiting.host,
                handshake: self.handshake_info.clone(),
                duration: shared.now.duration_since(self.accepted),
            },
            State::Ended(end) => Action::Close(self.summary(end.clone())),
            _ => Action::Wait,
        }
    }

    /// The monitor admits the connection.
    pub(super) fn admitted(&mut self, shared: &mut Shared<'_>) -> Action {
        self.state = match self.take_state() {
            State::AwaitingAdmission(bytes) => State::Admitted(Hello::new(bytes)),
            State::AwaitingHost(awaiting) => {
                self.begin_handshake(awaiting.host, &awaiting.hello, &awaiting.bytes, shared)
            }
            other => {
                self.state = other;
                return Action::Wait;
            }
        };
        self.advance(Readiness::default(), shared)
    }

    /// The monitor has started the command, or connected to a backend.
    pub(super) fn opened(&mut self, program: ProgramStream, shared: &mut Shared<'_>) -> Action {
        match self.take_state() {
            State::AwaitingProgram(awaiting) => self.begin_relay(awaiting, program, shared),
            other => {
                self.state = other;
                Action::Wait
            }
        }
    }

    /// The monitor says how the output of the command has ended.
    pub(super) fn output_ended(&mut self, how: OutputEnd, shared: &mut Shared<'_>) -> Action {
        let State::Relay(relay) = &mut self.state else {
            return Action::Wait;
        };
        let status = relay.output_ended(how, &self.socket, &mut shared.scratch);
        self.relayed(status, shared)
    }

    /// The monitor refuses the connection, or has no program for it.
    pub(super) fn refused(&mut self, shared: &mut Shared<'_>) -> Action {
        match self.take_state() {
            State::AwaitingHost(_) | State::AwaitingAdmission(_) => self.finish(End::Refused),
            State::AwaitingProgram(mut awaiting) => {
                let AwaitingProgram {
                    session, to_client, ..
                } = &mut awaiting;
                let ciphertext = &mut shared.scratch.ciphertext;
                ciphertext.clear();
                session.close(ciphertext);
                to_client.append(ciphertext.filled());
                self.state = self.close(awaiting.to_client, End::NoProgram, shared);
                self.advance(Readiness::default(), shared)
            }
            other => {
                self.state = other;
                Action::Wait
            }
        }
    }

    /// The deadline has passed.
    pub(super) fn expire(&mut self, shared: &mut Shared<'_>) -> Action {
        match self.take_state() {
            State::Relay(relay) => {
                let (end, to_client) = relay.expire(&mut shared.scratch);
                self.state = self.close(to_client, end, shared);
                self.advance(Readiness::default(), shared)
            }
            State::Closing(closing) => self.finish(closing.end),
            State::AwaitingKill(awaiting) => self.finish(awaiting.end),
            _ => self.finish(End::Timeout),
        }
    }

    /// The readiness that the connection waits for.
    pub(super) fn awaited(&self) -> Readiness {
        let none = Readiness::default();
        match &self.state {
            State::ProxyHeader(_) | State::Hello(_) => Readiness {
                client_read: true,
                ..none
            },
            State::Handshake(handshake) => Readiness {
                client_read: handshake.to_client.is_empty(),
                client_write: !handshake.to_client.is_empty(),
                ..none
            },
            State::AwaitingAdmission(_)
            | State::Admitted(_)
            | State::AwaitingHost(_)
            | State::AwaitingProgram(_)
            | State::Ended(_) => none,
            State::Relay(relay) => relay.awaited(),
            State::AwaitingKill(_) => Readiness {
                program_read: true,
                ..none
            },
            State::Closing(closing) => Readiness {
                client_read: closing.fin_sent,
                client_write: !closing.to_client.is_empty(),
                ..none
            },
        }
    }

    /// The client's socket.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The program's descriptors, if the connection has any.
    pub(super) fn program(&self) -> Option<&ProgramStream> {
        match &self.state {
            State::Relay(relay) => Some(relay.program()),
            State::AwaitingKill(awaiting) => Some(&awaiting.program),
            _ => None,
        }
    }

    /// The state, which the caller replaces.
    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Ended(End::Closed))
    }

    fn finish(&mut self, end: End) -> Action {
        self.state = State::Ended(end.clone());
        Action::Close(self.summary(end))
    }

    fn summary(&self, end: End) -> Summary {
        Summary {
            host: self.host,
            handshake: Some(self.handshake_info.clone()),
            unfit_name: self.unfit_name.clone(),
            received: self.bytes.received,
            sent: self.bytes.sent,
            silent: self.silent,
            end,
        }
    }
}
