//! The writing of a relay: bytes that a side does not take are kept.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::{Inbound, Outbound, Relay};
use crate::process::socket::{self, Fin, Written};

impl Relay {
    /// Writes plaintext to the program, and keeps the bytes that it does not take; `false`: the program reads no
    /// more.
    pub(super) fn deliver_to_program(&mut self, plaintext: &[u8]) -> bool {
        if plaintext.is_empty() || self.inbound == Inbound::Discarding {
            return true;
        }
        let Some(to) = self.program.input() else {
            return false;
        };
        match socket::write(to, plaintext) {
            Written::Broken(e) => {
                self.backend_reset |= self.is_backend_reset(e);
                false
            }
            Written::Bytes(length) => {
                self.bytes.received += length as u64;
                self.to_program
                    .append(plaintext.get(length..).unwrap_or_default());
                true
            }
        }
    }

    /// Writes ciphertext to the client after unsent bytes, and keeps the bytes that it does not take; `false`: the
    /// client is gone.
    pub(super) fn deliver_to_client(&mut self, socket: &OwnedFd, ciphertext: &[u8]) -> bool {
        if !self.to_client.is_empty() {
            self.to_client.append(ciphertext);
            return true;
        }
        if ciphertext.is_empty() {
            return true;
        }
        match socket::send(socket, ciphertext) {
            Written::Broken(_) => false,
            Written::Bytes(length) => {
                self.to_client
                    .append(ciphertext.get(length..).unwrap_or_default());
                true
            }
        }
    }

    /// Writes unsent bytes to the client; `false`: the client is gone.
    pub(super) fn flush_to_client(&mut self, socket: &OwnedFd) -> bool {
        let fin = match self.outbound {
            Outbound::Ending => Fin::Follows,
            Outbound::Open | Outbound::Asking | Outbound::Ended => Fin::NotYet,
        };
        socket::flush(socket, &mut self.to_client, fin).is_ok()
    }

    /// Writes unsent bytes to the program.
    pub(super) fn flush_to_program(&mut self) {
        if self.to_program.is_empty() {
            return; // a write of nothing would report the end of the program before its output is read
        }
        let unsent = std::mem::take(&mut self.to_program);
        let Some(to) = self.program.input() else {
            return;
        };
        match socket::write(to, unsent.filled()) {
            Written::Bytes(length) => {
                self.bytes.received += length as u64;
                self.to_program = unsent;
                self.to_program.consume_and_free(length);
            }
            Written::Broken(e) => {
                self.backend_reset |= self.is_backend_reset(e);
                self.inbound = if self.inbound == Inbound::Ending {
                    Inbound::Ended
                } else {
                    Inbound::Discarding
                }
            }
        }
    }

    /// Whether the error of a write means that a backend has reset its connection. EPIPE does not: the backend's
    /// end had come before.
    fn is_backend_reset(&self, e: Errno) -> bool {
        self.is_tcp_backend() && e != Errno::EPIPE
    }
}
