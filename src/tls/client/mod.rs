//! Client certificates: verification, the policy of a host, and the fields for the log and the command.
//!
//! Only engines parse what a client has sent. The monitor gets the fields in `ClientCertificate`, and trusts the
//! engine for them, as it does for a PSK identity.
#![forbid(unsafe_code)]

mod authority;
mod certificate;
mod crl;
mod name;
mod policy;
mod revocation;
mod uri;
mod verifier;

pub use authority::vouches;
pub use certificate::{Certificate, Unreadable};
pub use crl::Crl;
pub use policy::{Allowed, Demand, Policy};
pub use revocation::{Finding, findings};
pub use uri::UriPattern;
pub use verifier::Verifier;
