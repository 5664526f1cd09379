//! The end of a connection: the last bytes, FIN, and no longer a wait than there has to be.
#![forbid(unsafe_code)]

use super::{Closing, Connection, Cut, DRAIN, State};
use crate::engine::relay::CHUNK;
use crate::engine::{Scratch, Shared};
use crate::message::End;
use crate::process::socket::{self, Fin, Read};
use crate::types::Buffer;

impl Connection {
    /// Sends the last bytes and FIN, and waits for the client's FIN.
    pub(super) fn close(&mut self, to_client: Buffer, end: End, shared: &Shared<'_>) -> State {
        let drained = shared.now + DRAIN;
        self.deadline = Some(match end {
            End::Handshake(_) => self.deadline.map_or(drained, |d| d.min(drained)),
            _ => drained,
        });
        let closing = Closing {
            to_client,
            fin_sent: false,
            end,
        };
        self.closing_turn(closing)
    }

    pub(super) fn closing(&mut self, closing: Closing, shared: &mut Shared<'_>) -> State {
        let closing = match self.closing_turn(closing) {
            State::Closing(closing) if closing.fin_sent => closing,
            other => return other,
        };
        // What still comes is read and dropped; an endless sender meets the deadline.
        shared.scratch.input.clear();
        match socket::receive(&self.socket, shared.scratch.input.room(CHUNK)) {
            Read::Bytes(_) | Read::WouldBlock => State::Closing(closing),
            Read::Eof | Read::Broken => State::Over(closing.end),
        }
    }

    fn closing_turn(&self, mut closing: Closing) -> State {
        if socket::flush(&self.socket, &mut closing.to_client, Fin::Follows).is_err() {
            return State::Over(closing.end);
        }
        if closing.to_client.is_empty() && !closing.fin_sent {
            if socket::shutdown_write(&self.socket).is_err() {
                return State::Over(closing.end);
            }
            closing.fin_sent = true;
        }
        State::Closing(closing)
    }
}

/// Drops what the command still says; nothing can say more when it is dead, and its children with it.
pub(super) fn await_death(cut: Cut, scratch: &mut Scratch) -> State {
    scratch.plaintext.clear();
    let (from, _) = cut.command.descriptors();
    match socket::read(from, scratch.plaintext.room(CHUNK)) {
        Read::Bytes(_) | Read::WouldBlock => State::Cut(cut),
        Read::Eof | Read::Broken => State::Over(cut.end),
    }
}
