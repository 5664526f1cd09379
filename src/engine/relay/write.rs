//! The writing of a relay: what a side does not take waits, and a side that takes nothing more is known.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::{Down, Relay, Up};
use crate::engine::program::ProgramStream;
use crate::process::socket::{self, Fin, Written};

impl Relay {
    /// Writes plaintext to the command, and keeps what it does not take; `false`: it reads no more.
    pub(super) fn deliver_up(&mut self, plaintext: &[u8]) -> bool {
        if plaintext.is_empty() || self.up == Up::Deaf {
            return true;
        }
        let to = match &self.command {
            ProgramStream::Socket(to)
            | ProgramStream::Backend(to, _)
            | ProgramStream::Pipes(_, Some(to)) => to,
            ProgramStream::Pipes(_, None) => return false,
        };
        match socket::write(to, plaintext) {
            Written::Broken(e) => {
                self.torn |= self.is_tear(e);
                false
            }
            Written::Bytes(n) => {
                self.moved.up += n as u64;
                self.to_command
                    .append(plaintext.get(n..).unwrap_or_default());
                true
            }
        }
    }

    /// Writes ciphertext to the client, after what waits, and keeps what it does not take; `false`:
    /// the client is gone.
    pub(super) fn deliver_down(&mut self, socket: &OwnedFd, ciphertext: &[u8]) -> bool {
        if !self.to_client.is_empty() {
            self.to_client.append(ciphertext);
            return true;
        }
        if ciphertext.is_empty() {
            return true;
        }
        match socket::send(socket, ciphertext) {
            Written::Broken(_) => false,
            Written::Bytes(n) => {
                self.to_client
                    .append(ciphertext.get(n..).unwrap_or_default());
                true
            }
        }
    }

    pub(super) fn flush_to_client(&mut self, socket: &OwnedFd) -> bool {
        let fin = match self.down {
            Down::Ending => Fin::Follows,
            Down::Open | Down::Ended => Fin::NotYet,
        };
        socket::flush(socket, &mut self.to_client, fin).is_ok()
    }

    pub(super) fn flush_to_command(&mut self) {
        if self.to_command.is_empty() {
            return; // a write of nothing would tell that the command is gone; reading tells that in its time
        }
        let waiting = std::mem::take(&mut self.to_command);
        let to = match &self.command {
            ProgramStream::Socket(to)
            | ProgramStream::Backend(to, _)
            | ProgramStream::Pipes(_, Some(to)) => to,
            ProgramStream::Pipes(_, None) => return,
        };
        match socket::write(to, waiting.filled()) {
            Written::Bytes(n) => {
                self.moved.up += n as u64;
                self.to_command = waiting;
                self.to_command.consume_and_free(n);
            }
            Written::Broken(e) => {
                self.torn |= self.is_tear(e);
                self.up = if self.up == Up::Ending {
                    Up::Ended
                } else {
                    Up::Deaf
                }
            }
        }
    }

    /// Whether what the kernel says when writing means that what the backend sent is not all of it. EPIPE
    /// does not: then its end had come before.
    fn is_tear(&self, e: Errno) -> bool {
        self.is_tcp() && e != Errno::EPIPE
    }
}
