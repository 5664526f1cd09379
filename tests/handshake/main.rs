//! TLS handshakes with the program: which host a client gets, what is agreed, certificates and their OCSP
//! responses, tickets, pre-shared keys, and what happens to bad input.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod alpn;
mod compression;
mod files;
mod hello;
mod names;
mod profile;
mod psk;
mod staple;
mod tickets;
mod timeouts;
mod tls;
mod unfit;
mod wire;
