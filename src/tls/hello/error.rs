//! Errors in the first bytes of a connection, and the alert for each.
#![forbid(unsafe_code)]

use std::fmt;

use rustls::{AlertDescription, ContentType, HandshakeType};

use crate::tls::alert;
use crate::tls::words::rfc_name;

/// Error in the first bytes of a connection. It is always the peer's.
///
/// `Display` is the reason for the log, as in `handshake: plain HTTP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloError {
    /// An HTTP request, not encrypted.
    PlainHttp,
    /// A ClientHello in the format of SSL 2.0, which servers may refuse (RFC 6176 §3).
    Sslv2,
    /// No TLS record at all.
    NotTls,
    /// A record of no version {3, x} (RFC 5246 appendix E.1).
    RecordVersion,
    /// An alert in place of a ClientHello.
    ClientAlert(AlertDescription),
    /// A record of another type than handshake, before the hello or inside it (RFC 8446 §5, §5.1).
    UnexpectedRecord(ContentType),
    /// A handshake record without content (RFC 8446 §5.1).
    EmptyRecord,
    /// A record of more than 2^14 bytes (RFC 8446 §5.1).
    RecordTooLong,
    /// Another handshake message than ClientHello.
    UnexpectedMessage(HandshakeType),
    /// A hello of 64 KiB or more.
    TooLong,
    /// A hello in too many records.
    TooManyRecords,
    /// More handshake data behind the hello in its record.
    DataAfterHello,
    /// The named field is truncated, too long, or its length is wrong.
    Malformed(&'static str),
    /// The named field is well formed, but its value is not allowed.
    Illegal(&'static str),
    /// There is no server name, or none that is a DNS name (RFC 6066 §3), where names decide.
    InvalidServerName,
}

impl HelloError {
    /// The fatal alert to send; `None`: none is sent.
    pub fn alert(self) -> Option<AlertDescription> {
        Some(match self {
            // "If a TLS implementation receives an unexpected record type, it MUST terminate the
            // connection with an "unexpected_message" alert." (RFC 8446 §5)
            Self::PlainHttp
            | Self::NotTls
            | Self::UnexpectedRecord(_)
            | Self::EmptyRecord
            | Self::UnexpectedMessage(_)
            | Self::DataAfterHello => AlertDescription::UnexpectedMessage,
            Self::Sslv2 | Self::RecordVersion => AlertDescription::ProtocolVersion,
            Self::RecordTooLong => AlertDescription::RecordOverflow,
            Self::TooLong | Self::TooManyRecords | Self::Malformed(_) => {
                AlertDescription::DecodeError
            }
            Self::Illegal(_) | Self::InvalidServerName => AlertDescription::IllegalParameter,
            Self::ClientAlert(_) => return None,
        })
    }
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PlainHttp => f.write_str("plain HTTP"),
            Self::Sslv2 => f.write_str("SSLv2 hello"),
            Self::NotTls => f.write_str("not TLS"),
            Self::RecordVersion => f.write_str("not a TLS version"),
            Self::ClientAlert(description) => {
                write!(f, "client sent alert {}", alert::name(description))
            }
            Self::UnexpectedRecord(typ) => {
                let name = rfc_name(typ.as_str(), "type", typ.into());
                write!(f, "{name} record instead of a hello")
            }
            Self::EmptyRecord => f.write_str("empty handshake record"),
            Self::RecordTooLong => f.write_str("record over 16 KiB"),
            Self::UnexpectedMessage(typ) => {
                let name = rfc_name(typ.as_str(), "type", typ.into());
                write!(f, "{name} message instead of a hello")
            }
            Self::TooLong => f.write_str("hello over 64 KiB"),
            Self::TooManyRecords => f.write_str("hello in too many records"),
            Self::DataAfterHello => f.write_str("data after the hello"),
            Self::Malformed(field) => write!(f, "malformed hello: {field}"),
            Self::Illegal(what) => write!(f, "illegal hello: {what}"),
            Self::InvalidServerName => f.write_str("server name is not a DNS name"),
        }
    }
}

impl std::error::Error for HelloError {}
