//! tlssrv as a service of systemd: passed sockets, the notify protocol, credentials, and the units.
//!
//! systemd as the first process cannot run in a test. An instance of it for a user and its tools can, and its protocols
//! are simple.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod activate;
mod confined;
mod credentials;
mod journal;
mod manager;
mod notify;
mod passed;
mod reload;
mod start;
mod units;
