//! Checks the users of PSK identities and common names, and makes the role of each.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::sync::Arc;

use toml::Spanned;

use crate::config::checks::users::{self, CommandUser, RootPolicy};
use crate::config::run_as::Role;
use crate::config::sources::accounts::{Accounts, Invoker};
use crate::config::sources::programs::{self, PathVariable};
use crate::config::sources::psk_file::PskFile;
use crate::config::text::problems::{Problems, Span};
use crate::types::{PskIdentity, Text};

impl Role {
    /// Makes a role with the usual variables of its user and the variables of a host, which take
    /// precedence. Errors: a variable contains a NUL byte.
    pub(in crate::config) fn new(
        user: CommandUser,
        path: PathVariable,
        of_host: &BTreeMap<OsString, OsString>,
    ) -> Result<Self, &'static str> {
        let mut variables = programs::environment(user.account.as_ref(), path);
        variables.extend(of_host.clone());
        Ok(Self {
            credentials: user.credentials,
            environment: programs::environment_block(&variables)?,
        })
    }
}

/// Makes the roles of the identities in a PSK file. `None`: there is an error, which is reported.
///
/// `span` is the position in the configuration that names the file. `of_host` has the variables of the
/// host. Identities with the same user share a role.
pub(in crate::config) fn of_identities(
    file: &PskFile,
    span: &Span,
    root: RootPolicy,
    of_host: &BTreeMap<OsString, OsString>,
    invoker: &Invoker,
    accounts: &mut Accounts,
    problems: &mut Problems,
) -> Option<HashMap<PskIdentity, Arc<Role>>> {
    let mut made: HashMap<&str, Result<Arc<Role>, String>> = HashMap::new();
    let mut make = |name| {
        let user = users::of_user(name, root, invoker, accounts)?;
        let role = Role::new(user, PathVariable::Default, of_host);
        role.map(Arc::new)
            .map_err(|reason| format!("unable to make the command's environment: {reason}"))
    };
    let (mut roles, mut complete) = (HashMap::new(), true);
    let no_users = file.entries.iter().all(|entry| entry.user.is_none());
    if no_users {
        let path = file.path.display().to_string();
        let message = format!("no identity in PSK file {path:?} has a user: nobody can be served");
        problems.error(span.clone(), message);
    }
    for entry in file.entries.iter().filter(|_| !no_users) {
        let Some(name) = &entry.user else {
            let identity = &entry.identity;
            let message = format!(
                "identity \"{identity}\" has no user: clients with this identity are refused"
            );
            problems.warning_in(file.line(entry), span.clone(), message);
            continue;
        };
        match made.entry(name).or_insert_with_key(|name| make(name)) {
            Ok(role) => drop(roles.insert(entry.identity.clone(), Arc::clone(role))),
            Err(message) => {
                problems.error_in(file.line(entry), span.clone(), message.clone());
                complete = false;
            }
        }
    }
    (complete && !no_users).then_some(roles)
}

/// Makes the roles of common names. `None`: there is an error, which is reported. `of_host` has the
/// variables of the host.
pub(in crate::config) fn of_common_names(
    users: &BTreeMap<String, Spanned<String>>,
    root: RootPolicy,
    of_host: &BTreeMap<OsString, OsString>,
    invoker: &Invoker,
    accounts: &mut Accounts,
    problems: &mut Problems,
) -> Option<HashMap<String, Arc<Role>>> {
    let mut roles = Some(HashMap::new());
    for (name, user_name) in users {
        let user = match Text::try_from(name.clone()) {
            Ok(_) if name.is_empty() => Err("no certificate has an empty name".to_owned()),
            Ok(_) => users::of_user(user_name.get_ref(), root, invoker, accounts),
            Err(reason) => Err(format!("the name is {reason}")),
        };
        let role = user.and_then(|user| {
            let role = Role::new(user, PathVariable::Default, of_host);
            role.map_err(|reason| format!("unable to make the command's environment: {reason}"))
        });
        match role {
            Ok(role) => {
                if let Some(roles) = &mut roles {
                    roles.insert(name.clone(), Arc::new(role));
                }
            }
            Err(reason) => {
                let message = format!("unable to run as user {:?}: {reason}", user_name.get_ref());
                problems.error(user_name.span(), message);
                roles = None;
            }
        }
    }
    roles
}
