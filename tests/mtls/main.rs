//! Client certificates: which clients are accepted, which alert the others get, and what the command and the
//! log get.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod allow;
mod config;
mod keys;
mod one;
mod pem;
mod pinned;
mod refused;
mod resumption;
mod revocation;
mod setup;
mod users;
mod variables;
