//! What an engine may not say.
//!
//! An engine meets strangers, so the monitor takes each of its messages as hostile. An engine that
//! breaks the protocol is ended, and the log names the cause.
#![forbid(unsafe_code)]

use std::fmt;

use crate::types::{ConnectionId, HostId};

/// A message that breaks the protocol between an engine and the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// The datagram is not a message.
    Malformed,
    /// The message carries descriptors.
    Descriptors,
    /// A text is longer than `MAX_TEXT`.
    LongText,
    /// No open connection has this id.
    UnknownConnection(ConnectionId),
    /// Another engine serves this connection.
    ForeignConnection(ConnectionId),
    /// The connection has ended before.
    EndedConnection(ConnectionId),
    /// A PROXY header comes twice, or on a listener that expects none.
    UnexpectedHeader(ConnectionId),
    /// The PROXY header is still to come.
    MissingHeader(ConnectionId),
    /// No host of the configuration has this id.
    UnknownHost(ConnectionId, HostId),
    /// The engine asks for admission to a host that has no limit of its own, or asks twice.
    UnexpectedHost(ConnectionId, HostId),
    /// The host has a limit of its own, and has not admitted the connection.
    NotAdmitted(ConnectionId, HostId),
    /// The host cannot have authenticated the client in this way.
    ImpossibleIdentity(ConnectionId, HostId),
    /// A command or backend was requested before.
    OpenedTwice(ConnectionId),
    /// The host does not kill commands.
    UnexpectedKill(ConnectionId),
    /// The engine asks how the output of a command has ended where there is none, or asks twice.
    UnexpectedQuestion(ConnectionId),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "malformed message"),
            Self::Descriptors => write!(f, "message with descriptors"),
            Self::LongText => write!(f, "log line that is too long"),
            Self::UnknownConnection(id) => write!(f, "connection {} is not open", id.name()),
            Self::ForeignConnection(id) => {
                write!(f, "connection {} is another engine's", id.name())
            }
            Self::EndedConnection(id) => write!(f, "connection {} has ended", id.name()),
            Self::UnexpectedHeader(id) => {
                write!(f, "connection {} expects no PROXY header", id.name())
            }
            Self::MissingHeader(id) => {
                write!(f, "connection {} has no PROXY header yet", id.name())
            }
            Self::UnknownHost(id, host) => {
                write!(
                    f,
                    "connection {} chose host {host}, which does not exist",
                    id.name()
                )
            }
            Self::UnexpectedHost(id, host) => {
                write!(
                    f,
                    "connection {} needs no admission to host {host}",
                    id.name()
                )
            }
            Self::NotAdmitted(id, host) => {
                write!(
                    f,
                    "connection {} was not admitted to host {host}",
                    id.name()
                )
            }
            Self::ImpossibleIdentity(id, host) => {
                write!(
                    f,
                    "connection {} has an identity that host {host} cannot verify",
                    id.name()
                )
            }
            Self::OpenedTwice(id) => write!(f, "connection {} was opened before", id.name()),
            Self::UnexpectedKill(id) => write!(
                f,
                "connection {} has a host that does not kill commands",
                id.name()
            ),
            Self::UnexpectedQuestion(id) => write!(
                f,
                "connection {} has no command whose output has just ended",
                id.name()
            ),
        }
    }
}
