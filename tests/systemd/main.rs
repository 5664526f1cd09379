//! tlssrv as a service of systemd: passed sockets, the notify protocol, credentials, and the units.
//!
//! systemd itself cannot run in a test. Its tools can, and its protocols are simple.
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
mod notify;
mod passed;
mod reload;
mod start;
mod units;
