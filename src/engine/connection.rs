//! The story of one connection: hello, route, handshake, open, relay, close.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustls::AlertDescription;

use super::io::{self, Read, Written};
use super::relay::{CHUNK, Moved, Plain, Relay, Turn, shutdown_write};
use super::{Ready, Scratch, Shared, Wanted};
use crate::config::{OnTruncation, Unrouted};
use crate::message::{End, Facts, Id, Report, bounded};
use crate::tls::alert;
use crate::tls::buffer::Buffer;
use crate::tls::hello::{ClientHello, HelloReader, Progress};
use crate::tls::session::{Failure, Session, Stage};

/// How long a client whose handshake failed may take to notice, so that no RST eats the alert.
const DRAIN: Duration = Duration::from_secs(2);

/// A client, from accept to the last byte.
pub(super) struct Connection {
    pub(super) id: Id,
    socket: OwnedFd,
    listener: usize,
    accepted: Instant,
    /// When it has to have moved on.
    pub(super) deadline: Option<Instant>,
    host: Option<usize>,
    facts: Facts,
    state: State,
    moved: Moved,
    lingers: bool,
}

enum State {
    Hello(Hello),
    Handshake(Handshake),
    Opening(Opening),
    Relay(Box<Relay>),
    Closing(Closing),
    /// Nothing is left to do; the report is due.
    Over(End),
}

/// The first flight is not complete.
struct Hello {
    reader: HelloReader,
    bytes: Vec<u8>,
}

/// A host is chosen, and rustls at work.
struct Handshake {
    session: Box<Session>,
    to_client: Buffer,
}

/// The handshake is complete; the monitor starts the command.
struct Opening {
    session: Box<Session>,
    stage: Stage,
    to_command: Buffer,
    to_client: Buffer,
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
    /// Ask the monitor for the host's program.
    Open {
        host: usize,
        facts: Facts,
        handshake: Duration,
    },
    /// Tell the monitor that it is over.
    Close(Report),
}

