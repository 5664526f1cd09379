//! What the configuration may say, and what is said about mistakes in it: `--check`, `--explain`
//! and the command line, by the real binary.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests may stop where they stand, and say what they skip"
)]

#[path = "config/accounts.rs"]
mod accounts;
#[path = "config/certificates.rs"]
mod certificates;
#[path = "config/commands.rs"]
mod commands;
#[path = "config/explain.rs"]
mod explain;
#[path = "config/file.rs"]
mod file;
#[path = "config/keyspec.rs"]
mod keyspec;
#[path = "config/metrics.rs"]
mod metrics;
#[path = "config/names.rs"]
mod names;
#[path = "config/profile.rs"]
mod profile;
#[path = "config/psk.rs"]
mod psk;
#[path = "config/site.rs"]
mod site;
#[path = "config/tickets.rs"]
mod tickets;
#[path = "config/usage.rs"]
mod usage;
