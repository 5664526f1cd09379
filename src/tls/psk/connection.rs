//! The connection: it gives each record to the current state, and returns the answer.
#![forbid(unsafe_code)]

use std::sync::Arc;

use rustls::AlertDescription;

use super::context::{Context, Negotiated};
use super::error::{Error, decode_error, illegal_parameter, unexpected_message};
use super::hello::ClientHello;
use super::message::{
    Awaited, CLIENT_HELLO, CLIENT_KEY_EXCHANGE, FINISHED, Joiner, KEY_UPDATE,
    LONGEST_CLIENT_KEY_EXCHANGE, TLS12, TLS13,
};
use super::prf::VERIFY_DATA;
use super::record::{
    ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, MAX_FRAGMENT, Records,
};
use super::{Config, tls12, tls13, traffic};
use crate::tls::profile::Version;
use crate::tls::stage::Stage;
use crate::types::{Buffer, HandshakeInfo};

/// Maximum number of KeyUpdates, warnings and empty records in a row without a byte of data.
const IDLE_LIMIT: u8 = 32;

/// The server's side of a connection with a pre-shared key.
pub struct ServerConnection {
    config: Arc<Config>,
    pub(super) records: Records,
    joiner: Joiner,
    pub(super) state: State,
    negotiated: Negotiated,
    /// KeyUpdates, warnings and empty records since the last byte of data.
    idle: u8,
}

/// The server's states: RFC 8446 §A.2, and the diagram in RFC 5246 §7.3.
pub(super) enum State {
    ExpectHello,
    ExpectRetriedHello(tls13::ExpectRetriedHello),
    ExpectFinished13(tls13::ExpectFinished),
    Traffic13(traffic::Traffic),
    ExpectClientKeyExchange(tls12::ExpectClientKeyExchange),
    ExpectChangeCipherSpec(tls12::ExpectChangeCipherSpec),
    ExpectFinished12(tls12::ExpectFinished),
    Traffic12,
    /// The client has sent `close_notify`; we may still send.
    PeerClosed(Sends),
    /// An error has ended the connection.
    Failed,
}

/// State of a session that only sends.
pub(super) enum Sends {
    Tls13(traffic::Traffic),
    Tls12,
}

impl ServerConnection {
    /// Creates a connection. Nothing has been received yet.
    pub fn new(config: Arc<Config>) -> Self {
        let mut records = Records::new();
        records.limit_fragments(config.profile.max_fragment);
        Self {
            config,
            records,
            joiner: Joiner::default(),
            state: State::ExpectHello,
            negotiated: Negotiated::default(),
            idle: 0,
        }
    }

    /// Stage of the session.
    pub fn stage(&self) -> Stage {
        match self.state {
            State::Traffic12 | State::Traffic13(_) => Stage::Traffic,
            State::PeerClosed(_) => Stage::PeerClosed,
            _ => Stage::Handshake,
        }
    }

    /// Processes one whole record, and decrypts it in place. It appends plaintext to `plaintext`, and answers to
    /// `ciphertext`.
    ///
    /// Errors: the client or tlssrv made a mistake. The connection is over then, and [`ServerConnection::fail`]
    /// makes the alert.
    pub fn receive(
        &mut self,
        record: &mut [u8],
        plaintext: &mut Buffer,
        ciphertext: &mut Buffer,
    ) -> Result<(), Error> {
        let (typ, content) = match self.records.open(record) {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(()),
            // In TLS 1.2 a wrong key shows here first. RFC 4279 §2 has "decrypt_error" for it.
            Err(Error::Misbehaved(AlertDescription::BadRecordMac, _))
                if matches!(self.state, State::ExpectFinished12(_)) =>
            {
                return Err(Error::Unauthenticated);
            }
            Err(error) => return Err(error),
        };
        // "Handshake messages MUST NOT be interleaved with other record types." (RFC 8446 §5.1)
        if typ != HANDSHAKE && !self.joiner.is_empty() {
            return Err(unexpected_message("a record inside a handshake message"));
        }
        match typ {
            ALERT => self.alert(content),
            HANDSHAKE => self.handshake(content, ciphertext),
            CHANGE_CIPHER_SPEC => self.change_cipher_spec(content, ciphertext),
            APPLICATION_DATA if self.stage() == Stage::Traffic => {
                if content.is_empty() {
                    return self.nothing_new();
                }
                self.idle = 0;
                plaintext.append(content);
                Ok(())
            }
            APPLICATION_DATA => Err(unexpected_message("data before the end of the handshake")),
            _ => Err(unexpected_message("a record of an unknown type")),
        }
    }

