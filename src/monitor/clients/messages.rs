//! What engines say of their clients, checked against what is known of them.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::time::Instant;

use super::Clients;
use super::client::{Client, PlaintextSide};
use super::limits::{HostFull, LimitExceeded, Source};
use crate::message::Summary;
use crate::monitor::violation::Violation;
use crate::types::{ConnectionId, EngineId, HandshakeInfo, HostId};

impl Clients {
    /// The open connection that an engine speaks of.
    ///
    /// Errors: the engine may not speak of it.
    fn of(&mut self, engine: EngineId, id: ConnectionId) -> Result<&mut Client, Violation> {
        let client = self.clients.get_mut(&id);
        match client {
            None => Err(Violation::UnknownConnection(id)),
            Some(client) if client.engine != engine => Err(Violation::ForeignConnection(id)),
            Some(client) if !client.is_open() => Err(Violation::EndedConnection(id)),
            Some(client) => Ok(client),
        }
    }

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
        let client = self.of(engine, id)?;
        if !std::mem::take(&mut client.awaits_header) {
            return Err(Violation::UnexpectedHeader(id));
        }
        let Some(addresses) = addresses else {
            return Ok(Ok(()));
        };
        let load_balancer = client.addresses.replace(addresses);
        client.load_balancer = load_balancer.map(|(peer, _)| peer);
        let source = Source::of(addresses.0.ip());
        let generation = client.generation.clone();
        let limits = &generation.config.limits;
        let admitted = self.control.identify(source, limits, now);
        if admitted.is_ok() {
            self.of(engine, id)?.source = Some(source);
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
        let client = self.of(engine, id)?;
        if client.awaits_header {
            return Err(Violation::MissingHeader(id));
        }
        if client.plaintext != PlaintextSide::NotRequested {
            return Err(Violation::OpenedTwice(id));
        }
        let generation = client.generation.clone();
        let (Some(chosen), Some(key)) = (generation.host(host), generation.host_key(host)) else {
            return Err(Violation::UnknownHost(id, host));
        };
        let Some(most) = chosen.connections.filter(|_| client.admitted_to.is_none()) else {
            return Err(Violation::UnexpectedHost(id, host));
        };
        let admitted = self.control.enter_host(key, most);
        if admitted.is_ok() {
            self.of(engine, id)?.admitted_to = Some(host);
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
        let client = self.of(engine, id)?;
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
        self.of(engine, id).map(drop)
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
        let client = self.of(engine, id)?;
        if client.plaintext == PlaintextSide::NotRequested {
            client.host = summary.host;
            client.handshake = summary.handshake.take().unwrap_or_default();
        }
        Ok(client.deadline(now))
    }
}
