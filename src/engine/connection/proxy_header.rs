//! The PROXY header of a client that comes through a load balancer.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use super::Connection;
use super::state::State;
use crate::engine::Shared;
use crate::engine::relay::CHUNK;
use crate::message::End;
use crate::process::socket::{self, Read};
use crate::proxy::{Header, Progress, read};

/// Address of the client, and the address that the client connected to, if the header has them.
type Addresses = Option<(SocketAddr, SocketAddr)>;

impl Connection {
    /// Reads the header, and the bytes behind it.
    ///
    /// Errors: the header is not complete, or invalid; the next state.
    pub(super) fn proxy_header(
        &mut self,
        mut bytes: Vec<u8>,
        shared: &mut Shared<'_>,
    ) -> Result<(State, Addresses), State> {
        let input = &mut shared.scratch.input;
        input.clear();
        let room = input.room(CHUNK);
        match socket::receive(&self.socket, room) {
            Read::WouldBlock => return Err(State::ProxyHeader(bytes)),
            Read::Broken => return Err(State::Ended(End::Reset)),
            Read::Eof if bytes.is_empty() => return Err(State::Ended(End::Closed)),
            Read::Eof => return Err(State::Ended(End::Truncated)),
            Read::Bytes(length) => bytes.extend_from_slice(room.get(..length).unwrap_or_default()),
        }
        self.silent = false;
        match read(&bytes) {
            Ok(Progress::NeedMore) => Err(State::ProxyHeader(bytes)),
            Ok(Progress::Complete(header, length)) => {
                let addresses = match header {
                    Header::Own => None,
                    Header::Proxied(peer, local) => Some((peer, local)),
                };
                let rest = bytes.split_off(length);
                self.silent = addresses.is_none() && rest.is_empty();
                Ok((State::AwaitingAdmission(rest), addresses))
            }
            Err(e) => Err(self.fail(e.to_string(), None, shared)),
        }
    }
}
