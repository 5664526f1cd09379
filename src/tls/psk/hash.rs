//! The hash of a pre-shared key.
#![forbid(unsafe_code)]

/// The hash that a key is used with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256: "If no hash is defined, SHA-256 MUST be used" (RFC 8446 §4.2.11).
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
}
