//! What engines say of their clients, checked against what is known of them.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::Clients;
use super::client::{Client, Output, PlaintextSide};
use super::limits::{HostFull, LimitExceeded, Source};
use super::output::Knowledge;
use crate::message::{OutputEnd, Summary};
use crate::monitor::violation::Violation;
use crate::types::{ConnectionId, EngineId, HandshakeInfo, HostId};

/// The client of an open connection that an engine names.
///
/// Errors: the engine does not serve the connection, or the connection has ended.
fn open_client(
    clients: &mut HashMap<ConnectionId, Client>,
    engine: EngineId,
    id: ConnectionId,
) -> Result<&mut Client, Violation> {
    match clients.get_mut(&id) {
        None => Err(Violation::UnknownConnection(id)),
        Some(client) if client.engine != engine => Err(Violation::ForeignConnection(id)),
        Some(client) if !client.is_open() => Err(Violation::EndedConnection(id)),
        Some(client) => Ok(client),
    }
}

impl Clients {
    /// Takes the addresses of a PROXY header: the limits count its client from now on.
    ///
    /// Errors: the limit that the client is over.
    pub(in crate::monitor) fn proxy_header(
        &mut self,
        engine: EngineId,
        id: ConnectionId,
        addresses: Option<(SocketAddr, SocketAddr)>,
        now: Instant,
    ) -> Result<Result<(), LimitExceeded>, Violation> {
        let client = open_client(&mut self.clients, engine, id)?;
        if !std::mem::take(&mut client.awaits_header) {
            return Err(Violation::UnexpectedHeader(id));
        }
        let Some(addresses) = addresses else {
            return Ok(Ok(()));
        };
        let load_balancer = client.addresses.replace(addresses);
        client.load_balancer = load_balancer.map(|(peer, _)| peer);
        let source = Source::of(addresses.0.ip());
        let limits = &client.generation.config.limits;
        let admitted = (self.control).identify(source, limits, self.capacity, now);
        match admitted {
            Ok(()) => client.source = Some(source),
            Err(limit) => {
                (self.first_refusals).note(limit, Some(source), limits, self.capacity);
            }
        }
        Ok(admitted)
    }

    /// Asks a host that has a limit of its own to admit a client that has chosen it.
    ///
    /// Errors: the host has as many connections as it takes.
    pub(in crate::monitor) fn host_chosen(
        &mut self,
        engine: EngineId,
        id: ConnectionId,
        host: HostId,
    ) -> Result<Result<(), HostFull>, Violation> {
        let client = open_client(&mut self.clients, engine, id)?;
        if client.awaits_header {
            return Err(Violation::MissingHeader(id));
        }
        if client.plaintext != PlaintextSide::NotRequested {
            return Err(Violation::OpenedTwice(id));
        }
        let generation = &client.generation;
        let (Some(chosen), Some(key)) = (generation.host(host), generation.host_key(host)) else {
            return Err(Violation::UnknownHost(id, host));
        };
        let Some(most) = chosen.connections.filter(|_| client.admitted_to.is_none()) else {
            return Err(Violation::UnexpectedHost(id, host));
        };
        let admitted = self.control.enter_host(key, most);
        match admitted {
            Err(HostFull) => self.first_refusals.note_host(key, &chosen.label, most),
            Ok(()) => client.admitted_to = Some(host),
        }
        Ok(admitted)
    }

