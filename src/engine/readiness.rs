//! Readiness of a connection's descriptors.
#![forbid(unsafe_code)]

/// Descriptors that are ready, or that a connection waits for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Readiness {
    /// Bytes, or the end, can be read from the client.
    pub(super) client_read: bool,
    /// Bytes can be written to the client.
    pub(super) client_write: bool,
    /// Bytes, or the end, can be read from the program.
    pub(super) program_read: bool,
    /// Bytes can be written to the program.
    pub(super) program_write: bool,
}
