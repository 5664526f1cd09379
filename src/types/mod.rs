//! Types that several rooms share: names, identities, results of a handshake, ids, programs,
//! severities, buffers; and the words for errors of the system.
//!
//! This is the lowest room: it imports no other.
#![forbid(unsafe_code)]

mod buffer;
mod cause;
mod client_certificate;
mod handshake_info;
mod id;
mod name_pattern;
mod program;
mod psk_identity;
mod server_name;
mod severity;
mod stdio;
mod unfit_name;

pub use buffer::Buffer;
pub use cause::cause;
pub use client_certificate::{ClientCertificate, InvalidText, Text};
pub use handshake_info::HandshakeInfo;
pub use id::{ConnectionId, EngineId, HostId, ListenerId};
pub use name_pattern::{InvalidPattern, NamePattern, server_name};
pub use program::{Credentials, NewPrivileges, Program, Rlimit, Stderr};
pub use psk_identity::{InvalidPskIdentity, PskIdentity};
pub use server_name::{InvalidName, ServerName};
pub use severity::Severity;
pub use stdio::Stdio;
pub use unfit_name::{OverlongName, UnfitName};
