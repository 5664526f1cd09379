//! The story of one connection: hello, route, handshake, open, relay, close.
#![forbid(unsafe_code)]

mod closing;
mod handshake;
mod proxied;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustls::AlertDescription;

use super::program::ProgramStream;
use super::relay::{Moved, Relay, Turn};
use super::{Ready, Shared, Wanted};
use crate::config::OnTruncation;
use crate::message::{self, End, Summary, bounded};
use crate::process::socket;
use crate::tls::alert;
use crate::tls::hello::{ClientHello, HelloReader};
use crate::tls::session::{Failure, Session, Stage};
use crate::types::{Buffer, ConnectionId, HandshakeInfo, HostId, ListenerId};
use closing::await_death;

/// How long a client whose handshake failed may take to notice, so that no RST eats the alert.
const DRAIN: Duration = Duration::from_secs(2);

/// A client, from accept to the last byte.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    socket: OwnedFd,
    listener: ListenerId,
    accepted: Instant,
    /// When it has to have moved on.
    pub(super) deadline: Option<Instant>,
    host: Option<HostId>,
    facts: HandshakeInfo,
    state: State,
    moved: Moved,
    lingers: bool,
}

enum State {
    Proxied(Proxied),
    Vouched(Vec<u8>),
    /// Whose first bytes came with the header.
    Admitted(Hello),
    Hello(Hello),
    Asking(Box<Asking>),
    Handshake(Handshake),
    Opening(Opening),
    Relay(Box<Relay>),
    Cut(Cut),
    Closing(Closing),
    /// Nothing is left to do; the report is due.
    Over(End),
}

/// The PROXY header is not complete. Once it is, the monitor is told whom it vouches for, and the client's
/// own first bytes wait.
struct Proxied {
    bytes: Vec<u8>,
}

/// The first flight is not complete.
struct Hello {
    reader: HelloReader,
    bytes: Vec<u8>,
}

/// A host is chosen that has a limit of its own; the monitor says whether it has room.
struct Asking {
    host: HostId,
    hello: ClientHello,
    bytes: Vec<u8>,
}

/// A host is chosen, and its TLS at work.
struct Handshake {
    host: HostId,
    session: Box<Session>,
    to_client: Buffer,
}

/// The handshake is complete; the monitor starts the command.
struct Opening {
    host: HostId,
    session: Box<Session>,
    stage: Stage,
    to_command: Buffer,
    to_client: Buffer,
}

/// The client has vanished, and the monitor kills the command; until that is dead its side stays open,
/// so that it never takes the end of the connection for the end of its input.
struct Cut {
    command: ProgramStream,
    end: End,
}

/// The last bytes, FIN, and then a bounded wait for the client's FIN.
struct Closing {
    to_client: Buffer,
    fin_sent: bool,
    end: End,
}

/// What the engine is to do after a turn.
pub(super) enum Next {
    /// Wait.
    Wait,
    /// Tell the monitor who the client is.
    Proxied {
        addresses: Option<(SocketAddr, SocketAddr)>,
    },
    /// Ask the monitor whether the host has room.
    Ask { host: HostId },
    /// Ask the monitor for the host's program.
    Open {
        host: HostId,
        facts: HandshakeInfo,
        handshake: Duration,
    },
    /// Tell the monitor to kill the command.
    Kill,
    /// Tell the monitor that it is over.
    Close(Summary),
}

