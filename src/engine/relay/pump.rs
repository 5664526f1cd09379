//! The reading of a relay: one chunk from one side to the other.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use super::{CHUNK, Inbound, Outbound, Relay};
use crate::engine::Scratch;
use crate::engine::program::ProgramStream;
use crate::message::End;
use crate::process::socket::{self, Read};
use crate::tls::session::{Failure, Stage};

/// Result of relaying a chunk.
pub(super) enum Pumped {
    /// A whole chunk was relayed; there may be more.
    Chunk,
    /// All that there was is relayed.
    All,
    /// The client has reset its connection.
    ClientReset,
    /// The backend has reset its connection.
    BackendReset,
    /// The session has failed.
    SessionFailed(Failure),
}

impl Relay {
    /// Relays one chunk from the client to the program.
    pub(super) fn pump_inbound(&mut self, socket: &OwnedFd, scratch: &mut Scratch) -> Pumped {
        if !self.reads_client() {
            return Pumped::All;
        }
        let Scratch {
            input,
            plaintext,
            ciphertext,
        } = scratch;
        self.session.begin(input);
        let (room, _) = input.room(CHUNK).split_at_mut(CHUNK);
        let length = match socket::receive(socket, room) {
            Read::Bytes(length) => length,
            Read::WouldBlock => return Pumped::All,
            Read::Eof => return self.client_truncated(),
            Read::Broken => return Pumped::ClientReset,
        };
        input.filled_by(length);
        plaintext.clear();
        ciphertext.clear();
        let result = self.session.receive(input, plaintext, ciphertext);
        if !self.deliver_to_program(plaintext.filled()) {
            self.inbound = Inbound::Discarding;
        }
        if !self.deliver_to_client(socket, ciphertext.filled()) {
            return Pumped::ClientReset;
        }
        match result {
            Err(failure) => Pumped::SessionFailed(failure),
            Ok(Stage::PeerClosed) => {
                self.end_inbound();
                Pumped::All
            }
            Ok(_) if length < CHUNK => Pumped::All,
            Ok(_) => Pumped::Chunk,
        }
    }

    /// Relays one chunk from the program to the client.
    pub(super) fn pump_outbound(&mut self, socket: &OwnedFd, scratch: &mut Scratch) -> Pumped {
        if !self.reads_program() {
            return Pumped::All;
        }
        let Scratch {
            plaintext,
            ciphertext,
            ..
        } = scratch;
        plaintext.clear();
        ciphertext.clear();
        let (room, _) = plaintext.room(CHUNK).split_at_mut(CHUNK);
        let (from, _) = self.program.descriptors();
        match socket::read(from, room) {
            Read::WouldBlock => Pumped::All,
            Read::Bytes(length) => {
                plaintext.filled_by(length);
                if let Err(failure) = self.session.send(plaintext.filled(), ciphertext) {
                    return Pumped::SessionFailed(failure);
                }
                self.bytes.sent += length as u64;
                match self.deliver_to_client(socket, ciphertext.filled()) {
                    false => Pumped::ClientReset,
                    // A short read has taken all that there was.
                    true if length < CHUNK => Pumped::All,
                    true => Pumped::Chunk,
                }
            }
            // The client must not take the bytes so far for the whole.
            Read::Broken if self.is_tcp_backend() => Pumped::BackendReset,
            Read::Eof if self.backend_reset => Pumped::BackendReset,
            // A command that exits with unread input breaks its socket; all its output was read before.
            Read::Eof | Read::Broken => {
                match self.program {
                    ProgramStream::Backend(..) => self.close_session(scratch),
                    ProgramStream::Socket(_) | ProgramStream::Pipes(..) => {
                        self.outbound = Outbound::Asking;
                    }
                }
                match self.flush_to_client(socket) {
                    true => Pumped::All,
                    false => Pumped::ClientReset,
                }
            }
        }
    }

    /// Handles FIN without `close_notify`.
    fn client_truncated(&mut self) -> Pumped {
        // After our close_notify the client may end with FIN alone.
        if self.outbound != Outbound::Ended {
            self.end = End::Truncated;
        }
        self.end_inbound();
        Pumped::All
    }

    /// Notes that the client has ended.
    fn end_inbound(&mut self) {
        self.inbound = match self.inbound {
            Inbound::Discarding => Inbound::Ended,
            _ => Inbound::Ending,
        };
    }
}
