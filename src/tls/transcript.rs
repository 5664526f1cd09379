//! The transcript hash of rustls, over each ClientHello as the client has sent it.
//!
//! A ClientHello whose server name rustls would refuse reaches rustls with another type in the place of
//! `server_name` (see [`super::disguise`]). Both sides hash the messages of the handshake (RFC 8446 §4.4.1), so the
//! type of the client is put back here.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::cell::Cell;

use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};

/// An extension that has another type in a ClientHello than the client gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retyped {
    /// Offset of the type in the handshake message.
    pub(super) at: usize,
    /// The type that rustls sees.
    pub(super) shown: [u8; 2],
    /// The type of the client.
    pub(super) sent: [u8; 2],
}

/// Sets the extension that is put back on this thread from now on; `None`: none is.
pub(super) fn put_back(retyped: Option<Retyped>) {
    RETYPED.set(retyped);
}

/// Handshake messages as the client has sent them. A ClientHello can only be the first of them.
pub(super) fn as_sent(messages: &[u8]) -> Cow<'_, [u8]> {
    let unchanged = Cow::Borrowed(messages);
    let (Some(Retyped { at, shown, sent }), Some(&CLIENT_HELLO)) =
        (RETYPED.get(), messages.first())
    else {
        return unchanged;
    };
    let mut messages = messages.to_vec();
    match messages.get_mut(at..at + 2) {
        Some(typ) if *typ == shown => typ.copy_from_slice(&sent),
        _ => return unchanged,
    }
    Cow::Owned(messages)
}

/// The same hash function for a cipher suite, which puts the extension back. Created once, and never freed.
pub(super) fn hash(hash: &'static dyn Hash) -> &'static dyn Hash {
    Box::leak(Box::new(Transcript(hash)))
}

// A hash does not know its connection, so this is kept per thread. The session sets it before rustls runs.
thread_local! {
    static RETYPED: Cell<Option<Retyped>> = const { Cell::new(None) };
}

struct Transcript(&'static dyn Hash);

impl Hash for Transcript {
    fn start(&self) -> Box<dyn Context> {
        Box::new(Messages(self.0.start()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.0.hash(&as_sent(data))
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Messages(Box<dyn Context>);

impl Context for Messages {
    fn fork_finish(&self) -> Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Self(self.0.fork()))
    }

    fn finish(self: Box<Self>) -> Output {
        self.0.finish()
    }

    /// rustls gives a whole message, or for a binder its beginning, in one call.
    fn update(&mut self, data: &[u8]) {
        self.0.update(&as_sent(data));
    }
}

/// `HandshakeType` (RFC 8446 §4)
const CLIENT_HELLO: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_extension_of_a_client_hello_is_put_back() {
        let hello = [CLIENT_HELLO, 0, 0, 3, 7, 0xff, 2];
        assert_eq!(*as_sent(&hello), hello);
        put_back(Some(Retyped {
            at: 5,
            shown: [0xff, 2],
            sent: [0, 0],
        }));
        assert_eq!(*as_sent(&hello), [CLIENT_HELLO, 0, 0, 3, 7, 0, 0]);
        for other in [
            &hello[..6],
            &[],
            &[2, 0, 0, 3, 7, 0xff, 2],
            &[1, 0, 0, 3, 7, 0xff, 3],
        ] {
            assert_eq!(*as_sent(other), *other);
        }
        put_back(None);
    }
}
