//! States of a connection.
#![forbid(unsafe_code)]

use crate::engine::program::ProgramStream;
use crate::engine::relay::Relay;
use crate::message::End;
use crate::tls::hello::{ClientHello, HelloReader};
use crate::tls::session::{Session, Stage};
use crate::types::{Buffer, HostId};

/// State of a connection, in the order in which a connection goes through them.
pub(super) enum State {
    /// The PROXY header is not complete; its bytes so far.
    ProxyHeader(Vec<u8>),
    /// The monitor has been told the addresses of the PROXY header, and admits the client or refuses it. The
    /// client's first bytes, which came with the header.
    AwaitingAdmission(Vec<u8>),
    /// The client of a PROXY header is admitted; its first bytes have not been parsed.
    Admitted(Hello),
    /// The `ClientHello` is not complete.
    Hello(Hello),
    AwaitingHost(Box<AwaitingHost>),
    Handshake(Handshake),
    AwaitingProgram(AwaitingProgram),
    Relay(Box<Relay>),
    AwaitingKill(AwaitingKill),
    Closing(Closing),
    /// Nothing is left to do but to send the summary.
    Ended(End),
}

/// A `ClientHello` that is not complete.
pub(super) struct Hello {
    pub(super) reader: HelloReader,
    pub(super) bytes: Vec<u8>,
}

impl Hello {
    /// A `ClientHello` that begins with these bytes.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self {
            reader: HelloReader::new(),
            bytes,
        }
    }
}

/// The client has chosen a host that has a limit of connections; the monitor admits the client or refuses it.
pub(super) struct AwaitingHost {
    pub(super) host: HostId,
    pub(super) hello: ClientHello,
    pub(super) bytes: Vec<u8>,
}

/// A host is chosen, and the handshake is not complete.
pub(super) struct Handshake {
    pub(super) host: HostId,
    pub(super) session: Box<Session>,
    pub(super) to_client: Buffer,
}

/// The handshake is complete; the monitor starts the command or connects to a backend.
pub(super) struct AwaitingProgram {
    pub(super) host: HostId,
    pub(super) session: Box<Session>,
    pub(super) stage: Stage,
    pub(super) to_program: Buffer,
    pub(super) to_client: Buffer,
}

/// The client has vanished, and the monitor kills the command. The command's descriptors stay open until the
/// command is dead, so that it never takes the end of the connection for the end of its input.
pub(super) struct AwaitingKill {
    pub(super) program: ProgramStream,
    pub(super) end: End,
}

/// The client gets the last bytes and FIN; its own FIN is awaited for a limited time.
pub(super) struct Closing {
    pub(super) to_client: Buffer,
    pub(super) fin_sent: bool,
    pub(super) end: End,
}
