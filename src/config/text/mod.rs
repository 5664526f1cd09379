//! TOML with its spans: problems, reading key by key, and what a file can say.
//!
//! Nothing here opens another file, or knows what the values mean together.
#![forbid(unsafe_code)]

pub(super) mod problems;
pub(super) mod raw;
pub(super) mod raw_clients;
pub(super) mod raw_connect;
pub(super) mod raw_host;
pub(super) mod reader;
mod words;