    /// Encrypts all of the plaintext and appends it to `ciphertext`.
    ///
    /// Errors: the handshake is not complete, or the keys are used up and the version cannot renew them.
    pub fn send(&mut self, plaintext: &[u8], ciphertext: &mut Buffer) -> Result<(), Error> {
        for fragment in plaintext.chunks(MAX_FRAGMENT) {
            let mut context = Context {
                config: &self.config,
                records: &mut self.records,
                negotiated: &mut self.negotiated,
                out: ciphertext,
            };
            match &mut self.state {
                State::Traffic13(traffic) | State::PeerClosed(Sends::Tls13(traffic)) => {
                    traffic.before_data(&mut context)?;
                }
                State::Traffic12 | State::PeerClosed(Sends::Tls12) => {
                    if self.records.must_rekey() {
                        return Err(Error::Internal("the keys are used up"));
                    }
                }
                _ => return Err(Error::Internal("the handshake is not complete")),
            }
            self.records.write(APPLICATION_DATA, fragment, ciphertext)?;
        }
        Ok(())
    }

    /// Closes the sending side with `close_notify` (RFC 8446 §6.1). Nothing can be sent afterwards.
    pub fn close(&mut self, ciphertext: &mut Buffer) {
        self.alert_out(WARNING, AlertDescription::CloseNotify, ciphertext);
    }

    /// Ends the connection after an error. Returns the alert for the client.
    pub fn fail(&mut self, error: &Error, ciphertext: &mut Buffer) -> Option<AlertDescription> {
        self.state = State::Failed;
        let alert = error.alert()?;
        self.alert_out(FATAL, alert, ciphertext);
        Some(alert)
    }

    /// Copies the negotiated parameters to `info`.
    pub fn update_info(&self, info: &mut HandshakeInfo) {
        let negotiated = &self.negotiated;
        info.version = negotiated.version;
        info.suite = negotiated.suite;
        info.group = negotiated.group;
        let alpn = negotiated.alpn.clone();
        info.alpn = alpn.and_then(|protocol| String::from_utf8(protocol).ok());
        info.psk_identity.clone_from(&negotiated.identity);
        info.resumed = negotiated.identity.as_ref().map(|_| false);
    }