impl Connection {
    /// A client that has just been accepted.
    pub(super) fn new(id: Id, socket: OwnedFd, listener: usize, shared: &Shared<'_>) -> Self {
        Self {
            id,
            socket,
            listener,
            accepted: shared.now,
            deadline: shared.now.checked_add(shared.config.limits.handshake),
            host: None,
            facts: Facts::default(),
            state: State::Hello(Hello {
                reader: HelloReader::new(),
                bytes: Vec::new(),
            }),
            moved: Moved::default(),
            lingers: false,
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
        self.state = match state {
            State::Hello(hello) => self.hello(hello, shared),
            State::Handshake(handshake) => self.handshake(handshake, shared),
            State::Closing(closing) => self.closing(closing, shared),
            other => other,
        };
        match &self.state {
            State::Opening(_) if !was_opening => Next::Open {
                host: self.host.unwrap_or_default(),
                facts: self.facts.clone(),
                handshake: shared.now.duration_since(self.accepted),
            },
            State::Over(end) => Next::Close(self.report(end.clone())),
            _ => Next::Wait,
        }
    }

    /// Reads the first flight, and chooses the host.
    fn hello(&mut self, mut hello: Hello, shared: &mut Shared<'_>) -> State {
        let input = &mut shared.scratch.input;
        input.clear();
        let room = input.room(CHUNK);
        match io::receive(&self.socket, room) {
            Read::Nothing => return State::Hello(hello),
            Read::Broken => return State::Over(End::Reset),
            Read::End if hello.bytes.is_empty() => return State::Over(End::Closed),
            Read::End => return State::Over(End::Truncated),
            Read::Bytes(n) => hello
                .bytes
                .extend_from_slice(room.get(..n).unwrap_or_default()),
        }
        let client_hello = match hello.reader.read(&hello.bytes) {
            Ok(Progress::NeedMore(reader)) => {
                hello.reader = reader;
                return State::Hello(hello);
            }
            Ok(Progress::Complete(client_hello)) => client_hello,
            Err(e) => {
                let reason = e.to_string();
                return self.fail(reason, e.alert(), shared);
            }
        };
        shared.trace(self.id, || format!("hello: {client_hello}"));
        self.route(&client_hello, &hello.bytes, shared)
    }

    /// Finds the host, and lets rustls see the hello.
    fn route(&mut self, hello: &ClientHello, bytes: &[u8], shared: &mut Shared<'_>) -> State {
        self.facts.server_name.clone_from(&hello.server_name);
        let route = match shared
            .config
            .hosts
            .route(self.listener, hello.server_name.as_ref())
        {
            Ok(route) => route,
            Err(Unrouted::UnknownName) => {
                let alert = Some(AlertDescription::UnrecognisedName);
                return self.fail("no host has this name".to_owned(), alert, shared);
            }
            // RFC 8446 §9.2: "Servers requiring this extension SHOULD respond to a ClientHello lacking a
            // "server_name" extension by terminating the connection with a "missing_extension" alert."
            Err(Unrouted::MissingName) => {
                let alert = Some(AlertDescription::MissingExtension);
                return self.fail("the client sent no server name".to_owned(), alert, shared);
            }
        };
        self.host = Some(route.host);
        let session = shared.acceptors.get(route.host).cloned().map(Session::new);
        let Some(Ok(session)) = session else {
            return self.fail(
                "this host cannot serve".to_owned(),
                Some(AlertDescription::InternalError),
                shared,
            );
        };
        let mut handshake = Handshake {
            session: Box::new(session),
            to_client: Buffer::default(),
        };
        let input = &mut shared.scratch.input;
        input.clear();
        input.append(bytes);
        self.advance(&mut handshake, shared)
            .map_or_else(|state| state, |stage| self.after(handshake, stage, shared))
    }

    fn handshake(&mut self, mut handshake: Handshake, shared: &mut Shared<'_>) -> State {
        if !flush(&self.socket, &mut handshake.to_client) {
            return State::Over(End::Reset);
        }
        let input = &mut shared.scratch.input;
        handshake.session.begin(input);
        let room = input.room(CHUNK);
        match io::receive(&self.socket, room) {
            Read::Nothing => return State::Handshake(handshake),
            Read::Broken => return State::Over(End::Reset),
            Read::End => return State::Over(End::Truncated),
            Read::Bytes(n) => input.filled_by(n),
        }
        self.advance(&mut handshake, shared)
            .map_or_else(|state| state, |stage| self.after(handshake, stage, shared))
    }

    /// Gives rustls what is in the input buffer, and the client what rustls answers.
    ///
    /// Errors: the state to go to instead.
    fn advance(
        &mut self,
        handshake: &mut Handshake,
        shared: &mut Shared<'_>,
    ) -> Result<Stage, State> {
        let Scratch {
            input,
            plaintext,
            ciphertext,
        } = &mut shared.scratch;
        plaintext.clear();
        ciphertext.clear();
        let result = handshake.session.receive(input, plaintext, ciphertext);
        handshake.session.tell(&mut self.facts);
        handshake.to_client.append(ciphertext.filled());
        match result {
            Err(failure) => {
                self.trace_failure(&failure, shared);
                let end = End::Handshake(bounded(failure.error.to_string()));
                let to_client = std::mem::take(&mut handshake.to_client);
                Err(self.close(to_client, end, shared))
            }
            Ok(_) if !flush(&self.socket, &mut handshake.to_client) => Err(State::Over(End::Reset)),
            Ok(stage) => Ok(stage),
        }
    }

    fn after(&mut self, handshake: Handshake, stage: Stage, shared: &mut Shared<'_>) -> State {
        if stage == Stage::Handshake {
            return State::Handshake(handshake);
        }
        shared.trace(self.id, || established(&self.facts));
        // From here on it is the monitor's turn, and no fault of the client's.
        self.deadline = None;
        let mut to_command = Buffer::default();
        to_command.append(shared.scratch.plaintext.filled());
        State::Opening(Opening {
            session: handshake.session,
            stage,
            to_command,
            to_client: handshake.to_client,
        })
    }

    /// The monitor has started the command.
    pub(super) fn opened(&mut self, command: Plain, shared: &mut Shared<'_>) -> Next {
        match std::mem::replace(&mut self.state, State::Over(End::Closed)) {
            State::Opening(o) => {
                let relay = Relay::new(o.session, o.stage, command, o.to_command, o.to_client);
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

    /// The monitor could not start the command.
    pub(super) fn refused(&mut self, shared: &mut Shared<'_>) -> Next {
        match std::mem::replace(&mut self.state, State::Over(End::Closed)) {
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
        let kill = || {
            let host = self.host.and_then(|host| shared.config.hosts.get(host));
            host.is_some_and(|host| host.on_truncation == OnTruncation::Kill)
        };
        match turn {
            Turn::Over(end) => self.finish(end),
            Turn::On if relay.is_truncated() && kill() => self.finish(End::Truncated),
            Turn::On => {
                if moved {
                    self.rearm(shared);
                }
                Next::Wait
            }
            Turn::Failed(failure, to_client) => {
                self.trace_failure(&failure, shared);
                let end = End::Tls(bounded(failure.error.to_string()));
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
            _ => self.finish(End::Timeout),
        }
    }

    /// What to wait for.
    pub(super) fn wanted(&self) -> Wanted {
        let (client, client_takes) = match &self.state {
            State::Hello(_) => (true, false),
            State::Handshake(h) => (h.to_client.is_empty(), !h.to_client.is_empty()),
            State::Opening(_) | State::Over(_) => (false, false),
            State::Relay(relay) => return relay.wanted(),
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

    /// The relay, where the connection is that far.
    pub(super) fn relay(&self) -> Option<&Relay> {
        match &self.state {
            State::Relay(relay) => Some(relay),
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

    /// Sends the last bytes and FIN, and waits for the client's FIN.
    fn close(&mut self, to_client: Buffer, end: End, shared: &Shared<'_>) -> State {
        let drained = shared.now + DRAIN;
        self.deadline = Some(match end {
            End::Handshake(_) => self.deadline.map_or(drained, |d| d.min(drained)),
            _ => drained,
        });
        let closing = Closing {
            to_client,
            fin_sent: false,
            end,
        };
        self.closing_turn(closing)
    }

    fn closing(&mut self, closing: Closing, shared: &mut Shared<'_>) -> State {
        let State::Closing(closing) = self.closing_turn(closing) else {
            return State::Over(End::Reset);
        };
        if !closing.fin_sent {
            return State::Closing(closing);
        }
        // What still comes is read and dropped; an endless sender meets the deadline.
        shared.scratch.input.clear();
        match io::receive(&self.socket, shared.scratch.input.room(CHUNK)) {
            Read::Bytes(_) | Read::Nothing => State::Closing(closing),
            Read::End | Read::Broken => State::Over(closing.end),
        }
    }

    fn closing_turn(&self, mut closing: Closing) -> State {
        if !flush(&self.socket, &mut closing.to_client) {
            return State::Over(closing.end);
        }
        if closing.to_client.is_empty() && !closing.fin_sent {
            if shutdown_write(&self.socket).is_err() {
                return State::Over(closing.end);
            }
            closing.fin_sent = true;
        }
        State::Closing(closing)
    }

    fn finish(&mut self, end: End) -> Next {
        self.state = State::Over(end.clone());
        Next::Close(self.report(end))
    }

    fn report(&self, end: End) -> Report {
        Report {
            host: self.host.and_then(|host| host.try_into().ok()),
            facts: Some(self.facts.clone()),
            received: self.moved.up,
            sent: self.moved.down,
            end,
        }
    }

    fn trace_failure(&self, failure: &Failure, shared: &mut Shared<'_>) {
        shared.trace(self.id, || match failure.alert {
            Some(alert) => format!("alert sent: {}: {}", alert::name(alert), failure.error),
            None => failure.error.to_string(),
        });
    }
}

/// Sends what waits, as far as the client takes it; `false`: the client is gone.
fn flush(socket: &OwnedFd, waiting: &mut Buffer) -> bool {
    if waiting.is_empty() {
        return true;
    }
    match io::transmit(socket, waiting.filled()) {
        Written::Broken => false,
        Written::Bytes(n) => {
            waiting.consume_and_free(n);
            true
        }
    }
}

fn established(facts: &Facts) -> String {
    use crate::environment::{group_name, suite_name, version_name};
    let or_none = |value: Option<&str>| value.unwrap_or("none").to_owned();
    format!(
        "handshake done: version {}, suite {}, group {}, server name {}, alpn {}, resumed {}",
        or_none(facts.version.and_then(version_name)),
        or_none(facts.suite.and_then(suite_name).as_deref()),
        or_none(facts.group.and_then(group_name)),
        or_none(facts.server_name.as_ref().map(|name| name.as_str())),
        or_none(facts.alpn.as_deref()),
        facts.resumed.unwrap_or_default(),
    )
}
