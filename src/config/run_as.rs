//! The user that the command of a host runs as.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Arc;

use crate::types::{Credentials, HandshakeInfo, PskIdentity};

/// Whom the command of a host becomes.
pub enum RunAs {
    /// The same user for every client.
    OfHost(Role),
    /// The user of the client's PSK identity.
    OfIdentity {
        /// A client whose identity is not among these is refused.
        roles: HashMap<PskIdentity, Arc<Role>>,
        /// For clients of a host's certificates, who have no identity.
        otherwise: Option<Role>,
    },
    /// The user of the common name in the client's certificate.
    OfCommonName {
        /// A client whose name is not among these is refused.
        roles: HashMap<String, Arc<Role>>,
        /// For clients with a pre-shared key.
        otherwise: Option<Role>,
    },
}

/// Where the user of a command comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserFrom {
    /// From the host.
    Host,
    /// From the PSK table, by the client's identity.
    Psk,
    /// From the host, by the common name in the client's certificate.
    CommonName,
}

/// A user, as a command becomes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Whom it becomes; `None`: it stays who started tlssrv.
    pub credentials: Option<Credentials>,
    /// `NAME=value`, without what the connection adds.
    pub environment: Vec<CString>,
}

impl RunAs {
    /// Whom the command of a client becomes, by what the handshake has found out: that it has the key of
    /// an identity, or a certificate, or nothing; `None`: nobody, so that there is no command for it.
    pub fn role(&self, facts: &HandshakeInfo) -> Option<&Role> {
        match (self, &facts.psk_identity, &facts.client) {
            (Self::OfHost(role), ..) => Some(role),
            (Self::OfIdentity { roles, .. }, Some(identity), _) => {
                roles.get(identity).map(Arc::as_ref)
            }
            (Self::OfIdentity { otherwise, .. }, None, _) => otherwise.as_ref(),
            (Self::OfCommonName { roles, .. }, _, Some(certificate)) => {
                let name = certificate.common_name.as_ref()?;
                roles.get(name.as_str()).map(Arc::as_ref)
            }
            (Self::OfCommonName { otherwise, .. }, _, None) => otherwise.as_ref(),
        }
    }
}
