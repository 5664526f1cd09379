//! Users and groups: every NSS look-up is here.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups};

use crate::types::Credentials;

/// Who runs tlssrv.
pub(in crate::config) struct Invoker {
    /// Its effective ids and supplementary groups.
    pub(in crate::config) credentials: Credentials,
    /// Its entry in the user database, where it has one.
    pub(in crate::config) account: Option<User>,
}

/// The user database, each name asked for once: a directory service may answer slowly.
#[derive(Default)]
pub(in crate::config) struct Accounts {
    users: HashMap<String, Result<User, NoAccount>>,
    groups: HashMap<String, Result<u32, NoAccount>>,
    memberships: HashMap<(String, u32), Result<Vec<u32>, Errno>>,
}

/// Why a name is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum NoAccount {
    /// The database doesn't have it.
    Unknown,
    /// The database can't be asked.
    Unreadable(Errno),
}

impl Invoker {
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
        }
    }

    /// Whether it may become somebody else.
    pub(in crate::config) fn is_root(&self) -> bool {
        Uid::from_raw(self.credentials.uid).is_root()
    }

    /// Whether these are its supplementary groups. Whether such a list has the primary group too
    /// is up to whoever made it.
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

    pub(in crate::config) fn group(&mut self, name: &str) -> Result<u32, NoAccount> {
        let look_up = || match Group::from_name(name) {
            Ok(found) => found
                .map(|group| group.gid.as_raw())
                .ok_or(NoAccount::Unknown),
            Err(errno) => Err(NoAccount::Unreadable(errno)),
        };
        *self.groups.entry(name.to_owned()).or_insert_with(look_up)
    }

    /// The groups that a user is in, and `gid`.
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

/// User and group id of an account of the system itself, which is in `/etc/passwd`. To ask every
/// directory service for a name that may not exist would cost each connection of the one-connection
/// form half a millisecond.
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
    /// The message for a name of this kind: `unknown user "x"`.
    pub(in crate::config) fn message(self, kind: &str, name: &str) -> String {
        match self {
            Self::Unknown => format!("unknown {kind} {name:?}"),
            Self::Unreadable(errno) => {
                format!("unable to look up {kind} {name:?}: {}", errno.desc())
            }
        }
    }
}
