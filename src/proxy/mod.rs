//! The PROXY protocol, in both directions: who a client is, said ahead of what it says.
//!
//! HAProxy's `doc/proxy-protocol.txt` is the standard that the sections below are of. Bytes → facts and
//! facts → bytes; no sockets.
//!
//! What is read comes from the network, so it is read strictly, and what is decided about some bytes never
//! depends on how they came: each byte is judged once, as soon as it is there.
#![forbid(unsafe_code)]

mod read;
mod write;

pub use read::{Header, MAX_V1, MAX_V2, Malformed, Progress, read};
pub use write::{About, Certificate, Shown, Version, header};

/// What each header of version 2 begins with (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
