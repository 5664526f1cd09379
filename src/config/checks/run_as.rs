//! Whom the command of a host becomes: one user for all clients, or the user of each one's identity.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::sync::Arc;

use toml::Spanned;

use crate::config::checks::users;
use crate::config::checks::users::{CommandUser, RootPolicy};
use crate::config::run_as::Role;
use crate::config::sources::accounts::{Accounts, Invoker};
use crate::config::sources::programs;
use crate::config::sources::programs::PathVariable;
use crate::config::sources::psk_file::PskFile;
use crate::config::text::problems::{Problems, Span};
use crate::types::{PskIdentity, Text};

impl Role {
    /// The usual variables of a person, then those of a host, which go before.
    ///
    /// Errors: one of them has a NUL.
    pub(in crate::config) fn new(
        person: CommandUser,
        path: PathVariable,
        of_host: &BTreeMap<OsString, OsString>,
    ) -> Result<Self, &'static str> {
        let mut variables = programs::environment(person.account.as_ref(), path);
        variables.extend(of_host.clone());
        Ok(Self {
            credentials: person.credentials,
            environment: programs::environment_block(&variables)?,
        })
    }
}

/// The users of a table, each made ready once; `None` when somebody is wrong, which is reported. The
/// configuration names the table at `place`; `of_host` are the variables that its host sets.
pub(in crate::config) fn of_identities(
    table: &PskFile,
    place: &Span,
    root: RootPolicy,
    of_host: &BTreeMap<OsString, OsString>,
    invoker: &Invoker,
    accounts: &mut Accounts,
    problems: &mut Problems,
) -> Option<HashMap<PskIdentity, Arc<Role>>> {
    let mut made: HashMap<&str, Result<Arc<Role>, String>> = HashMap::new();
    let mut make = |name| {
        let person = users::of_user(name, root, invoker, accounts)?;
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

/// The users of common names, each made ready; `None` when somebody is wrong, which is reported.
/// `of_host` are the variables that the host sets.
pub(in crate::config) fn of_common_names(
    users: &BTreeMap<String, Spanned<String>>,
    root: RootPolicy,
    of_host: &BTreeMap<OsString, OsString>,
    invoker: &Invoker,
    accounts: &mut Accounts,
    problems: &mut Problems,
) -> Option<HashMap<String, Arc<Role>>> {
    let mut roles = Some(HashMap::new());
    for (name, user) in users {
        let person = match Text::try_from(name.clone()) {
            Ok(_) if name.is_empty() => Err("no certificate has an empty name".to_owned()),
            Ok(_) => users::of_user(user.get_ref(), root, invoker, accounts),
            Err(reason) => Err(format!("the name is {reason}")),
        };
        let role = person.and_then(|person| {
            let role = Role::new(person, PathVariable::Default, of_host);
            role.map_err(|reason| format!("unable to make the command's environment: {reason}"))
        });
        match role {
            Ok(role) => roles
                .iter_mut()
                .for_each(|roles| drop(roles.insert(name.clone(), Arc::new(role.clone())))),
            Err(reason) => {
                let message = format!("unable to run as user {:?}: {reason}", user.get_ref());
                problems.error(user.span(), message);
                roles = None;
            }
        }
    }
    roles
}
