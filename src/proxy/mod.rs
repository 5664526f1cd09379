//! The PROXY protocol, read and written: a header that tells the address of a client ahead of its bytes.
//!
//! The standard is HAProxy's `doc/proxy-protocol.txt`; section numbers refer to it. There are no sockets here.
//!
//! Headers come from the network, so they are read strictly. The result never depends on the pieces in which the
//! bytes came: each byte is judged once, as soon as it is there.
#![forbid(unsafe_code)]

mod crc32c;
mod read;
mod write;

pub use read::{Header, MAX_V1, MAX_V2, Malformed, Progress, read};
pub use write::{About, Proved, Shown, Version, header};

/// First bytes of each header of version 2 (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
