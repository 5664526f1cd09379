//! A TLS session: it turns ciphertext into plaintext and back, and owns no descriptor.
//!
//! The unbuffered interface of rustls decrypts in the caller's buffer and has no buffer of its own. The PSK
//! engine works the same way. So an idle session needs memory for its keys and little else.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{AlertDescription, HandshakeKind, ServerConfig};

use super::client::Verifier;
use super::disguise::Disguise;
use super::records::{record_length, whole_records};
pub use super::stage::Stage;
use super::{alert, psk, transcript, words};
use crate::types::{Buffer, HandshakeInfo};

/// Bytes of a record besides its plaintext: header, content type, explicit nonce and tag.
const RECORD_OVERHEAD: usize = 5 + 1 + 8 + 16;
/// Plaintext bytes in a full record (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;
/// Room for what goes out before a record of ours, such as a KeyUpdate.
const HEADROOM: usize = 1024;

/// One TLS session, from the first byte of its ClientHello on.
pub struct Session {
    engine: Engine,
    /// Ciphertext that the TLS implementation still needs, or that is not yet a whole record.
    pending: Vec<u8>,
    /// Bytes of `pending` that the TLS implementation has seen. It gets whole records only.
    seen: usize,
    /// Whether `close_notify` is sent. No alert may follow it.
    closed: bool,
    /// Verifier of the client's certificate.
    clients: Option<Arc<Verifier>>,
    /// Whether the certificate of a resumed session is verified.
    is_verified: bool,
    /// Disguise of the ClientHello, until the handshake is complete.
    disguise: Option<Box<Disguise>>,
}

/// The TLS implementation of a session.
#[expect(
    clippy::large_enum_variant,
    reason = "who keeps sessions has them in boxes"
)]
enum Engine {
    Certificates(UnbufferedServerConnection),
    Psk(psk::ServerConnection),
}

/// Error that ends a session.
#[derive(Debug)]
pub struct Failure {
    /// What was wrong, and on which side.
    pub reason: String,
    /// The alert for the peer; `None`: none is sent, as in answer to an alert.
    pub alert: Option<AlertDescription>,
}

impl Session {
    /// Begins a session in which the server has a certificate. `clients`: the verifier of client certificates, the
    /// same as in the configuration; `None`: the host asks for none.
    ///
    /// Errors: rustls cannot use the configuration.
    pub fn certificates(
        config: Arc<ServerConfig>,
        clients: Option<Arc<Verifier>>,
    ) -> Result<Self, rustls::Error> {
        let tls = UnbufferedServerConnection::new(config)?;
        Ok(Self {
            clients,
            ..Self::with(Engine::Certificates(tls))
        })
    }

    /// The same session for a client whose server name is no DNS name, which rustls is not shown.
    #[must_use]
    pub fn without_name(self) -> Self {
        Self {
            disguise: Some(Box::new(Disguise::new())),
            ..self
        }
    }

    /// Begins a session in which both sides authenticate with a pre-shared key.
    pub fn psk(config: Arc<psk::Config>) -> Self {
        Self::with(Engine::Psk(psk::ServerConnection::new(config)))
    }

    fn with(engine: Engine) -> Self {
        Self {
            engine,
            pending: Vec::new(),
            seen: 0,
            closed: false,
            clients: None,
            is_verified: false,
            disguise: None,
        }
    }

    /// Copies the rest of earlier ciphertext into `input`. The caller appends new ciphertext.
    pub fn begin(&self, input: &mut Buffer) {
        input.clear();
        input.append(&self.pending);
    }

