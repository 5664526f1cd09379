//! Users and groups. All NSS look-ups are in this file.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups};

use crate::types::Credentials;

/// User that started tlssrv.
pub(in crate::config) struct Invoker {
    /// Effective ids and supplementary groups.
    pub(in crate::config) credentials: Credentials,
    /// Entry in the user database, if there is one.
    pub(in crate::config) account: Option<User>,
    no_new_privs: bool,
}

/// User database. Each name is looked up once, because a directory service may answer slowly.
#[derive(Default)]
pub(in crate::config) struct Accounts {
    users: HashMap<String, Result<User, NoAccount>>,
    groups: HashMap<String, Result<u32, NoAccount>>,
    memberships: HashMap<(String, u32), Result<Vec<u32>, Errno>>,
}

/// Reason why the user database has no answer for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum NoAccount {
    /// The database does not have the name.
    Unknown,
    /// The database cannot be read.
    Unreadable(Errno),
}

impl Invoker {
    /// Reads the credentials of this process and looks up its user.
    pub(in crate::config) fn new() -> Self {
        let uid = geteuid();
        let credentials = Credentials {
            uid: uid.as_raw(),
            gid: getegid().as_raw(),
            groups: getgroups()
                .unwrap_or_default()
                .into_iter()
                .map(Gid::as_raw)
                .collect(),
        };
        Self {
            credentials,
            account: User::from_uid(uid).ok().flatten(),
            no_new_privs: prctl::get_no_new_privs().unwrap_or_default(),
        }
    }

    /// Whether tlssrv runs as root, and so may run commands and engines as other users.
    pub(in crate::config) fn is_root(&self) -> bool {
        Uid::from_raw(self.credentials.uid).is_root()
    }

    /// Whether tlssrv runs with `no_new_privs`, which its commands inherit.
    pub(in crate::config) fn has_no_new_privs(&self) -> bool {
        self.no_new_privs
    }

    /// Effect of `no_new_privs` on a command that may gain privileges, and the remedy.
    pub(in crate::config) const NO_NEW_PRIVS: &'static str = "has no effect: tlssrv itself runs with \
        no_new_privs, and so does the command; under systemd, set NoNewPrivileges=no for the service";

    /// Whether these are the supplementary groups of tlssrv. The primary group does not count, because
    /// a list of supplementary groups may contain it or not.
    pub(in crate::config) fn has_groups(&self, groups: &[u32]) -> bool {
        let own = &self.credentials;
        let set = |groups: &[u32]| {
            groups
                .iter()
                .copied()
                .chain([own.gid])
                .collect::<BTreeSet<_>>()
        };
        set(groups) == set(&own.groups)
    }
}

impl Accounts {
    /// Looks up a user.
    pub(in crate::config) fn user(&mut self, name: &str) -> Result<User, NoAccount> {
        let look_up = || match User::from_name(name) {
            Ok(found) => found.ok_or(NoAccount::Unknown),
            Err(errno) => Err(NoAccount::Unreadable(errno)),
        };
        self.users
            .entry(name.to_owned())
            .or_insert_with(look_up)
            .clone()
    }

    /// Looks up the id of a group.
    pub(in crate::config) fn group(&mut self, name: &str) -> Result<u32, NoAccount> {
        let look_up = || match Group::from_name(name) {
            Ok(found) => found
                .map(|group| group.gid.as_raw())
                .ok_or(NoAccount::Unknown),
            Err(errno) => Err(NoAccount::Unreadable(errno)),
        };
        *self.groups.entry(name.to_owned()).or_insert_with(look_up)
    }

    /// Looks up the groups that a user is in, and adds `gid`.
    pub(in crate::config) fn groups_of(&mut self, user: &str, gid: u32) -> Result<Vec<u32>, Errno> {
        let look_up = || {
            let name = CString::new(user).map_err(|_| Errno::EINVAL)?;
            let groups = getgrouplist(&name, Gid::from_raw(gid))?;
            Ok(groups.into_iter().map(Gid::as_raw).collect())
        };
        self.memberships
            .entry((user.to_owned(), gid))
            .or_insert_with(look_up)
            .clone()
    }
}

/// User id and group id of a user in `/etc/passwd`.
///
/// Directory services are not asked: for a name that may not exist, that would take half a millisecond
/// for each connection of the one-connection form.
pub(in crate::config) fn local_ids(name: &str) -> Option<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let mut id = fields.skip(1).map(|id| id.parse().ok());
        found.then_some((id.next()??, id.next()??))
    })
}

impl NoAccount {
    /// Message for a name of this kind: `unknown user "x"`.
    pub(in crate::config) fn message(self, kind: &str, name: &str) -> String {
        match self {
            Self::Unknown => format!("unknown {kind} {name:?}"),
            Self::Unreadable(errno) => {
                format!("unable to look up {kind} {name:?}: {}", errno.desc())
            }
        }
    }
}