    /// Takes the result of a handshake, which took so many microseconds since accept. The client waits for
    /// its command or backend.
    pub(in crate::monitor) fn open(
        &mut self,
        engine: EngineId,
        id: ConnectionId,
        host: HostId,
        handshake: HandshakeInfo,
        handshake_us: u32,
    ) -> Result<&Client, Violation> {
        let client = open_client(&mut self.clients, engine, id)?;
        let Some(chosen) = client.generation.host(host) else {
            return Err(Violation::UnknownHost(id, host));
        };
        if client.awaits_header {
            return Err(Violation::MissingHeader(id));
        }
        if client.plaintext != PlaintextSide::NotRequested {
            return Err(Violation::OpenedTwice(id));
        }
        if !chosen.can_authenticate(&handshake) {
            return Err(Violation::ImpossibleIdentity(id, host));
        }
        if chosen.connections.is_some() && client.admitted_to != Some(host) {
            return Err(Violation::NotAdmitted(id, host));
        }
        client.host = Some(host);
        client.handshake = handshake;
        client.handshake_ms = Some(handshake_us / 1000);
        Ok(client)
    }

    /// Whether an engine may say how much a connection has moved.
    pub(in crate::monitor) fn check(
        &mut self,
        engine: EngineId,
        id: ConnectionId,
    ) -> Result<(), Violation> {
        open_client(&mut self.clients, engine, id).map(drop)
    }

    /// Takes the question how the output of a command has ended. `None`: the answer comes later.
    pub(in crate::monitor) fn output_ended(
        &mut self,
        engine: EngineId,
        id: ConnectionId,
        now: Instant,
    ) -> Result<Option<OutputEnd>, Violation> {
        let client = open_client(&mut self.clients, engine, id)?;
        if client.output != Output::Open {
            return Err(Violation::UnexpectedQuestion(id));
        }
        match client.output_end() {
            Knowledge::NoCommand => Err(Violation::UnexpectedQuestion(id)),
            Knowledge::Known(end) => {
                client.output = Output::Answered;
                Ok(Some(end))
            }
            Knowledge::Wait(time) => {
                client.output = Output::Asked;
                self.questions.add(id, now + time);
                Ok(None)
            }
        }
    }

    /// Kills the command of a client that has vanished.
    pub(in crate::monitor) fn kill(
        &mut self,
        engine: EngineId,
        id: ConnectionId,
    ) -> Result<(), Violation> {
        match self.clients.get(&id) {
            None => Err(Violation::UnknownConnection(id)),
            Some(client) if client.engine != engine => Err(Violation::ForeignConnection(id)),
            Some(client) if !client.kills_command() => Err(Violation::UnexpectedKill(id)),
            Some(client) => {
                client.kill_command();
                Ok(())
            }
        }
    }

