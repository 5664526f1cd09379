//! Commands: how they start, what they are given, and how the stream to and from the client ends; with
//! `--listen`, and with the one connection on descriptor 0.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod command;
mod environment;
mod inetd;
mod killed;
mod launch;
mod privileges;
mod stream;
