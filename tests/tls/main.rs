//! Sessions in memory: a rustls client, made to misbehave where a test wants it, and our server side.

// Tests, and what helps them, may stop where they stand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod alerts;
mod peers;
mod session;
mod tickets;
