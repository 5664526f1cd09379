//! Session resumption across engines, with a rustls client.

use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use tlssrv::tls::tickets::{TicketKeyRing, TicketKeys};

use crate::peers::configs;

#[test]
fn a_session_resumes_at_its_own_host_on_any_engine() {
    for version in rustls::ALL_VERSIONS {
        let mut keys = TicketKeys::generate().unwrap();
        let [engine, other_engine] = [(); 2].map(|()| TicketKeyRing::new(&keys).unwrap());
        let peers = Peers::new(version);

        let handshake = |ring, host| peers.handshake(ring, host);
        assert_eq!(handshake(&engine, HOST), HandshakeKind::Full);
        assert_eq!(handshake(&engine, HOST), HandshakeKind::Resumed);
        assert_eq!(handshake(&other_engine, HOST), HandshakeKind::Resumed);

        keys.rotate().unwrap();
        other_engine.set(&keys).unwrap();
        assert_eq!(handshake(&other_engine, HOST), HandshakeKind::Resumed);
    }
}

#[test]
fn a_session_does_not_resume_at_another_host() {
    for version in rustls::ALL_VERSIONS {
        let ring = TicketKeyRing::new(&TicketKeys::generate().unwrap()).unwrap();
        let peers = Peers::new(version);
        assert_eq!(peers.handshake(&ring, HOST), HandshakeKind::Full);
        assert_eq!(peers.handshake(&ring, OTHER_HOST), HandshakeKind::Full);
    }
}

#[test]
fn a_session_does_not_resume_after_two_rotations() {
    for version in rustls::ALL_VERSIONS {
        let mut keys = TicketKeys::generate().unwrap();
        let ring = TicketKeyRing::new(&keys).unwrap();
        let peers = Peers::new(version);
        assert_eq!(peers.handshake(&ring, HOST), HandshakeKind::Full);
        keys.rotate().unwrap();
        keys.rotate().unwrap();
        ring.set(&keys).unwrap();
        assert_eq!(peers.handshake(&ring, HOST), HandshakeKind::Full);
    }
}

const HOST: [u8; 32] = [1; 32];
const OTHER_HOST: [u8; 32] = [2; 32];

/// A client that keeps its tickets, and servers for it, all of one certificate.
struct Peers {
    client: Arc<ClientConfig>,
    server: ServerConfig,
}

impl Peers {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let (client, server) = configs(version, None);
        Self {
            client: Arc::new(client),
            server,
        }
    }

    /// Connects to a host of an engine.
    fn handshake(&self, ring: &TicketKeyRing, host: [u8; 32]) -> HandshakeKind {
        let mut config = self.server.clone();
        config.ticketer = ring.ticketer(host);
        let mut server = ServerConnection::new(Arc::new(config)).unwrap();
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(self.client.clone(), name).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut flight = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut flight).unwrap();
            }
            server.read_tls(&mut &flight[..]).unwrap();
            server.process_new_packets().unwrap();
            flight.clear();
            while server.wants_write() {
                server.write_tls(&mut flight).unwrap();
            }
            client.read_tls(&mut &flight[..]).unwrap();
            client.process_new_packets().unwrap();
        }
        assert_eq!(client.handshake_kind(), server.handshake_kind());
        server.handshake_kind().unwrap()
    }
}
