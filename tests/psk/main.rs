//! Sessions with pre-shared keys, in memory: a client of our own, made to misbehave where a test wants
//! it, and our server side.

// Tests, and what helps them, may stop where they stand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod binders;
mod client;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod exchange12;
mod hello12;
mod hello13;
mod openssl;
mod retry;
mod server;
mod setup;
mod shares;
mod tls12;
mod tls13;
