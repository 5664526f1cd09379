//! The hash of all handshake messages so far (RFC 8446 §4.4.1, RFC 5246 §7.4.9).
#![forbid(unsafe_code)]

use aws_lc_rs::digest::{Context, Digest};

use super::Hash;
use super::message::MESSAGE_HASH;

/// The hash of all handshake messages so far, in their order on the wire.
#[derive(Clone)]
pub(super) struct Transcript {
    hash: Hash,
    context: Context,
}

impl Transcript {
    pub(super) fn new(hash: Hash) -> Self {
        Self {
            hash,
            context: Context::new(hash.digest()),
        }
    }

    /// Adds one or more whole messages.
    pub(super) fn add(&mut self, message: &[u8]) {
        self.context.update(message);
    }

    /// `Transcript-Hash(…)` of the messages so far.
    pub(super) fn current(&self) -> Digest {
        self.context.clone().finish()
    }

    /// Replaces the first hello after a HelloRetryRequest: "the value of `ClientHello1` is replaced with a special
    /// synthetic handshake message of handshake type `message_hash` containing Hash(`ClientHello1`)".
    pub(super) fn retried(&self) -> Self {
        let hash = self.current();
        let mut transcript = Self::new(self.hash);
        let length = u8::try_from(hash.as_ref().len()).unwrap_or_default();
        transcript.add(&[MESSAGE_HASH, 0, 0, length]);
        transcript.add(hash.as_ref());
        transcript
    }
}
