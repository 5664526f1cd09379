//! User that the command of a host runs as.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Arc;

use crate::types::{Credentials, HandshakeInfo, PskIdentity};

/// User that the command of a host runs as.
pub enum RunAs {
    /// The same user for every client.
    OfHost(Role),
    /// The user of the client's PSK identity.
    OfIdentity {
        /// Roles by identity. A client with any other identity is refused.
        roles: HashMap<PskIdentity, Arc<Role>>,
        /// Role for clients without a PSK identity; `None`: they are refused.
        otherwise: Option<Role>,
    },
    /// The user of the common name in the client's certificate.
    OfCommonName {
        /// Roles by common name. A client with any other name is refused.
        roles: HashMap<String, Arc<Role>>,
        /// Role for clients without a certificate; `None`: they are refused.
        otherwise: Option<Role>,
    },
}

/// Source of the user that a command runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserFrom {
    /// The host.
    Host,
    /// The PSK file, by the client's identity.
    Psk,
    /// `users` of the host, by the common name in the client's certificate.
    CommonName,
}

/// Credentials and environment that a command runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// User that the command runs as; `None`: the user that started tlssrv.
    pub credentials: Option<Credentials>,
    /// Environment as `NAME=value`, without the variables of the connection.
    pub environment: Vec<CString>,
}

impl RunAs {
    /// Role of the command for a client, by the PSK identity or the certificate of the client; `None`:
    /// no command is started for this client.
    pub fn role(&self, handshake: &HandshakeInfo) -> Option<&Role> {
        match (self, &handshake.psk_identity, &handshake.client) {
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
