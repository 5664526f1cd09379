//! Whom the command of a host becomes: one user for all clients, or the user of each one's identity.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};

use super::Credentials;
use super::credentials::Person;
use super::program::{self, PathVariable};

/// Whom the command of a host becomes.
pub enum RunAs {
    /// The same user for every client.
    OfHost(Role),
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
    /// Whom the command of a client becomes.
    pub fn role(&self) -> &Role {
        match self {
            Self::OfHost(role) => role,
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