    /// Takes what only an engine knows of a connection that it has closed. Returns the time until which the
    /// command may linger before the line is written.
    pub(in crate::monitor) fn closed(
        &mut self,
        engine: EngineId,
        id: ConnectionId,
        summary: &mut Summary,
        now: Instant,
    ) -> Result<Instant, Violation> {
        let client = open_client(&mut self.clients, engine, id)?;
        if client.plaintext == PlaintextSide::NotRequested {
            client.host = summary.host;
            client.handshake = summary.handshake.take().unwrap_or_default();
        }
        Ok(client.deadline(now))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use super::*;
    use crate::config::{self, CertificateSource, CommandLine, ConfigSource, Form, Options, Trace};
    use crate::message::End;
    use crate::monitor::generation::{Generations, TicketRotation};
    use crate::monitor::listeners::Incoming;
    use crate::types::{ListenerId, NewPrivileges};

    const ENGINE: EngineId = EngineId(7);
    const OTHER_ENGINE: EngineId = EngineId(8);

    fn first_host() -> HostId {
        HostId::new(0)
    }

    /// One client of [`ENGINE`], at a server whose one host has a certificate and no limit of its own.
    fn one_client() -> (Clients, ConnectionId) {
        let line = CommandLine {
            key_password: None,
            listen: vec!["127.0.0.1:0".into()],
            certificates: CertificateSource::SelfSigned("localhost".into()),
            psk: None,
            command: vec!["/bin/true".into()],
            new_privileges: NewPrivileges::Forbidden,
        };
        client_of(&ConfigSource::CommandLine(line))
    }

    /// One client of [`ENGINE`], at a server that expects PROXY headers and whose one host has pre-shared keys and a
    /// limit of its own.
    fn client_of_load_balancer() -> (Clients, ConnectionId) {
        let directory = tempfile::tempdir().unwrap();
        let (table, keys) = (directory.path().join("t.toml"), directory.path().join("k"));
        let toml = "[[listen]]\naddress = \"127.0.0.1:0\"\nproxy-protocol = true\nproxy-from = [\"unix\"]\n\
                    [[host]]\ndefault = true\npsk = \"k\"\nconnections = 1\nconnect = \"127.0.0.1:9\"\n";
        fs::write(&table, toml).unwrap();
        fs::write(&keys, "a:000102030405060708090a0b0c0d0e0f\n").unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
        client_of(&ConfigSource::File(table))
    }

    fn client_of(source: &ConfigSource) -> (Clients, ConnectionId) {
        let options = Options {
            log: None,
            level: None,
            remote_name: None,
            trace: Trace::Off,
            passed: None,
        };
        let loaded = config::load(source, Form::Server, &options);
        let config = loaded.map_err(|refusal| refusal.problems).unwrap().config;
        let now = Instant::now();
        let generations = Generations::new(config, TicketRotation::new(now).unwrap()).unwrap();
        let (socket, _) = UnixStream::pair().unwrap();
        let incoming = Incoming {
            socket: socket.into(),
            addresses: None,
        };
        let (mut clients, generation) = (Clients::new(10), Arc::clone(generations.current()));
        let listener = ListenerId::new(0);
        let id = clients.admit(listener, &incoming, ENGINE, &generation, now);
        (clients, id.unwrap())
    }

    fn open(clients: &mut Clients, id: ConnectionId) -> Result<(), Violation> {
        let opened = clients.open(ENGINE, id, first_host(), HandshakeInfo::default(), 1000);
        opened.map(drop)
    }

    #[test]
    fn an_engine_may_not_speak_of_a_connection_that_it_does_not_serve() {
        let (mut clients, id) = one_client();
        let unknown = ConnectionId(99);
        assert_eq!(clients.check(ENGINE, id), Ok(()));
        for (engine, id, violation) in [
            (ENGINE, unknown, Violation::UnknownConnection(unknown)),
            (OTHER_ENGINE, id, Violation::ForeignConnection(id)),
        ] {
            let now = Instant::now();
            assert_eq!(clients.check(engine, id), Err(violation));
            assert_eq!(clients.kill(engine, id), Err(violation));
            assert_eq!(clients.proxy_header(engine, id, None, now), Err(violation));
            assert_eq!(
                clients.host_chosen(engine, id, first_host()),
                Err(violation)
            );
            let info = HandshakeInfo::default();
            let opened = clients.open(engine, id, first_host(), info, 0).map(drop);
            assert_eq!(opened, Err(violation));
            let mut summary = Summary::unknown(End::Closed);
            let closed = clients.closed(engine, id, &mut summary, now).map(drop);
            assert_eq!(closed, Err(violation));
        }
    }

    #[test]
    fn an_engine_may_not_speak_of_a_connection_that_has_ended() {
        let (mut clients, id) = one_client();
        assert_eq!(open(&mut clients, id), Ok(()));
        let pid = nix::unistd::Pid::from_raw(i32::MAX);
        clients.command_started(id, pid, None);
        clients.end(id, Summary::unknown(End::Closed), Instant::now());
        assert_eq!(
            clients.check(ENGINE, id),
            Err(Violation::EndedConnection(id))
        );
        let mut summary = Summary::unknown(End::Closed);
        let closed = clients.closed(ENGINE, id, &mut summary, Instant::now());
        assert_eq!(closed.map(drop), Err(Violation::EndedConnection(id)));
    }

    #[test]
    fn an_engine_may_not_ask_for_what_the_configuration_does_not_have() {
        let (mut clients, id) = one_client();
        let no_host = HostId::new(1);
        let now = Instant::now();
        assert_eq!(
            clients.proxy_header(ENGINE, id, None, now),
            Err(Violation::UnexpectedHeader(id))
        );
        assert_eq!(
            clients.host_chosen(ENGINE, id, no_host),
            Err(Violation::UnknownHost(id, no_host))
        );
        assert_eq!(
            clients.host_chosen(ENGINE, id, first_host()),
            Err(Violation::UnexpectedHost(id, first_host()))
        );
        assert_eq!(clients.kill(ENGINE, id), Err(Violation::UnexpectedKill(id)));
        let info = HandshakeInfo::default();
        let opened = clients.open(ENGINE, id, no_host, info, 0).map(drop);
        assert_eq!(opened, Err(Violation::UnknownHost(id, no_host)));
        let info = HandshakeInfo {
            psk_identity: Some(b"root".to_vec().try_into().unwrap()),
            ..HandshakeInfo::default()
        };
        let opened = clients.open(ENGINE, id, first_host(), info, 0).map(drop);
        assert_eq!(opened, Err(Violation::ImpossibleIdentity(id, first_host())));
    }

    #[test]
    fn an_engine_may_ask_once_how_the_output_of_a_command_has_ended() {
        let (mut clients, id) = one_client();
        let now = Instant::now();
        let unexpected = Err(Violation::UnexpectedQuestion(id));
        assert_eq!(clients.output_ended(ENGINE, id, now), unexpected);
        assert_eq!(open(&mut clients, id), Ok(()));
        clients.command_started(id, nix::unistd::Pid::from_raw(i32::MAX), None);
        // Nothing is known of this process.
        assert_eq!(clients.output_ended(ENGINE, id, now), Ok(None));
        assert_eq!(clients.output_ended(ENGINE, id, now), unexpected);
        assert!(clients.due().is_some());
        assert_eq!(clients.answer(id), Some((ENGINE, OutputEnd::Whole)));
        assert_eq!(clients.answer(id), None);
    }

    #[test]
    fn an_engine_may_not_open_a_connection_twice() {
        let (mut clients, id) = one_client();
        assert_eq!(open(&mut clients, id), Ok(()));
        clients.set_plaintext(id, PlaintextSide::Dialling);
        assert_eq!(open(&mut clients, id), Err(Violation::OpenedTwice(id)));
    }

    #[test]
    fn an_engine_has_to_report_the_proxy_header_and_to_ask_for_admission_once_each() {
        let (mut clients, id) = client_of_load_balancer();
        let (host, now) = (first_host(), Instant::now());
        let info = || HandshakeInfo {
            psk_identity: Some(b"a".to_vec().try_into().unwrap()),
            ..HandshakeInfo::default()
        };
        let missing = Err(Violation::MissingHeader(id));
        assert_eq!(clients.host_chosen(ENGINE, id, host), missing.map(Ok));
        let opened = clients.open(ENGINE, id, host, info(), 0).map(drop);
        assert_eq!(opened, missing);

        assert_eq!(clients.proxy_header(ENGINE, id, None, now), Ok(Ok(())));
        let again = clients.proxy_header(ENGINE, id, None, now);
        assert_eq!(again, Err(Violation::UnexpectedHeader(id)));

        let opened = clients.open(ENGINE, id, host, info(), 0).map(drop);
        assert_eq!(opened, Err(Violation::NotAdmitted(id, host)));
        assert_eq!(clients.host_chosen(ENGINE, id, host), Ok(Ok(())));
        let again = clients.host_chosen(ENGINE, id, host);
        assert_eq!(again, Err(Violation::UnexpectedHost(id, host)));
        let opened = clients.open(ENGINE, id, host, info(), 0).map(drop);
        assert_eq!(opened, Ok(()));
    }

    #[test]
    fn a_violation_names_the_connection_as_the_log_does() {
        let id = ConnectionId(5);
        let expected = format!("connection {}.5 has ended", std::process::id());
        assert_eq!(Violation::EndedConnection(id).to_string(), expected);
    }
}
