//! Errors that end a session with a pre-shared key, and the alert for each.
#![forbid(unsafe_code)]

use std::fmt;

use aws_lc_rs::error::Unspecified;
use rustls::AlertDescription;

use crate::tls::alert;
use crate::tls::hello::HelloError;

/// Error that ends a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The client broke the protocol.
    Misbehaved(AlertDescription, &'static str),
    /// The client offers nothing that this host accepts.
    Incompatible(AlertDescription, &'static str),
    /// The client's hello is malformed.
    Hello(HelloError),
    /// The client has a wrong key, or its identity is unknown. The client cannot tell which (RFC 4279 §2, RFC 8446
    /// §6.2 under `unknown_psk_identity`).
    Unauthenticated,
    /// The client has ended the session with an alert.
    AlertReceived(AlertDescription),
    /// An error of tlssrv or its library.
    Internal(&'static str),
}

impl Error {
    /// The alert for the client; `None` in answer to an alert (RFC 8446 §6.2).
    pub fn alert(&self) -> Option<AlertDescription> {
        match self {
            Self::Misbehaved(alert, _) | Self::Incompatible(alert, _) => Some(*alert),
            Self::Hello(error) => error.alert(),
            Self::Unauthenticated => Some(AlertDescription::DecryptError),
            Self::AlertReceived(_) => None,
            Self::Internal(_) => Some(AlertDescription::InternalError),
        }
    }
}

pub(super) fn unexpected_message(what: &'static str) -> Error {
    Error::Misbehaved(AlertDescription::UnexpectedMessage, what)
}

pub(super) fn decode_error(what: &'static str) -> Error {
    Error::Misbehaved(AlertDescription::DecodeError, what)
}

pub(super) fn illegal_parameter(what: &'static str) -> Error {
    Error::Misbehaved(AlertDescription::IllegalParameter, what)
}

pub(super) fn handshake_failure(what: &'static str) -> Error {
    Error::Incompatible(AlertDescription::HandshakeFailure, what)
}

impl From<Unspecified> for Error {
    fn from(_: Unspecified) -> Self {
        Self::Internal("a cryptographic primitive failed")
    }
}

impl From<rustls::Error> for Error {
    /// Errors of a key exchange.
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::PeerMisbehaved(_) => {
                illegal_parameter("a key share that is none of its group")
            }
            _ => Self::Internal("the key exchange failed"),
        }
    }
}

impl From<HelloError> for Error {
    fn from(error: HelloError) -> Self {
        Self::Hello(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misbehaved(_, what) => write!(f, "peer misbehaved: {what}"),
            Self::Incompatible(_, what) => write!(f, "peer is incompatible: {what}"),
            Self::Hello(error) => error.fmt(f),
            Self::Unauthenticated => f.write_str("unknown PSK identity, or wrong key"),
            Self::AlertReceived(alert) => write!(f, "client sent alert {}", alert::name(*alert)),
            Self::Internal(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
