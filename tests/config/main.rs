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
mod chains;
mod commands;
mod encrypted;
mod explain;
mod file;
mod hints;
mod keys;
mod keyspec;
mod metrics;
mod names;
mod pem;
mod profile;
mod psk;
mod psk_text;
mod site;
mod start;
mod tickets;
mod usage;
