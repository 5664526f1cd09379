//! A client and a server connected in memory, and a session between them.

use std::io::Write;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, ClientConnection, ContentType, Error, SignatureAlgorithm,
    SupportedCipherSuite, SupportedProtocolVersion,
};
use tlssrv::tls::alert::{after_error, send_fatal};

use crate::peers::{configs, substitute};

/// A client, a server, and the bytes between them.
pub(crate) struct Peers {
    pub(crate) version: &'static SupportedProtocolVersion,
    pub(crate) client: ClientConnection,
    pub(crate) server: UnbufferedServerConnection,
    /// What rustls has not yet taken of what the server has received.
    pub(crate) input: Vec<u8>,
    /// What the server has sent that the client has not yet received.
    pub(crate) to_client: Vec<u8>,
    /// Type and length of the records that the client has received since it was connected.
    pub(crate) records_to_client: Vec<(u8, usize)>,
    /// What the server has read.
    pub(crate) plaintext: Vec<u8>,
    /// How the server's session failed.
    pub(crate) error: Option<Error>,
    /// The alert that ended it.
    pub(crate) sent: Option<AlertDescription>,
}

impl Peers {
    pub(crate) fn new(suite: SupportedCipherSuite) -> Self {
        let (client, server) = configs(suite.version(), Some(suite));
        let name = "localhost".try_into().unwrap();
        Self {
            version: suite.version(),
            client: ClientConnection::new(Arc::new(client), name).unwrap(),
            server: UnbufferedServerConnection::new(Arc::new(server)).unwrap(),
            input: Vec::new(),
            to_client: Vec::new(),
            records_to_client: Vec::new(),
            plaintext: Vec::new(),
            error: None,
            sent: None,
        }
    }

    pub(crate) fn connected(suite: SupportedCipherSuite) -> Self {
        let mut peers = Self::new(suite);
        while peers.client.is_handshaking() || peers.client.wants_write() {
            peers.deliver();
            assert_eq!(peers.deliver_to_client(), None);
            assert_eq!(peers.error, None);
        }
        assert!(!peers.server.is_handshaking());
        peers.records_to_client.clear();
        peers
    }

    /// Has the client send records of these types and contents, with its keys.
    pub(crate) fn send(&mut self, records: impl IntoIterator<Item = (u8, Vec<u8>)>) {
        let records: Vec<_> = records.into_iter().collect();
        for record in records {
            substitute([record]);
            self.client.writer().write_all(b"substituted").unwrap();
        }
    }

    /// What the client has to send.
    pub(crate) fn flight(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut flight).unwrap();
        }
        flight
    }

    pub(crate) fn deliver(&mut self) {
        let flight = self.flight();
        self.deliver_to_server(flight);
    }

    /// Passes bytes to a session and handles the result.
    pub(crate) fn deliver_to_server(&mut self, flight: Vec<u8>) {
        self.input.extend(flight);
        while self.error.is_none() {
            let UnbufferedStatus { discard, state } =
                self.server.process_tls_records(&mut self.input);
            let (mut blocked, mut failed) = (false, None);
            match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                        panic!("a record of no bytes");
                    };
                    let start = self.to_client.len();
                    self.to_client.resize(start + size.required_size, 0);
                    data.encode(&mut self.to_client[start..]).unwrap();
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::ReadTraffic(mut data)) => {
                    while let Some(record) = data.next_record() {
                        self.plaintext.extend_from_slice(record.unwrap().payload);
                    }
                }
                Ok(ConnectionState::PeerClosed) => {}
                Ok(_) => blocked = true,
                Err(error) => failed = Some(error),
            }
            self.input.drain(..discard);
            if let Some(error) = failed {
                self.sent = after_error(
                    &mut self.server,
                    &error,
                    &mut self.input,
                    &mut self.to_client,
                );
                self.error = Some(error);
            }
            if blocked {
                break;
            }
        }
    }

    pub(crate) fn send_fatal(&mut self, description: AlertDescription) {
        send_fatal(
            &mut self.server,
            description,
            &mut self.input,
            &mut self.to_client,
        );
    }

    /// Gives the client what the server has sent; the error that it meets.
    pub(crate) fn deliver_to_client(&mut self) -> Option<Error> {
        let mut rest = &self.to_client[..];
        while let [typ, _, _, high, low, after @ ..] = rest {
            let len = usize::from(u16::from_be_bytes([*high, *low]));
            self.records_to_client.push((*typ, len));
            rest = &after[len..];
        }
        let sent = std::mem::take(&mut self.to_client);
        let mut sent = &sent[..];
        while !sent.is_empty() {
            self.client.read_tls(&mut sent).unwrap();
            if let Err(error) = self.client.process_new_packets() {
                assert!(sent.is_empty(), "more after {error}");
                return Some(error);
            }
        }
        None
    }

    /// Fails unless the client can read this alert, and gets nothing after it.
    pub(crate) fn client_reads(&mut self, description: AlertDescription) {
        assert_eq!(
            self.deliver_to_client(),
            Some(Error::AlertReceived(description))
        );
    }

    /// Fails unless the bytes on their way to the server end the session with an alert that the client can read.
    pub(crate) fn fails(&mut self) -> Error {
        self.deliver();
        let error = self.error.clone().unwrap();
        self.client_reads(self.sent.unwrap());
        error
    }

    pub(crate) fn ends(&mut self, error: impl Into<Error>, description: AlertDescription) {
        assert_eq!(self.fails(), error.into());
        assert_eq!(self.sent, Some(description));
    }

    /// The type of the records that alerts are in, once there are keys.
    pub(crate) fn type_of_alerts(&self) -> u8 {
        let hidden = self.version == &TLS13;
        let typ = if hidden {
            ContentType::ApplicationData
        } else {
            ContentType::Alert
        };
        typ.into()
    }
}

/// The suites of a version that the ECDSA certificate of the server allows.
pub(crate) fn suites(version: &SupportedProtocolVersion) -> Vec<SupportedCipherSuite> {
    let suites = all_suites().into_iter();
    suites.filter(|suite| suite.version() == version).collect()
}

pub(crate) fn all_suites() -> Vec<SupportedCipherSuite> {
    let ecdsa = SignatureAlgorithm::ECDSA;
    let suites = ALL_CIPHER_SUITES.iter().copied();
    suites
        .filter(|suite| suite.usable_for_signature_algorithm(ecdsa))
        .collect()
}