    fn handshake(&mut self, content: &[u8], ciphertext: &mut Buffer) -> Result<(), Error> {
        let awaited = (self.state.awaited()).ok_or(unexpected_message(
            "a handshake message that is not its turn",
        ))?;
        let Some(message) = self.joiner.add(content, awaited)? else {
            return Ok(());
        };
        let mut context = Context {
            config: &self.config,
            records: &mut self.records,
            negotiated: &mut self.negotiated,
            out: ciphertext,
        };
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::ExpectHello => client_hello(&message, &mut context)?,
            State::ExpectRetriedHello(state) => {
                State::ExpectFinished13(state.client_hello(&message, &mut context)?)
            }
            State::ExpectFinished13(state) => {
                State::Traffic13(state.finished(&message, &mut context)?)
            }
            State::ExpectClientKeyExchange(state) => {
                let next = state.client_key_exchange(&message, &mut context)?;
                State::ExpectChangeCipherSpec(next)
            }
            State::ExpectFinished12(state) => {
                state.finished(&message, &mut context)?;
                State::Traffic12
            }
            State::Traffic13(state) => {
                self.idle = idle(self.idle)?;
                State::Traffic13(state.key_update(&message, &mut context)?)
            }
            // "the server […] MAY […] send a no_renegotiation alert", which "is always a warning"
            // (RFC 5246 §7.2.2, §7.4.1.1)
            State::Traffic12 => {
                self.idle = idle(self.idle)?;
                let alert = [WARNING, AlertDescription::NoRenegotiation.into()];
                self.records.write(ALERT, &alert, ciphertext)?;
                State::Traffic12
            }
            state => state,
        };
        Ok(())
    }

    fn change_cipher_spec(&mut self, content: &[u8], ciphertext: &mut Buffer) -> Result<(), Error> {
        let mut context = Context {
            config: &self.config,
            records: &mut self.records,
            negotiated: &mut self.negotiated,
            out: ciphertext,
        };
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::ExpectChangeCipherSpec(state) => {
                State::ExpectFinished12(state.change_cipher_spec(content, &mut context)?)
            }
            // "An implementation may receive an unencrypted record of type change_cipher_spec consisting
            // of the single byte value 0x01 at any time after the first ClientHello message has been
            // sent or received and before the peer's Finished message has been received and MUST simply
            // drop it" (RFC 8446 §5)
            state @ (State::ExpectRetriedHello(_) | State::ExpectFinished13(_))
                if content == [1] =>
            {
                self.idle = idle(self.idle)?;
                state
            }
            _ => {
                return Err(unexpected_message(
                    "a change_cipher_spec that is not its turn",
                ));
            }
        };
        Ok(())
    }

    /// `struct { AlertLevel level; AlertDescription description; } Alert;` (RFC 8446 §6)
    fn alert(&mut self, content: &[u8]) -> Result<(), Error> {
        let (level, description) = match *content {
            [level, description] => (level, AlertDescription::from(description)),
            [] => return Err(unexpected_message("an empty alert record")),
            _ => return Err(decode_error("an alert of the wrong length")),
        };
        let state = std::mem::replace(&mut self.state, State::Failed);
        self.state = match (description, level, state) {
            (AlertDescription::CloseNotify, _, State::Traffic13(traffic)) => {
                State::PeerClosed(Sends::Tls13(traffic))
            }
            (AlertDescription::CloseNotify, _, State::Traffic12) => State::PeerClosed(Sends::Tls12),
            // Warnings that do not end the session: user_canceled in TLS 1.3, all but close_notify in TLS 1.2.
            (AlertDescription::UserCanceled, WARNING, state @ State::Traffic13(_))
            | (_, WARNING, state @ State::Traffic12)
                if description != AlertDescription::CloseNotify =>
            {
                self.nothing_new()?;
                state
            }
            // Any other alert is an error, in TLS 1.3 whatever its level (RFC 8446 §6).
            (_, WARNING | FATAL, _) => return Err(Error::AlertReceived(description)),
            _ => return Err(illegal_parameter("an alert of an unknown level")),
        };
        Ok(())
    }

    /// Counts a record without data.
    fn nothing_new(&mut self) -> Result<(), Error> {
        self.idle = idle(self.idle)?;
        Ok(())
    }

    fn alert_out(&mut self, level: u8, description: AlertDescription, ciphertext: &mut Buffer) {
        // This fails only if the library does, and then no alert can be sent.
        let _ = self
            .records
            .write(ALERT, &[level, description.into()], ciphertext);
    }
}

fn client_hello(message: &[u8], context: &mut Context<'_>) -> Result<State, Error> {
    let hello = ClientHello::read(message)?;
    let version = hello.version(context.config)?;
    context.negotiated.version = Some(match version {
        Version::Tls13 => TLS13,
        Version::Tls12 => TLS12,
    });
    Ok(match version {
        Version::Tls13 => match tls13::client_hello(message, &hello, context)? {
            tls13::Next::RetriedHello(state) => State::ExpectRetriedHello(state),
            tls13::Next::Finished(state) => State::ExpectFinished13(state),
        },
        Version::Tls12 => {
            State::ExpectClientKeyExchange(tls12::client_hello(message, &hello, context)?)
        }
    })
}

/// Counts one more record without data.
fn idle(before: u8) -> Result<u8, Error> {
    match before {
        0..IDLE_LIMIT => Ok(before + 1),
        _ => Err(unexpected_message("too many records that bring nothing")),
    }
}

impl State {
    /// The handshake message that the state waits for.
    fn awaited(&self) -> Option<Awaited> {
        let (typ, longest) = match self {
            Self::ExpectHello | Self::ExpectRetriedHello(_) | Self::Traffic12 => {
                (CLIENT_HELLO, 0xffff)
            }
            Self::ExpectFinished13(state) => (FINISHED, state.verify_data_len()),
            Self::Traffic13(_) => (KEY_UPDATE, 1),
            Self::ExpectClientKeyExchange(_) => (CLIENT_KEY_EXCHANGE, LONGEST_CLIENT_KEY_EXCHANGE),
            Self::ExpectFinished12(_) => (FINISHED, VERIFY_DATA),
            Self::ExpectChangeCipherSpec(_) | Self::PeerClosed(_) | Self::Failed => return None,
        };
        Some(Awaited { typ, longest })
    }
}

// AlertLevel (RFC 8446 §6)
const WARNING: u8 = 1;
const FATAL: u8 = 2;
