//! From a connection's first byte to the end of its handshake.
#![forbid(unsafe_code)]

use rustls::AlertDescription;

use super::{Asking, Connection, Handshake, Hello, Opening, State};
use crate::config::RouteError;
use crate::engine::relay::CHUNK;
use crate::engine::{Scratch, Shared};
use crate::message::{End, bounded};
use crate::process::socket::{self, Fin, Read};
use crate::tls::hello::{ClientHello, HelloReader, Progress};
use crate::tls::session::Stage;
use crate::types::{Buffer, HandshakeInfo, HostId};

impl Hello {
    /// One that begins with these bytes.
    pub(super) fn with(bytes: Vec<u8>) -> Self {
        Self {
            reader: HelloReader::new(),
            bytes,
        }
    }
}

impl Connection {
    /// Reads the first flight, and chooses the host.
    pub(super) fn hello(&mut self, mut hello: Hello, shared: &mut Shared<'_>) -> State {
        let input = &mut shared.scratch.input;
        input.clear();
        let room = input.room(CHUNK);
        match socket::receive(&self.socket, room) {
            Read::WouldBlock => return State::Hello(hello),
            Read::Broken => return State::Over(End::Reset),
            Read::Eof if hello.bytes.is_empty() => return State::Over(End::Closed),
            Read::Eof => return State::Over(End::Truncated),
            Read::Bytes(n) => hello
                .bytes
                .extend_from_slice(room.get(..n).unwrap_or_default()),
        }
        self.greeted(hello, shared)
    }

    /// Sees whether the first flight is complete.
    pub(super) fn greeted(&mut self, mut hello: Hello, shared: &mut Shared<'_>) -> State {
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
        self.route(client_hello, hello.bytes, shared)
    }

    /// Finds the host, and whether it has room.
    fn route(&mut self, hello: ClientHello, bytes: Vec<u8>, shared: &mut Shared<'_>) -> State {
        self.facts.server_name.clone_from(&hello.server_name);
        let route =
            match shared
                .config
                .hosts
                .route(self.listener, hello.server_name.as_ref(), &hello.alpn)
            {
                Ok(route) => route,
                Err(RouteError::UnknownName) => {
                    let alert = Some(AlertDescription::UnrecognisedName);
                    return self.fail("no host has this name".to_owned(), alert, shared);
                }
                // RFC 8446 §9.2: "Servers requiring this extension SHOULD respond to a ClientHello lacking a
                // "server_name" extension by terminating the connection with a "missing_extension" alert."
                Err(RouteError::MissingName) => {
                    let alert = Some(AlertDescription::MissingExtension);
                    return self.fail("the client sent no server name".to_owned(), alert, shared);
                }
                Err(RouteError::NoProtocol { only }) => {
                    self.host = only;
                    let alert = Some(AlertDescription::NoApplicationProtocol);
                    let reason = "no host of this name has a protocol that the client offers";
                    return self.fail(reason.to_owned(), alert, shared);
                }
            };
        self.host = Some(route.host);
        let host = shared.config.hosts.get(route.host);
        match host.is_some_and(|host| host.connections.is_some()) {
            true => State::Asking(Box::new(Asking {
                host: route.host,
                hello,
                bytes,
            })),
            false => self.begin(route.host, &hello, &bytes, shared),
        }
    }

    /// Lets the host's TLS see the hello.
    pub(super) fn begin(
        &mut self,
        host: HostId,
        hello: &ClientHello,
        bytes: &[u8],
        shared: &mut Shared<'_>,
    ) -> State {
        let acceptor = shared.acceptors.get(host.index());
        let Some(session) = acceptor.and_then(|acceptor| acceptor.session(hello)) else {
            return self.fail(
                "this host cannot serve".to_owned(),
                Some(AlertDescription::InternalError),
                shared,
            );
        };
        let mut handshake = Handshake {
            host,
            session: Box::new(session),
            to_client: Buffer::default(),
        };
        let input = &mut shared.scratch.input;
        input.clear();
        input.append(bytes);
        self.advance(&mut handshake, shared)
            .map_or_else(|state| state, |stage| self.after(handshake, stage, shared))
    }

    pub(super) fn handshake(&mut self, mut handshake: Handshake, shared: &mut Shared<'_>) -> State {
        if socket::flush(&self.socket, &mut handshake.to_client, Fin::NotYet).is_err() {
            return State::Over(End::Reset);
        }
        let input = &mut shared.scratch.input;
        handshake.session.begin(input);
        let room = input.room(CHUNK);
        match socket::receive(&self.socket, room) {
            Read::WouldBlock => return State::Handshake(handshake),
            Read::Broken => return State::Over(End::Reset),
            Read::Eof => return State::Over(End::Truncated),
            Read::Bytes(n) => input.filled_by(n),
        }
        self.advance(&mut handshake, shared)
            .map_or_else(|state| state, |stage| self.after(handshake, stage, shared))
    }

    /// Gives the session what is in the input buffer, and the client what it answers.
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
                let end = End::Handshake(bounded(failure.reason));
                let to_client = std::mem::take(&mut handshake.to_client);
                Err(self.close(to_client, end, shared))
            }
            Ok(_)
                if socket::flush(&self.socket, &mut handshake.to_client, Fin::NotYet).is_err() =>
            {
                Err(State::Over(End::Reset))
            }
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
            host: handshake.host,
            session: handshake.session,
            stage,
            to_command,
            to_client: handshake.to_client,
        })
    }
}

fn established(facts: &HandshakeInfo) -> String {
    use crate::tls::names::{group_name, suite_name, version_name};
    let or_none = |value: Option<&str>| value.unwrap_or("none").to_owned();
    format!(
        "handshake done: version {}, suite {}, group {}, server name {}, alpn {}, psk identity {}, resumed {}",
        or_none(facts.version.and_then(version_name)),
        or_none(facts.suite.and_then(suite_name).as_deref()),
        or_none(facts.group.and_then(group_name)),
        or_none(facts.server_name.as_ref().map(|name| name.as_str())),
        or_none(facts.alpn.as_deref()),
        or_none(
            facts
                .psk_identity
                .as_ref()
                .map(ToString::to_string)
                .as_deref()
        ),
        facts.resumed.unwrap_or_default(),
    )
}