    /// Processes ciphertext: `input` as [`Session::begin`] left it, followed by new ciphertext. It appends
    /// plaintext to `plaintext`, and answers (handshake messages, for example) to `ciphertext`.
    ///
    /// Errors: the peer or tlssrv made a mistake. The session is over then, and `ciphertext` ends
    /// with the alert of the [`Failure`], if it has one.
    pub fn receive(
        &mut self,
        input: &mut Buffer,
        plaintext: &mut Buffer,
        ciphertext: &mut Buffer,
    ) -> Result<Stage, Failure> {
        let unseen = whole_records(input.filled().get(self.seen..).unwrap_or_default());
        let whole = self.seen + self.hide_name(input, unseen);
        let mut start = 0;
        self.pending = Vec::new();
        let mut turn = || loop {
            let records = input.filled_mut().get_mut(start..whole).unwrap_or_default();
            let (discard, result) = match &mut self.engine {
                Engine::Certificates(tls) => step(tls, records, plaintext, ciphertext),
                Engine::Psk(connection) => step_psk(connection, records, plaintext, ciphertext),
            };
            start += discard;
            if let Some(result) = result.transpose() {
                return result;
            }
        };
        let result = turn().and_then(|stage| {
            if !matches!(stage, Stage::Handshake) {
                self.verify_resumed()?;
            }
            Ok(stage)
        });
        transcript::put_back(None);
        (self.disguise).take_if(|_| !matches!(result, Ok(Stage::Handshake)));
        let rest = input.filled().get(start..).unwrap_or_default();
        match result {
            // Data after close_notify is ignored (RFC 8446 §6.1).
            Ok(Stage::PeerClosed) => {
                self.seen = 0;
                Ok(Stage::PeerClosed)
            }
            Ok(stage) => {
                self.pending.extend_from_slice(rest);
                self.seen = whole - start;
                Ok(stage)
            }
            Err(error) => {
                let reason = Verifier::take_refusal_reason().unwrap_or_else(|| error.to_string());
                let alert = match self.closed {
                    true => None,
                    false => self.alert(&error, rest.get(..whole - start), ciphertext),
                };
                Err(Failure { reason, alert })
            }
        }
    }

    /// Hides the server name if need be. Returns how many to show of `unseen`, the bytes of whole records not yet seen.
    fn hide_name(&mut self, input: &mut Buffer, unseen: usize) -> usize {
        let Some(disguise) = &mut self.disguise else {
            return unseen;
        };
        let records = self.seen..self.seen + unseen;
        let shown = disguise.apply(input.filled_mut().get_mut(records).unwrap_or_default());
        transcript::put_back(disguise.retyped());
        shown
    }

    /// Verifies the client's certificate in a resumed session, which brings it along. The certificate or its CRL
    /// may have expired since, so this happens before any plaintext is passed on.
    fn verify_resumed(&mut self) -> Result<(), Error> {
        let (Some(clients), Engine::Certificates(tls)) = (&self.clients, &self.engine) else {
            return Ok(());
        };
        let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        if std::mem::replace(&mut self.is_verified, true) || !is_resumed {
            return Ok(());
        }
        let chain = tls.peer_certificates().unwrap_or_default();
        clients.verify_resumed(chain).map_err(Error::Certificates)
    }

    /// Sends the alert for an error. `rest`: input that the TLS implementation has not discarded.
    fn alert(
        &mut self,
        error: &Error,
        rest: Option<&[u8]>,
        ciphertext: &mut Buffer,
    ) -> Option<AlertDescription> {
        match (&mut self.engine, error) {
            (Engine::Certificates(tls), Error::Certificates(error)) => {
                let mut records = Vec::new();
                let mut rest = rest.unwrap_or_default().to_vec();
                let alert = alert::after_error(tls, error, &mut rest, &mut records);
                ciphertext.append(&records);
                alert
            }
            (Engine::Psk(connection), Error::Psk(error)) => connection.fail(error, ciphertext),
            _ => None,
        }
    }

    /// Encrypts all of the plaintext and appends it to `ciphertext`.
    ///
    /// Errors: the keys are used up and the version cannot renew them. No alert is sent.
    pub fn send(&mut self, plaintext: &[u8], ciphertext: &mut Buffer) -> Result<(), Failure> {
        let result = match &mut self.engine {
            Engine::Psk(connection) => connection.send(plaintext, ciphertext).map_err(Error::Psk),
            Engine::Certificates(_) => {
                let records = plaintext.len().div_ceil(RECORD);
                let room = plaintext.len() + records * RECORD_OVERHEAD + HEADROOM;
                let encrypt =
                    |traffic: &mut Traffic<'_>, out: &mut [u8]| traffic.encrypt(plaintext, out);
                self.write(ciphertext, room, encrypt)
                    .map_err(Error::Certificates)
            }
        };
        result.map_err(|error| Failure {
            reason: error.to_string(),
            alert: None,
        })
    }

    /// Closes the sending side with `close_notify` (RFC 8446 §6.1). Nothing can be sent afterwards.
    pub fn close(&mut self, ciphertext: &mut Buffer) {
        self.closed = true;
        match &mut self.engine {
            Engine::Psk(connection) => connection.close(ciphertext),
            Engine::Certificates(_) => {
                // This only fails before the handshake is complete, and then no close_notify is due.
                let _ = self.write(ciphertext, HEADROOM, |traffic, out| {
                    traffic.queue_close_notify(out)
                });
            }
        }
    }

