//! Whom the command of a host becomes: one user for all clients, or the user of each one's identity.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsString};
use std::sync::Arc;

use super::Credentials;
use super::account::{Accounts, Invoker};
use super::credentials::{self, Person, Root};
use super::problem::{Place, Problems};
use super::program::{self, PathVariable};
use super::psk::Table;
use crate::types::{HandshakeInfo, PskIdentity};

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

impl Role {
    /// The usual variables of a person, then those of a host, which go before.
    ///
    /// Errors: one of them has a NUL.
    pub(super) fn new(
        person: Person,
        path: PathVariable,
        of_host: &BTreeMap<OsString, OsString>,
    ) -> Result<Self, &'static str> {
        let mut variables = program::environment(person.account.as_ref(), path);
        variables.extend(of_host.clone());
        Ok(Self {
            credentials: person.credentials,
            environment: program::environment_block(&variables)?,
        })
    }
}

/// The users of a table, each made ready once; `None` when somebody is wrong, which is reported. The
/// configuration names the table at `place`; `of_host` are the variables that its host sets.
pub(super) fn of_identities(
    table: &Table,
    place: &Place,
    root: Root,
    of_host: &BTreeMap<OsString, OsString>,
    invoker: &Invoker,
    accounts: &mut Accounts,
    problems: &mut Problems,
) -> Option<HashMap<PskIdentity, Arc<Role>>> {
    let mut made: HashMap<&str, Result<Arc<Role>, String>> = HashMap::new();
    let mut make = |name| {
        let person = credentials::of_user(name, root, invoker, accounts)?;
        let role = Role::new(person, PathVariable::Default, of_host);
        role.map(Arc::new)
            .map_err(|reason| format!("unable to make the command's environment: {reason}"))
    };
    let (mut roles, mut complete) = (HashMap::new(), true);
    let nobody = table.entries.iter().all(|entry| entry.user.is_none());
    if nobody {
        let path = table.path.display().to_string();
        let message = format!("no identity in PSK file {path:?} has a user: nobody can be served");
        problems.error(place.clone(), message);
    }
    for entry in table.entries.iter().filter(|_| !nobody) {
        let Some(name) = &entry.user else {
            let identity = &entry.identity;
            let message = format!(
                "identity \"{identity}\" has no user: clients with this identity are refused"
            );
            problems.warning_in(table.line(entry), place.clone(), message);
            continue;
        };
        match made.entry(name).or_insert_with_key(|name| make(name)) {
            Ok(role) => drop(roles.insert(entry.identity.clone(), Arc::clone(role))),
            Err(message) => {
                problems.error_in(table.line(entry), place.clone(), message.clone());
                complete = false;
            }
        }
    }
    (complete && !nobody).then_some(roles)
}
