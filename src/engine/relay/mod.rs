//! The relay between a TLS session and a program: bytes in both directions, with bounded memory.
//!
//! *Inbound* is client → program, *outbound* is program → client. A side is read only when all that it sent
//! before has been written, so a side that does not read stops the other side, and no other connection. The end
//! of one direction does not end the other.
#![forbid(unsafe_code)]

mod pump;
mod write;

use std::os::fd::OwnedFd;

use super::program::ProgramStream;
use super::{Readiness, Scratch};
use crate::config::OnTruncation;
use crate::message::{End, OutputEnd, Transport};
use crate::process::socket;
use crate::tls::session::{Failure, Session, Stage};
use crate::types::Buffer;
use pump::Pumped;

/// Bytes read at a time, from either side.
pub(super) const CHUNK: usize = 64 * 1024;
/// Chunks relayed in one direction before other connections are served.
const CHUNKS: usize = 4;

/// A session and a program, connected.
pub(super) struct Relay {
    session: Box<Session>,
    program: ProgramStream,
    inbound: Inbound,
    outbound: Outbound,
    /// Plaintext that the program has not taken yet.
    to_program: Buffer,
    /// What the program sees when the client vanishes.
    on_truncation: OnTruncation,
    /// Ciphertext that the client has not taken yet.
    to_client: Buffer,
    /// Whether a write has shown that the backend has reset its connection: the kernel reports a reset once.
    backend_reset: bool,
    /// Reason of the end, once both directions have ended.
    end: End,
    /// Plaintext bytes relayed so far.
    pub(super) bytes: ByteCounts,
}

/// Numbers of plaintext bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ByteCounts {
    /// Bytes from the client that the program has taken.
    pub(super) received: u64,
    /// Bytes from the program that were encrypted for the client.
    pub(super) sent: u64,
}

/// State of the direction client → program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inbound {
    Open,
    /// The client has ended; the program gets the rest, then end-of-file.
    Ending,
    /// The program has got end-of-file.
    Ended,
    /// The program reads no more: input is dropped.
    Discarding,
}

/// State of the direction program → client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outbound {
    Open,
    /// The command has ended its output; the monitor is asked how.
    Asking,
    /// The program has ended; the client gets the rest, then FIN.
    Ending,
    /// The client has got FIN.
    Ended,
}

/// State of a relay after a step.
pub(super) enum RelayStatus {
    /// The relay continues.
    Running,
    /// The command has ended its output: the monitor is to be asked how.
    OutputEnded,
    /// Both directions have ended.
    Ended(End),
    /// The command was killed; unsent ciphertext for the client.
    Killed(End, Buffer),
    /// The client has vanished, and the program must be killed before it sees end-of-file.
    ClientVanished(End),
    /// The backend has reset its connection; unsent ciphertext for the client.
    BackendReset(Buffer),
    /// The session has failed; unsent ciphertext for the client, with the alert.
    SessionFailed(Failure, Buffer),
}

impl Relay {
    /// Connects a session to a program. `to_program` and `to_client` are not written yet.
    pub(super) fn new(
        session: Box<Session>,
        stage: Stage,
        program: ProgramStream,
        on_truncation: OnTruncation,
        to_program: Buffer,
        to_client: Buffer,
    ) -> Self {
        Self {
            session,
            program,
            inbound: match stage {
                Stage::PeerClosed => Inbound::Ending,
                _ => Inbound::Open,
            },
            outbound: Outbound::Open,
            to_program,
            on_truncation,
            to_client,
            backend_reset: false,
            end: End::Closed,
            bytes: ByteCounts::default(),
        }
    }

    /// Relays what can be relayed without waiting.
    pub(super) fn advance(
        &mut self,
        socket: &OwnedFd,
        ready: Readiness,
        scratch: &mut Scratch,
    ) -> RelayStatus {
        if ready.client_write && !self.flush_to_client(socket) {
            return self.client_reset();
        }
        if ready.program_write {
            self.flush_to_program();
        }
        if ready.client_read {
            for _ in 0..CHUNKS {
                match self.pump_inbound(socket, scratch) {
                    Pumped::Chunk => {}
                    Pumped::All | Pumped::BackendReset => break,
                    Pumped::ClientReset => {
                        self.flush_to_program();
                        return self.client_reset();
                    }
                    Pumped::SessionFailed(failure) => {
                        self.flush_to_program();
                        return self.session_failed(failure);
                    }
                }
            }
        }
        let was_open = self.outbound == Outbound::Open;
        if ready.program_read {
            for _ in 0..CHUNKS {
                match self.pump_outbound(socket, scratch) {
                    Pumped::Chunk => {}
                    Pumped::All => break,
                    Pumped::ClientReset => return self.client_reset(),
                    Pumped::BackendReset => {
                        return RelayStatus::BackendReset(std::mem::take(&mut self.to_client));
                    }
                    Pumped::SessionFailed(failure) => return self.session_failed(failure),
                }
            }
        }
        if self.end == End::Truncated && self.kills() {
            return RelayStatus::ClientVanished(End::Truncated);
        }
        self.end_directions(socket);
        match (self.inbound, self.outbound) {
            (Inbound::Ended, Outbound::Ended) => RelayStatus::Ended(self.end.clone()),
            (_, Outbound::Asking) if was_open => RelayStatus::OutputEnded,
            _ => RelayStatus::Running,
        }
    }

