//! Bytes → session: everything that knows TLS, and nothing that knows a descriptor or a process.

pub mod alert;
pub mod hello;
pub mod name;
pub mod provider;
pub mod tickets;
mod wire;
