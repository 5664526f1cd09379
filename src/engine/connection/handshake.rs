//! `ClientHello`, choice of the host, and handshake.
#![forbid(unsafe_code)]

use rustls::AlertDescription;

use super::Connection;
use super::state::{AwaitingHost, AwaitingProgram, Handshake, Hello, State};
use crate::config::RouteError;
use crate::engine::relay::CHUNK;
use crate::engine::{Scratch, Shared};
use crate::message::{End, bounded};
use crate::process::socket::{self, Fin, Read};
use crate::tls::alert;
use crate::tls::hello::{ClientHello, HelloError, Progress};
use crate::tls::profile::Profile;
use crate::tls::session::{Failure, Stage};
use crate::types::{Buffer, HandshakeInfo, HostId};

impl Connection {
    /// Reads bytes of the `ClientHello`.
    pub(super) fn hello(&mut self, mut hello: Hello, shared: &mut Shared<'_>) -> State {
        let input = &mut shared.scratch.input;
        input.clear();
        let room = input.room(CHUNK);
        match socket::receive(&self.socket, room) {
            Read::WouldBlock => return State::Hello(hello),
            Read::Broken => return State::Ended(End::Reset),
            Read::Eof if hello.bytes.is_empty() => return State::Ended(End::Closed),
            Read::Eof => return State::Ended(End::Truncated),
            Read::Bytes(length) => hello
                .bytes
                .extend_from_slice(room.get(..length).unwrap_or_default()),
        }
        self.silent = false;
        self.parse_hello(hello, shared)
    }

    /// Parses the bytes of the `ClientHello` so far, and chooses the host once it is complete.
    pub(super) fn parse_hello(&mut self, mut hello: Hello, shared: &mut Shared<'_>) -> State {
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

    /// Chooses the host.
    fn route(&mut self, hello: ClientHello, bytes: Vec<u8>, shared: &mut Shared<'_>) -> State {
        self.handshake_info
            .server_name
            .clone_from(&hello.server_name);
        // The hosts speak TLS 1.2 and later, whatever the client asks for.
        if let Some(reason) = hello.refused_version(&Profile::default().spoken()) {
            return self.fail(reason, Some(AlertDescription::ProtocolVersion), shared);
        }
        let hosts = &shared.config.hosts;
        let name = hello.server_name.as_ref();
        let route = match hello.unfit_name {
            Some(_) => hosts.route_unfit(self.listener, &hello.alpn),
            None => hosts.route(self.listener, name, &hello.alpn),
        };
        let route = match route {
            Ok(route) => route,
            Err(RouteError::UnfitName) => {
                let error = HelloError::InvalidServerName;
                return self.fail(error.to_string(), error.alert(), shared);
            }
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
        self.unfit_name.clone_from(&hello.unfit_name);
        let host = shared.config.hosts.get(route.host);
        match host.is_some_and(|host| host.connections.is_some()) {
            true => State::AwaitingHost(Box::new(AwaitingHost {
                host: route.host,
                hello,
                bytes,
            })),
            false => self.begin_handshake(route.host, &hello, &bytes, shared),
        }
    }

    /// Begins the handshake of a host with a `ClientHello`.
    pub(super) fn begin_handshake(
        &mut self,
        host: HostId,
        hello: &ClientHello,
        bytes: &[u8],
        shared: &mut Shared<'_>,
    ) -> State {
        let spoken = (shared.config.hosts.get(host)).map(|host| host.profile.spoken());
        if let Some(reason) = spoken.and_then(|spoken| hello.refused_version(&spoken)) {
            return self.fail(reason, Some(AlertDescription::ProtocolVersion), shared);
        }
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
        self.process_input(&mut handshake, shared).map_or_else(
            |state| state,
            |stage| self.after_input(handshake, stage, shared),
        )
    }

    /// Continues the handshake.
    pub(super) fn handshake(&mut self, mut handshake: Handshake, shared: &mut Shared<'_>) -> State {
        if socket::flush(&self.socket, &mut handshake.to_client, Fin::NotYet).is_err() {
            return State::Ended(End::Reset);
        }
        let input = &mut shared.scratch.input;
        handshake.session.begin(input);
        let room = input.room(CHUNK);
        match socket::receive(&self.socket, room) {
            Read::WouldBlock => return State::Handshake(handshake),
            Read::Broken => return State::Ended(End::Reset),
            Read::Eof => return State::Ended(End::Truncated),
            Read::Bytes(length) => input.filled_by(length),
        }
        self.process_input(&mut handshake, shared).map_or_else(
            |state| state,
            |stage| self.after_input(handshake, stage, shared),
        )
    }

    /// Gives the session the bytes of the input buffer, and the client the answer of the session.
    ///
    /// Errors: the next state, as the connection has failed.
    fn process_input(
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
        handshake.session.update_info(&mut self.handshake_info);
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
                Err(State::Ended(End::Reset))
            }
            Ok(stage) => Ok(stage),
        }
    }

    /// The next state, after the session has reached this stage.
    fn after_input(
        &mut self,
        handshake: Handshake,
        stage: Stage,
        shared: &mut Shared<'_>,
    ) -> State {
        if stage == Stage::Handshake {
            return State::Handshake(handshake);
        }
        shared.trace(self.id, || describe(&self.handshake_info));
        // The time that the monitor takes is no fault of the client.
        self.deadline = None;
        let mut to_program = Buffer::default();
        to_program.append(shared.scratch.plaintext.filled());
        State::AwaitingProgram(AwaitingProgram {
            host: handshake.host,
            session: handshake.session,
            stage,
            to_program,
            to_client: handshake.to_client,
        })
    }

    /// Ends a connection that has no session, with an alert in plaintext.
    pub(super) fn fail(
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

    /// Traces the failure of a session.
    pub(super) fn trace_failure(&self, failure: &Failure, shared: &mut Shared<'_>) {
        shared.trace(self.id, || match failure.alert {
            Some(alert) => format!("alert sent: {}: {}", alert::name(alert), failure.reason),
            None => failure.reason.clone(),
        });
    }
}

/// The line of `-D` for a complete handshake.
fn describe(info: &HandshakeInfo) -> String {
    use crate::tls::names::{group_name, suite_name, version_name};
    let or_none = |value: Option<&str>| value.unwrap_or("none").to_owned();
    format!(
        "handshake done: version {}, suite {}, group {}, server name {}, alpn {}, psk identity {}, resumed {}",
        or_none(info.version.and_then(version_name)),
        or_none(info.suite.and_then(suite_name).as_deref()),
        or_none(info.group.and_then(group_name)),
        or_none(info.server_name.as_ref().map(|name| name.as_str())),
        or_none(info.alpn.as_deref()),
        or_none(
            info.psk_identity
                .as_ref()
                .map(ToString::to_string)
                .as_deref()
        ),
        info.resumed.unwrap_or_default(),
    )
}
