//! TLS sessions and the ClientHello reader of the library, in memory: a rustls client, made to misbehave
//! where a test wants it, and the server side of tlssrv.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod alerts;
mod hello;
mod peers;
mod session;
mod tickets;
