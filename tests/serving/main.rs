//! The server at work: the real binary, and real clients that talk to it.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand, and say what they skip"
)]

mod alpn;
mod command;
mod compression;
mod engines;
mod environment;
mod exhausted;
mod hello;
mod inetd;
mod launch;
mod limits;
mod listen;
mod load;
mod log;
mod names;
mod profile;
mod psk;
mod reload;
mod sockets;
mod stall;
mod staple;
mod stop;
mod stream;
mod syslog;
mod tickets;
mod tls;
mod wire;
