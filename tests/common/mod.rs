//! What the tests that run the real binary share: a server, a client, and a look into `/proc`.
#![allow(dead_code, reason = "each test binary uses some of it")]
#![allow(
    unused_imports,
    reason = "each test binary uses some of what is re-exported"
)]

pub(crate) mod authority;
pub(crate) mod client;
pub(crate) mod host;
pub(crate) mod line;
pub(crate) mod ocsp;
pub(crate) mod pki;
pub(crate) mod proc;
pub(crate) mod programs;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod socket;
pub(crate) mod wait;

pub(crate) use client::{Client, Dial, Ended, Received};
pub(crate) use host::Host;
pub(crate) use line::Line;
pub(crate) use server::Server;
pub(crate) use site::Site;
pub(crate) use socket::Socket;
pub(crate) use wait::{DEADLINE, eventually};

/// The program under test.
pub(crate) const TLSSRV: &str = env!("CARGO_BIN_EXE_tlssrv");

/// Says that a test leaves something out, and why: to descriptor 2 itself, because what a test that
/// passes prints is not shown.
pub(crate) fn skip(why: &str) {
    let thread = std::thread::current();
    programs::aloud(&format!("SKIPPED {}: {why}", thread.name().unwrap_or("?")));
}
