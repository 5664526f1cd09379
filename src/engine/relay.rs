//! The pump between a session and a command: bytes both ways, half-close kept, memory bounded.
//!
//! *Up* is client → command, *down* is command → client. A side is read only when what it sent
//! before has been written, so a stalled reader stops its own writer and nobody else.
#![forbid(unsafe_code)]

mod write;

use std::os::fd::OwnedFd;

use super::program::ProgramStream;
use super::{Ready, Scratch, Wanted};
use crate::config::OnTruncation;
use crate::message::{End, Transport};
use crate::process::socket::{self, Read};
use crate::tls::session::{Failure, Session, Stage};
use crate::types::Buffer;

/// Bytes read at a time, from either side.
pub(super) const CHUNK: usize = 64 * 1024;
/// Chunks moved one way before others get their turn.
const TURNS: usize = 4;

/// A session and a command, connected.
pub(super) struct Relay {
    session: Box<Session>,
    command: ProgramStream,
    up: Up,
    down: Down,
    /// Plaintext that the command has not taken yet.
    to_command: Buffer,
    /// What the command sees when the client vanishes.
    on_truncation: OnTruncation,
    /// Ciphertext that the client has not taken yet.
    to_client: Buffer,
    /// Whether the backend has broken its connection, which is seen once, and perhaps by a write.
    torn: bool,
    /// How it will have ended, once it has.
    end: End,
    /// Plaintext bytes that went up and down.
    pub(super) moved: Moved,
}

/// Plaintext bytes that have reached the other side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) up: u64,
    pub(super) down: u64,
}

/// Client → command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Up {
    Open,
    /// The client has ended; the command gets the rest, then end-of-file.
    Ending,
    /// The command has been told.
    Ended,
    /// The command reads no more: what comes is dropped.
    Deaf,
}

/// Command → client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Down {
    Open,
    /// The command has ended; the client gets the rest, then FIN.
    Ending,
    /// The client has been told.
    Ended,
}

/// Where a relay stands after a turn.
pub(super) enum Turn {
    /// It goes on.
    On,
    /// Both sides have ended.
    Over(End),
    /// The client has vanished, and the command is to be killed before it sees that.
    Cut(End),
    /// The backend has broken its connection; what the client is still to get.
    Torn(Buffer),
    /// The session has failed; the alert, and what else the client is still to get.
    Failed(Failure, Buffer),
}

impl Relay {
    /// Connects a session to a command. `to_command` and `to_client` wait already.
    pub(super) fn new(
        session: Box<Session>,
        stage: Stage,
        command: ProgramStream,
        on_truncation: OnTruncation,
        to_command: Buffer,
        to_client: Buffer,
    ) -> Self {
        Self {
            session,
            command,
            up: if stage == Stage::PeerClosed {
                Up::Ending
            } else {
                Up::Open
            },
            down: Down::Open,
            to_command,
            on_truncation,
            to_client,
            torn: false,
            end: End::Closed,
            moved: Moved::default(),
        }
    }

    /// Moves what can be moved without waiting.
    pub(super) fn turn(&mut self, socket: &OwnedFd, ready: Ready, scratch: &mut Scratch) -> Turn {
        if ready.client_takes && !self.flush_to_client(socket) {
            return self.broken();
        }
        if ready.command_takes {
            self.flush_to_command();
        }
        if ready.client {
            for _ in 0..TURNS {
                match self.pump_up(socket, scratch) {
                    Pumped::More => {}
                    Pumped::Enough | Pumped::Torn => break,
                    Pumped::Reset => {
                        self.flush_to_command();
                        return self.broken();
                    }
                    Pumped::Failed(failure) => {
                        self.flush_to_command();
                        return Turn::Failed(failure, std::mem::take(&mut self.to_client));
                    }
                }
            }
        }
        if ready.command {
            for _ in 0..TURNS {
                match self.pump_down(socket, scratch) {
                    Pumped::More => {}
                    Pumped::Enough => break,
                    Pumped::Reset => return self.broken(),
                    Pumped::Torn => return Turn::Torn(std::mem::take(&mut self.to_client)),
                    Pumped::Failed(failure) => {
                        return Turn::Failed(failure, std::mem::take(&mut self.to_client));
                    }
                }
            }
        }
        if self.end == End::Truncated && self.kills() {
            return Turn::Cut(End::Truncated);
        }
        self.end_sides(socket);
        match (self.up, self.down) {
            (Up::Ended, Down::Ended) => Turn::Over(self.end.clone()),
            _ => Turn::On,
        }
    }

    /// Whether one side has ended, so that `linger` counts instead of `idle`.
    pub(super) fn lingers(&self) -> bool {
        self.up != Up::Open || self.down != Down::Open
    }

    /// What to do when the time is over: how it ended, and what the client is still to get.
    pub(super) fn expire(mut self, scratch: &mut Scratch) -> (End, Buffer) {
        if self.down == Down::Open {
            self.close_session(scratch);
            let end = match self.end {
                End::Truncated => End::Truncated,
                // The command had not ended, or nothing had.
                _ => End::Timeout,
            };
            return (end, self.to_client);
        }
        let end = match self.to_client.is_empty() {
            true => self.end,
            false => End::Timeout, // the client takes no more
        };
        (end, Buffer::default())
    }

