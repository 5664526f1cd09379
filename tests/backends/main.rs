//! Hosts with backends in place of a command, and load balancers in front of tlssrv.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand, and say what they skip"
)]

mod backend;
mod choice;
mod configuration;
mod limits;
mod names;
mod peers;
mod proxied;
mod proxy;
mod reload;
mod stream;
