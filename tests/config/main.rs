//! The configuration file and the command line: what is accepted, what `--check` and `--explain` print, and
//! the message for each mistake.
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
mod hints;
mod keyspec;
mod metrics;
mod names;
mod profile;
mod psk;
mod site;
mod start;
mod tickets;
mod usage;