    /// What to wait for on each descriptor.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            client: self.reads_client(),
            client_takes: !self.to_client.is_empty(),
            command: self.down == Down::Open && self.to_client.is_empty(),
            command_takes: !self.to_command.is_empty(),
        }
    }

    fn reads_client(&self) -> bool {
        matches!(self.up, Up::Open | Up::Deaf) && self.to_command.is_empty()
    }

    /// One chunk from the client to the command.
    fn pump_up(&mut self, socket: &OwnedFd, scratch: &mut Scratch) -> Pumped {
        if !self.reads_client() {
            return Pumped::Enough;
        }
        let Scratch {
            input,
            plaintext,
            ciphertext,
        } = scratch;
        self.session.begin(input);
        let (room, _) = input.room(CHUNK).split_at_mut(CHUNK);
        let read = socket::receive(socket, room);
        let length = match read {
            Read::Bytes(length) => length,
            Read::WouldBlock => return Pumped::Enough,
            Read::Eof => return self.client_vanished(),
            Read::Broken => return Pumped::Reset,
        };
        input.filled_by(length);
        plaintext.clear();
        ciphertext.clear();
        let result = self.session.receive(input, plaintext, ciphertext);
        if !self.deliver_up(plaintext.filled()) {
            self.up = Up::Deaf;
        }
        if !self.deliver_down(socket, ciphertext.filled()) {
            return Pumped::Reset;
        }
        match result {
            Err(failure) => Pumped::Failed(failure),
            Ok(Stage::PeerClosed) => {
                self.up = if self.up == Up::Deaf {
                    Up::Ended
                } else {
                    Up::Ending
                };
                Pumped::Enough
            }
            Ok(_) if length < CHUNK => Pumped::Enough,
            Ok(_) => Pumped::More,
        }
    }

    /// One chunk from the command to the client.
    fn pump_down(&mut self, socket: &OwnedFd, scratch: &mut Scratch) -> Pumped {
        if self.down != Down::Open || !self.to_client.is_empty() {
            return Pumped::Enough;
        }
        let Scratch {
            plaintext,
            ciphertext,
            ..
        } = scratch;
        plaintext.clear();
        ciphertext.clear();
        let (room, _) = plaintext.room(CHUNK).split_at_mut(CHUNK);
        let (from, _) = self.command.descriptors();
        match socket::read(from, room) {
            Read::WouldBlock => Pumped::Enough,
            Read::Bytes(length) => {
                plaintext.filled_by(length);
                if let Err(failure) = self.session.send(plaintext.filled(), ciphertext) {
                    return Pumped::Failed(failure);
                }
                self.moved.down += length as u64;
                match self.deliver_down(socket, ciphertext.filled()) {
                    false => Pumped::Reset,
                    // A short read is the end of what there was.
                    true if length < CHUNK => Pumped::Enough,
                    true => Pumped::More,
                }
            }
            // The client is not to take what it got for all there is.
            Read::Broken if self.is_tcp() => Pumped::Torn,
            Read::Eof if self.torn => Pumped::Torn,
            // A command that goes with unread input breaks the socket; what it wrote was read before.
            Read::Eof | Read::Broken => {
                self.close_session(scratch);
                match self.flush_to_client(socket) {
                    true => Pumped::Enough,
                    false => Pumped::Reset,
                }
            }
        }
    }

    /// Nothing more is sent, and the client is told so.
    fn close_session(&mut self, scratch: &mut Scratch) {
        scratch.ciphertext.clear();
        self.session.close(&mut scratch.ciphertext);
        self.to_client.append(scratch.ciphertext.filled());
        self.down = Down::Ending;
    }

    /// FIN without `close_notify`.
    fn client_vanished(&mut self) -> Pumped {
        // After our close_notify a bare FIN is as good an answer as any.
        if self.down != Down::Ended {
            self.end = End::Truncated;
        }
        self.up = if self.up == Up::Deaf {
            Up::Ended
        } else {
            Up::Ending
        };
        Pumped::Enough
    }

    /// How it ends when the client's side breaks.
    fn broken(&self) -> Turn {
        match (self.down, &self.end) {
            (Down::Ended, _) | (_, End::Truncated) => Turn::Over(self.end.clone()),
            _ if self.kills() => Turn::Cut(End::Reset),
            _ => Turn::Over(End::Reset),
        }
    }

    /// Whether a client that vanishes takes the command with it: not after the command's own end.
    fn kills(&self) -> bool {
        self.on_truncation == OnTruncation::Kill && self.down == Down::Open
    }

    fn is_tcp(&self) -> bool {
        matches!(self.command, ProgramStream::Backend(_, Transport::Tcp))
    }

    /// The command's side, without the client's.
    pub(super) fn into_command(self) -> ProgramStream {
        self.command
    }

    /// The command's side.
    pub(super) fn command(&self) -> &ProgramStream {
        &self.command
    }

    /// Passes on end-of-file, where all that came before it has been written.
    fn end_sides(&mut self, socket: &OwnedFd) {
        if self.up == Up::Ending && self.to_command.is_empty() {
            match &mut self.command {
                // A command that is gone already needs no end-of-file.
                ProgramStream::Socket(socket) | ProgramStream::Backend(socket, _) => {
                    let _ = socket::shutdown_write(socket);
                }
                ProgramStream::Pipes(_, write) => *write = None,
            }
            self.up = Up::Ended;
        }
        if self.down == Down::Ending && self.to_client.is_empty() {
            // A client that is gone already needs no FIN.
            let _ = socket::shutdown_write(socket);
            self.down = Down::Ended;
        }
    }
}

enum Pumped {
    More,
    Enough,
    Reset,
    Torn,
    Failed(Failure),
}