    fn write(
        &mut self,
        ciphertext: &mut Buffer,
        mut room: usize,
        mut encrypt: impl FnMut(&mut Traffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), rustls::Error> {
        let Self {
            engine: Engine::Certificates(tls),
            pending,
            seen,
            ..
        } = self
        else {
            return Err(rustls::Error::HandshakeNotComplete);
        };
        loop {
            let records = pending.get_mut(..*seen).unwrap_or_default();
            match tls.process_tls_records(records).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    match encrypt(&mut traffic, ciphertext.room(room)) {
                        Ok(written) => {
                            ciphertext.filled_by(written);
                            return Ok(());
                        }
                        Err(EncryptError::InsufficientSize(e)) => room = e.required_size,
                        Err(EncryptError::EncryptExhausted) => {
                            return Err(rustls::Error::EncryptError);
                        }
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    if let Err(EncodeError::InsufficientSize(e)) = data
                        .encode(ciphertext.room(room))
                        .map(|n| ciphertext.filled_by(n))
                    {
                        room = e.required_size;
                    }
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => {}
                _ => return Err(rustls::Error::HandshakeNotComplete),
            }
        }
    }

    /// Copies the results of the handshake so far to `info`.
    pub fn update_info(&self, info: &mut HandshakeInfo) {
        let tls = match &self.engine {
            Engine::Certificates(tls) => tls,
            Engine::Psk(connection) => return connection.update_info(info),
        };
        info.version = tls.protocol_version().map(Into::into);
        info.suite = tls.negotiated_cipher_suite().map(|s| s.suite().into());
        info.group = tls.negotiated_key_exchange_group().map(|g| g.name().into());
        info.resumed = tls.handshake_kind().map(|k| k == HandshakeKind::Resumed);
        let alpn = tls.alpn_protocol();
        info.alpn = alpn.and_then(|p| String::from_utf8(p.to_vec()).ok());
        let leaf = tls.peer_certificates().and_then(<[_]>::first);
        if info.client.is_none() {
            let clients = leaf.zip(self.clients.as_ref());
            let facts = clients.and_then(|(leaf, clients)| clients.facts(leaf));
            info.client = facts.map(Box::new);
        }
    }
}

/// One step of rustls's state machine. Returns the bytes to discard from the front of `records`, and the stage
/// once there is nothing more to do with them.
fn step(
    tls: &mut UnbufferedServerConnection,
    records: &mut [u8],
    plaintext: &mut Buffer,
    ciphertext: &mut Buffer,
) -> (usize, Result<Option<Stage>, Error>) {
    let UnbufferedStatus { mut discard, state } = tls.process_tls_records(records);
    let result = match state {
        Err(e) => Err(e),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                None => break Ok(None),
                Some(Err(e)) => break Err(e),
                Some(Ok(record)) => {
                    plaintext.append(record.payload);
                    discard += record.discard;
                }
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let mut room = HEADROOM;
            loop {
                match data.encode(ciphertext.room(room)) {
                    Ok(written) => break ciphertext.filled_by(written),
                    Err(EncodeError::InsufficientSize(e)) => room = e.required_size,
                    Err(EncodeError::AlreadyEncoded) => break,
                }
            }
            Ok(None)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(None)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Some(Stage::Handshake)),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Some(Stage::Traffic)),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Some(Stage::PeerClosed)),
        Ok(_) => Err(rustls::Error::General(
            "early data was never offered".into(),
        )),
    };
    (discard, result.map_err(Error::Certificates))
}

/// Gives one record to the PSK engine; otherwise as [`step`].
fn step_psk(
    connection: &mut psk::ServerConnection,
    records: &mut [u8],
    plaintext: &mut Buffer,
    ciphertext: &mut Buffer,
) -> (usize, Result<Option<Stage>, Error>) {
    let stage = connection.stage();
    let length = match stage {
        Stage::PeerClosed => 0,
        _ => record_length(records).unwrap_or(records.len()),
    };
    let (record, rest) = records.split_at_mut(length);
    if record.is_empty() {
        return (0, Ok(Some(stage)));
    }
    let result = connection.receive(record, plaintext, ciphertext);
    let stage =
        Some(connection.stage()).filter(|stage| rest.is_empty() || *stage == Stage::PeerClosed);
    (length, result.map(|()| stage).map_err(Error::Psk))
}

/// Error of a TLS implementation.
enum Error {
    Certificates(rustls::Error),
    Psk(psk::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificates(error) => f.write_str(&words::session(error)),
            Self::Psk(error) => error.fmt(f),
        }
    }
}

type Traffic<'c> = WriteTraffic<'c, ServerConnectionData>;
