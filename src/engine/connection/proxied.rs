//! A client that comes by a load balancer: the header that says who it is, then its own first flight.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use super::{Connection, Proxied, State};
use crate::engine::Shared;
use crate::engine::relay::CHUNK;
use crate::message::End;
use crate::process::socket::{self, Read};
use crate::proxy::{Header, Progress, read};

/// The client's address and the one that it connected to, where the header has them.
type Addresses = Option<(SocketAddr, SocketAddr)>;

impl Connection {
    /// Reads the header, and what has come after it.
    ///
    /// Errors: it is not complete, or none; the state that follows from that.
    pub(super) fn proxied(
        &mut self,
        mut proxied: Proxied,
        shared: &mut Shared<'_>,
    ) -> Result<(State, Addresses), State> {
        let input = &mut shared.scratch.input;
        input.clear();
        let room = input.room(CHUNK);
        let bytes = &mut proxied.bytes;
        match socket::receive(&self.socket, room) {
            Read::WouldBlock => return Err(State::Proxied(proxied)),
            Read::Broken => return Err(State::Over(End::Reset)),
            Read::Eof if bytes.is_empty() => return Err(State::Over(End::Closed)),
            Read::Eof => return Err(State::Over(End::Truncated)),
            Read::Bytes(n) => bytes.extend_from_slice(room.get(..n).unwrap_or_default()),
        }
        match read(bytes) {
            Ok(Progress::NeedMore) => Err(State::Proxied(proxied)),
            Ok(Progress::Complete(header, length)) => {
                let addresses = match header {
                    Header::Own => None,
                    Header::Proxied(peer, local) => Some((peer, local)),
                };
                Ok((State::Vouched(bytes.split_off(length)), addresses))
            }
            Err(e) => Err(self.fail(e.to_string(), None, shared)),
        }
    }
}
