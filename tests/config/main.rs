//! What the configuration may say, and what is said about mistakes in it: `--check`, `--explain`
//! and the command line, by the real binary.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests may stop where they stand, and say what they skip"
)]

mod accounts;
mod certificates;
mod commands;
mod explain;
mod file;
mod keyspec;
mod metrics;
mod names;
mod profile;
mod psk;
mod site;
mod tickets;
mod usage;