    /// Goes on after the end of the command's output, now that it is known how it ended.
    pub(super) fn output_ended(
        &mut self,
        how: OutputEnd,
        socket: &OwnedFd,
        scratch: &mut Scratch,
    ) -> RelayStatus {
        if self.outbound != Outbound::Asking {
            return RelayStatus::Running;
        }
        match how {
            OutputEnd::Whole => {
                self.close_session(scratch);
                let ready = Readiness {
                    client_write: true,
                    ..Readiness::default()
                };
                self.advance(socket, ready, scratch)
            }
            // The client must not take the bytes so far for the whole.
            OutputEnd::Cut => {
                let end = match self.end {
                    End::Truncated => End::Truncated,
                    _ => End::Killed,
                };
                RelayStatus::Killed(end, std::mem::take(&mut self.to_client))
            }
        }
    }

    /// Whether one side has ended, so that `linger` counts instead of `idle`.
    pub(super) fn lingers(&self) -> bool {
        self.inbound != Inbound::Open || self.outbound != Outbound::Open
    }

    /// Ends the relay, as its time limit has passed: the reason, and the last bytes for the client.
    pub(super) fn expire(mut self, scratch: &mut Scratch) -> (End, Buffer) {
        if matches!(self.outbound, Outbound::Open | Outbound::Asking) {
            // Where nobody has said how the output ended, the client must not take it for the whole.
            if self.outbound == Outbound::Open {
                self.close_session(scratch);
            }
            let end = match self.end {
                End::Truncated => End::Truncated,
                // The program had not ended, or no side had.
                _ => End::Timeout,
            };
            return (end, self.to_client);
        }
        let end = match self.to_client.is_empty() {
            true => self.end,
            false => End::Timeout, // the client does not take the rest
        };
        (end, Buffer::default())
    }

    /// The readiness that the relay waits for.
    pub(super) fn awaited(&self) -> Readiness {
        Readiness {
            client_read: self.reads_client(),
            client_write: !self.to_client.is_empty(),
            program_read: self.reads_program(),
            program_write: !self.to_program.is_empty(),
        }
    }

    fn reads_client(&self) -> bool {
        matches!(self.inbound, Inbound::Open | Inbound::Discarding) && self.to_program.is_empty()
    }

    fn reads_program(&self) -> bool {
        self.outbound == Outbound::Open && self.to_client.is_empty()
    }

    /// Ends the session: the client gets `close_notify` after the unsent ciphertext.
    fn close_session(&mut self, scratch: &mut Scratch) {
        scratch.ciphertext.clear();
        self.session.close(&mut scratch.ciphertext);
        self.to_client.append(scratch.ciphertext.filled());
        self.outbound = Outbound::Ending;
    }

    /// Status after the client has reset the connection.
    fn client_reset(&self) -> RelayStatus {
        match (self.outbound, &self.end) {
            (Outbound::Ended, _) | (_, End::Truncated) => RelayStatus::Ended(self.end.clone()),
            _ if self.kills() => RelayStatus::ClientVanished(End::Reset),
            _ => RelayStatus::Ended(End::Reset),
        }
    }

    fn session_failed(&mut self, failure: Failure) -> RelayStatus {
        RelayStatus::SessionFailed(failure, std::mem::take(&mut self.to_client))
    }

    /// Whether the program is killed when the client vanishes. After its own end it is not.
    fn kills(&self) -> bool {
        self.on_truncation == OnTruncation::Kill && self.outbound == Outbound::Open
    }

    fn is_tcp_backend(&self) -> bool {
        matches!(self.program, ProgramStream::Backend(_, Transport::Tcp))
    }

    /// The program's descriptors, without the session.
    pub(super) fn into_program(self) -> ProgramStream {
        self.program
    }

    /// The program's descriptors.
    pub(super) fn program(&self) -> &ProgramStream {
        &self.program
    }

    /// Passes on end-of-file in each direction that is ending and has no unsent bytes.
    fn end_directions(&mut self, socket: &OwnedFd) {
        if self.inbound == Inbound::Ending && self.to_program.is_empty() {
            match &mut self.program {
                // A program that is gone needs no end-of-file.
                ProgramStream::Socket(socket) | ProgramStream::Backend(socket, _) => {
                    let _ = socket::shutdown_write(socket);
                }
                ProgramStream::Pipes(_, write) => *write = None,
            }
            self.inbound = Inbound::Ended;
        }
        if self.outbound == Outbound::Ending && self.to_client.is_empty() {
            // A client that is gone needs no FIN.
            let _ = socket::shutdown_write(socket);
            self.outbound = Outbound::Ended;
        }
    }
}
