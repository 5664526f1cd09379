//! One TLS session: ciphertext in and out, plaintext in and out, no descriptor inside.
//!
//! rustls's unbuffered interface decrypts in the caller's buffer and keeps none of its own, so an
//! idle session costs its keys and little else.
#![forbid(unsafe_code)]

use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{AlertDescription, HandshakeKind, ServerConfig};

use super::alert;
use super::buffer::Buffer;
use crate::message::Facts;

/// Room that one record takes beyond its plaintext: header, content type, explicit nonce and tag.
const RECORD_OVERHEAD: usize = 5 + 1 + 8 + 16;
/// Plaintext bytes in a full record (RFC 8446 §5.1).
const RECORD: usize = 16 * 1024;
/// The longest ciphertext record that a peer may send (RFC 5246 §6.2.3).
const MAX_CIPHERTEXT: usize = RECORD + 2048;
/// Room for what goes out before a record of ours: a KeyUpdate and its like.
const HEADROOM: usize = 1024;

/// One TLS session, from the first byte of its ClientHello on.
pub struct Session {
    tls: UnbufferedServerConnection,
    /// Ciphertext that rustls has not let go of, or that is not yet a whole record.
    pending: Vec<u8>,
    /// How much of `pending` rustls has seen. It gets whole records only.
    seen: usize,
    /// Whether `close_notify` is sent. No alert may follow it.
    closed: bool,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The handshake goes on.
    Handshake,
    /// Plaintext flows.
    Traffic,
    /// The peer has sent `close_notify`; we may still send.
    PeerClosed,
}

/// Why a session is over, other than in good order.
#[derive(Debug)]
pub struct Failure {
    /// What was wrong, and whose fault it was.
    pub error: rustls::Error,
    /// The alert that the peer gets; none answers an alert.
    pub alert: Option<AlertDescription>,
}

impl Session {
    /// A session with a client that has chosen this host.
    ///
    /// Errors: rustls's, for a configuration that cannot serve.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(config)?,
            pending: Vec::new(),
            seen: 0,
            closed: false,
        })
    }

    /// Puts what is left of earlier ciphertext into `input`, which new ciphertext is to follow.
    pub fn begin(&mut self, input: &mut Buffer) {
        input.clear();
        input.append(&self.pending);
    }

    /// Takes ciphertext: `input` as [`Session::begin`] left it, and what has come since. Plaintext is
    /// added to `plaintext`, answers (of a handshake, say) to `ciphertext`.
    ///
    /// Errors: what the peer did wrong, or we; the alert that explains it is in `ciphertext`. The
    /// session is over then.
    pub fn receive(
        &mut self,
        input: &mut Buffer,
        plaintext: &mut Buffer,
        ciphertext: &mut Buffer,
    ) -> Result<Stage, Failure> {
        let whole = self.seen + whole_records(input.filled().get(self.seen..).unwrap_or_default());
        let mut start = 0;
        self.pending = Vec::new();
        let result = loop {
            let records = input.filled_mut().get_mut(start..whole).unwrap_or_default();
            let (discard, result) = self.step(records, plaintext, ciphertext);
            start += discard;
            match result {
                Ok(None) => {}
                Ok(Some(stage)) => break Ok(stage),
                Err(e) => break Err(e),
            }
        };
        let rest = input.filled().get(start..).unwrap_or_default();
        let stage = match result {
            // Whatever follows close_notify is ignored (RFC 8446 §6.1).
            Ok(Stage::PeerClosed) => {
                self.seen = 0;
                Stage::PeerClosed
            }
            Ok(stage) => {
                self.pending.extend_from_slice(rest);
                self.seen = whole - start;
                stage
            }
            Err(error) => {
                if self.closed {
                    return Err(Failure { error, alert: None });
                }
                let mut rest = rest.get(..whole - start).unwrap_or_default().to_vec();
                let mut records = Vec::new();
                let alert = alert::after_error(&mut self.tls, &error, &mut rest, &mut records);
                ciphertext.append(&records);
                return Err(Failure { error, alert });
            }
        };
        Ok(stage)
    }

    /// One turn of rustls's state machine: bytes to discard from the front of `records`, and the
    /// stage where nothing more is to be done with them.
    fn step(
        &mut self,
        records: &mut [u8],
        plaintext: &mut Buffer,
        ciphertext: &mut Buffer,
    ) -> (usize, Result<Option<Stage>, rustls::Error>) {
        let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(records);
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
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                Ok(Some(Stage::PeerClosed))
            }
            Ok(_) => Err(rustls::Error::General(
                "early data was never offered".into(),
            )),
        };
        (discard, result)
    }

    /// Encrypts plaintext, all of it, to the end of `ciphertext`.
    ///
    /// Errors: `EncryptError` when the keys are used up and the version cannot renew them.
    pub fn send(&mut self, plaintext: &[u8], ciphertext: &mut Buffer) -> Result<(), rustls::Error> {
        let records = plaintext.len().div_ceil(RECORD);
        let room = plaintext.len() + records * RECORD_OVERHEAD + HEADROOM;
        self.write(ciphertext, room, |traffic, out| {
            traffic.encrypt(plaintext, out)
        })
    }

    /// Ends our side in good order: `close_notify` (RFC 8446 §6.1). Nothing can be sent afterwards.
    pub fn close(&mut self, ciphertext: &mut Buffer) {
        // It can only fail before the handshake is complete, where nothing is owed.
        self.closed = true;
        let _ = self.write(ciphertext, HEADROOM, |traffic, out| {
            traffic.queue_close_notify(out)
        });
    }

    fn write(
        &mut self,
        ciphertext: &mut Buffer,
        mut room: usize,
        mut encrypt: impl FnMut(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), rustls::Error> {
        let Self {
            tls, pending, seen, ..
        } = self;
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

    /// Adds what the handshake has found out so far to `facts`.
    pub fn tell(&self, facts: &mut Facts) {
        facts.version = self.tls.protocol_version().map(Into::into);
        facts.suite = self.tls.negotiated_cipher_suite().map(|s| s.suite().into());
        facts.group = self
            .tls
            .negotiated_key_exchange_group()
            .map(|g| g.name().into());
        facts.resumed = self
            .tls
            .handshake_kind()
            .map(|k| k == HandshakeKind::Resumed);
        let alpn = self.tls.alpn_protocol();
        facts.alpn = alpn.and_then(|p| String::from_utf8(p.to_vec()).ok());
    }
}

/// Bytes at the front of `records` that are whole records. What cannot be a record header counts as
/// one: rustls is to see it, and to answer it.
fn whole_records(mut records: &[u8]) -> usize {
    let length = records.len();
    while let &[_, _, _, high, low, ref payload @ ..] = records {
        let payload_length = usize::from(u16::from_be_bytes([high, low]));
        if payload_length > MAX_CIPHERTEXT {
            return length;
        }
        match payload.get(payload_length..) {
            Some(next) => records = next,
            None => break,
        }
    }
    length - records.len()
}
