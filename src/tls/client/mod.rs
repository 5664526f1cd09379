//! Client certificates: who may come with one, and what the log and the command are told of it.
//!
//! Only engines parse what a client has sent. The monitor gets `ClientCertificate`: facts that an
//! engine vouches for, as it vouches for a PSK identity.
#![forbid(unsafe_code)]

mod certificate;
mod name;
mod policy;
mod verifier;

pub use certificate::{Certificate, Unreadable};
pub use policy::{Allowed, Demand, Policy};
pub use verifier::Verifier;
