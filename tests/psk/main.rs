//! The engine for pre-shared keys, in memory: a client that can misbehave in every way, and the server side of
//! tlssrv.

// Tests, and what helps them, may stop where they stand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod binders;
mod clients;
mod close;
mod early;
mod exchange12;
mod finished13;
mod flips;
mod hello12;
mod hello13;
mod limits;
mod offers;
mod openssl;
mod properties;
mod records;
mod reproducible;
mod retry;
mod server;
mod setup;
mod shares;
mod sizes;
mod states;
mod test_client;
mod tls12;
mod tls13;
mod updates;