impl Connection {
    /// A client that has just been accepted.
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
            facts: HandshakeInfo::default(),
            state: match shared.config.listener(listener) {
                Some(listener) if listener.proxy_from.is_some() => {
                    State::Proxied(Proxied { bytes: Vec::new() })
                }
                _ => State::Hello(Hello::with(Vec::new())),
            },
            moved: Moved::default(),
            lingers: false,
        }
    }

    /// How much it has moved so far.
    pub(super) fn report_moved(&self) -> message::Traffic {
        let moved = match &self.state {
            State::Relay(relay) => relay.moved,
            _ => self.moved,
        };
        message::Traffic {
            id: self.id,
            received: moved.up,
            sent: moved.down,
        }
    }

    /// Does what can be done without waiting.
    pub(super) fn turn(&mut self, ready: Ready, shared: &mut Shared<'_>) -> Next {
        let state = match &mut self.state {
            State::Relay(relay) => {
                let turn = relay.turn(&self.socket, ready, &mut shared.scratch);
                return self.relayed(turn, shared);
            }
            state => std::mem::replace(state, State::Over(End::Closed)),
        };
        let was_opening = matches!(state, State::Opening(_));
        let was_asking = matches!(state, State::Asking(_));
        self.state = match state {
            State::Proxied(proxied) => match self.proxied(proxied, shared) {
                Ok((state, addresses)) => {
                    self.state = state;
                    return Next::Proxied { addresses };
                }
                Err(state) => state,
            },
            State::Admitted(hello) => self.greeted(hello, shared),
            State::Hello(hello) => self.hello(hello, shared),
            State::Handshake(handshake) => self.handshake(handshake, shared),
            State::Cut(cut) => await_death(cut, &mut shared.scratch),
            State::Closing(closing) => self.closing(closing, shared),
            other => other,
        };
        match &self.state {
            State::Asking(asking) if !was_asking => Next::Ask { host: asking.host },
            State::Opening(opening) if !was_opening => Next::Open {
                host: opening.host,
                facts: self.facts.clone(),
                handshake: shared.now.duration_since(self.accepted),
            },
            State::Over(end) => Next::Close(self.report(end.clone())),
            _ => Next::Wait,
        }
    }

    /// The host has room.
    pub(super) fn admitted(&mut self, shared: &mut Shared<'_>) -> Next {
        match std::mem::replace(&mut self.state, State::Over(End::Closed)) {
            State::Vouched(bytes) => {
                self.state = State::Admitted(Hello::with(bytes));
                self.turn(Ready::default(), shared)
            }
            State::Asking(asking) => {
                self.state = self.begin(asking.host, &asking.hello, &asking.bytes, shared);
                self.turn(Ready::default(), shared)
            }
            other => {
                self.state = other;
                Next::Wait
            }
        }
    }

    /// The monitor has started the command.
    pub(super) fn opened(&mut self, command: ProgramStream, shared: &mut Shared<'_>) -> Next {
        match std::mem::replace(&mut self.state, State::Over(End::Closed)) {
            State::Opening(o) => {
                let host = self.host.and_then(|host| shared.config.hosts.get(host));
                let on_truncation = host.map_or(OnTruncation::Eof, |host| host.on_truncation);
                let relay = Relay::new(
                    o.session,
                    o.stage,
                    command,
                    on_truncation,
                    o.to_command,
                    o.to_client,
                );
                self.state = State::Relay(Box::new(relay));
                self.rearm(shared);
                self.turn(
                    Ready {
                        client: true,
                        client_takes: true,
                        command_takes: true,
                        command: false,
                    },
                    shared,
                )
            }
            other => {
                self.state = other;
                Next::Wait
            }
        }
    }

    /// The monitor could not start the command, or the host has no room.
    pub(super) fn refused(&mut self, shared: &mut Shared<'_>) -> Next {
        match std::mem::replace(&mut self.state, State::Over(End::Closed)) {
            State::Asking(_) | State::Vouched(_) => self.finish(End::Refused),
            State::Opening(mut opening) => {
                shared.scratch.ciphertext.clear();
                opening.session.close(&mut shared.scratch.ciphertext);
                opening.to_client.append(shared.scratch.ciphertext.filled());
                self.state = self.close(opening.to_client, End::Launch, shared);
                self.turn(Ready::default(), shared)
            }
            other => {
                self.state = other;
                Next::Wait
            }
        }
    }

    fn relayed(&mut self, turn: Turn, shared: &mut Shared<'_>) -> Next {
        let State::Relay(relay) = &self.state else {
            return Next::Wait;
        };
        let moved = relay.moved != self.moved || relay.lingers() != self.lingers;
        self.moved = relay.moved;
        self.lingers = relay.lingers();
        match turn {
            Turn::Over(end) => self.finish(end),
            Turn::Cut(end) => {
                if let State::Relay(relay) =
                    std::mem::replace(&mut self.state, State::Over(End::Closed))
                {
                    let command = match relay.into_command() {
                        ProgramStream::Backend(socket, _) => {
                            socket::reset(socket);
                            return self.finish(end);
                        }
                        command => command,
                    };
                    self.state = State::Cut(Cut { command, end });
                }
                let linger = shared.config.limits.linger;
                self.deadline = shared.now.checked_add(linger);
                Next::Kill
            }
            Turn::On => {
                if moved {
                    self.rearm(shared);
                }
                Next::Wait
            }
            Turn::Torn(to_client) => {
                self.state = self.close(to_client, End::Backend, shared);
                self.turn(Ready::default(), shared)
            }
            Turn::Failed(failure, to_client) => {
                self.trace_failure(&failure, shared);
                let end = End::Tls(bounded(failure.reason));
                self.state = self.close(to_client, end, shared);
                self.turn(Ready::default(), shared)
            }
        }
    }

    /// Starts the idle or linger time anew.
    fn rearm(&mut self, shared: &Shared<'_>) {
        let limits = &shared.config.limits;
        let time = match &self.state {
            State::Relay(relay) if relay.lingers() => Some(limits.linger),
            _ => limits.idle,
        };
        self.deadline = time.and_then(|time| shared.now.checked_add(time));
    }

    /// Its deadline has passed.
    pub(super) fn expire(&mut self, shared: &mut Shared<'_>) -> Next {
        match std::mem::replace(&mut self.state, State::Over(End::Timeout)) {
            State::Relay(relay) => {
                let (end, to_client) = relay.expire(&mut shared.scratch);
                self.state = self.close(to_client, end, shared);
                self.turn(Ready::default(), shared)
            }
            State::Closing(closing) => self.finish(closing.end),
            State::Cut(cut) => self.finish(cut.end),
            _ => self.finish(End::Timeout),
        }
    }

    /// What to wait for.
    pub(super) fn wanted(&self) -> Wanted {
        let (client, client_takes) = match &self.state {
            State::Proxied(_) | State::Hello(_) => (true, false),
            State::Handshake(h) => (h.to_client.is_empty(), !h.to_client.is_empty()),
            State::Vouched(_)
            | State::Admitted(_)
            | State::Asking(_)
            | State::Opening(_)
            | State::Over(_) => (false, false),
            State::Relay(relay) => return relay.wanted(),
            State::Cut(_) => {
                return Wanted {
                    command: true,
                    ..Wanted::default()
                };
            }
            State::Closing(closing) => (closing.fin_sent, !closing.to_client.is_empty()),
        };
        Wanted {
            client,
            client_takes,
            command: false,
            command_takes: false,
        }
    }

    /// The client's socket.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The command's side, where the connection has one.
    pub(super) fn command(&self) -> Option<&ProgramStream> {
        match &self.state {
            State::Relay(relay) => Some(relay.command()),
            State::Cut(cut) => Some(&cut.command),
            _ => None,
        }
    }

    /// Ends a handshake that rustls has not seen, with a plaintext alert.
    fn fail(
        &mut self,
        reason: String,
        alert: Option<AlertDescription>,
        shared: &mut Shared<'_>,
    ) -> State {
        let mut to_client = Buffer::default();
        if let Some(description) = alert {
            shared.trace(self.id, || {
                format!("alert sent: {}", alert::name(description))
            });
            to_client.append(&alert::alert_record(description));
        }
        self.close(to_client, End::Handshake(bounded(reason)), shared)
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = State::Over(end.clone());
        Next::Close(self.report(end))
    }

    fn report(&self, end: End) -> Summary {
        Summary {
            host: self.host,
            handshake: Some(self.facts.clone()),
            received: self.moved.up,
            sent: self.moved.down,
            end,
        }
    }

    fn trace_failure(&self, failure: &Failure, shared: &mut Shared<'_>) {
        shared.trace(self.id, || match failure.alert {
            Some(alert) => format!("alert sent: {}: {}", alert::name(alert), failure.reason),
            None => failure.reason.clone(),
        });
    }
}
