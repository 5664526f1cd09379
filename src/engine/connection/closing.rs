//! The end of a connection: the last bytes, FIN, and a wait that is as short as possible.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::Connection;
use super::state::{AwaitingKill, Closing, State};
use crate::engine::relay::CHUNK;
use crate::engine::{Scratch, Shared};
use crate::message::End;
use crate::process::socket::{self, Fin, Read};
use crate::types::Buffer;

/// Time limit for the client's FIN, so that no RST overtakes the last bytes, which may be an alert.
const DRAIN: Duration = Duration::from_secs(2);

impl Connection {
    /// Sends the last bytes and FIN, and begins to wait for the client's FIN.
    pub(super) fn close(&mut self, to_client: Buffer, end: End, shared: &Shared<'_>) -> State {
        let drained = shared.now + DRAIN;
        self.deadline = Some(match end {
            End::Handshake(_) => self.deadline.map_or(drained, |d| d.min(drained)),
            _ => drained,
        });
        self.send_last(Closing {
            to_client,
            fin_sent: false,
            end,
        })
    }

    /// Continues to send the last bytes, and to wait for the client's FIN.
    pub(super) fn closing(&mut self, closing: Closing, shared: &mut Shared<'_>) -> State {
        let closing = match self.send_last(closing) {
            State::Closing(closing) if closing.fin_sent => closing,
            other => return other,
        };
        // More input is dropped. A client that sends without end meets the deadline.
        shared.scratch.input.clear();
        match socket::receive(&self.socket, shared.scratch.input.room(CHUNK)) {
            Read::Bytes(_) | Read::WouldBlock => State::Closing(closing),
            Read::Eof | Read::Broken => State::Ended(closing.end),
        }
    }

    /// Sends the last bytes as far as the client takes them, then FIN.
    fn send_last(&self, mut closing: Closing) -> State {
        if socket::flush(&self.socket, &mut closing.to_client, Fin::Follows).is_err() {
            return State::Ended(closing.end);
        }
        if closing.to_client.is_empty() && !closing.fin_sent {
            if socket::shutdown_write(&self.socket).is_err() {
                return State::Ended(closing.end);
            }
            closing.fin_sent = true;
        }
        State::Closing(closing)
    }
}

impl AwaitingKill {
    /// Drops the output of the command. Its end means that the command is dead, and its children too.
    pub(super) fn advance(self, scratch: &mut Scratch) -> State {
        scratch.plaintext.clear();
        let (from, _) = self.program.descriptors();
        match socket::read(from, scratch.plaintext.room(CHUNK)) {
            Read::Bytes(_) | Read::WouldBlock => State::AwaitingKill(self),
            Read::Eof | Read::Broken => State::Ended(self.end),
        }
    }
}
