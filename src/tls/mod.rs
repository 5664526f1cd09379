//! Bytes → session: everything that knows TLS, and nothing that knows a descriptor or a process.

pub mod identity;
pub mod name;
