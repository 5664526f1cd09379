//! The external-PSK engine.
#![forbid(unsafe_code)]

mod keys;

pub use keys::{Hash, Identity, InvalidIdentity, InvalidKey, Key, Keys};
