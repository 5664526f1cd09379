//! The messages of a handshake (RFC 8446 §4.4.1).

use super::bytes::message;
use super::codes::handshake;
use super::hash::Hash;

/// The messages so far, headers included.
#[derive(Clone, Default)]
pub struct Transcript {
    /// A first ClientHello that was answered by a HelloRetryRequest.
    first: Option<Vec<u8>>,
    rest: Vec<u8>,
}

impl Transcript {
    /// A message that was sent or received.
    pub fn add(&mut self, message: &[u8]) {
        self.rest.extend_from_slice(message);
    }

    /// Takes the message so far as the first ClientHello, which a HelloRetryRequest answers.
    pub fn retry(&mut self) {
        self.first = Some(std::mem::take(&mut self.rest));
    }

    /// The messages, as they go into this hash.
    pub fn messages(&self, hash: Hash) -> Vec<u8> {
        let first = self.first.iter();
        let first = first.map(|hello| message(handshake::MESSAGE_HASH, &hash.digest(hello)));
        first.flatten().chain(self.rest.iter().copied()).collect()
    }
}
