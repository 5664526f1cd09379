//! Checks the users that commands and engines run as.
#![forbid(unsafe_code)]

use std::ops::Range;

use nix::unistd::User;
use toml::Spanned;

use crate::config::checks::profile::is_kx_group;
use crate::config::sources::accounts::{Accounts, Invoker, NoAccount, local_ids};
use crate::config::text::problems::Problems;
use crate::config::text::raw_host::RawHost;
use crate::types::Credentials;

/// User that a command runs as.
pub(in crate::config) struct CommandUser {
    /// Credentials of the user; `None`: the user that started tlssrv.
    pub(in crate::config) credentials: Option<Credentials>,
    /// Entry of the user in the user database, if there is one.
    pub(in crate::config) account: Option<User>,
}

/// Whether a PSK file or `users` may give a command the user root.
#[derive(Clone, Copy)]
pub(in crate::config) enum RootPolicy {
    /// Root is allowed.
    Allowed,
    /// Root is an error, with this message.
    Refused(&'static str),
}

/// User that the command of a host runs as; `span` is the position of the host. `None`: there is an
/// error, which is reported.
pub(in crate::config) fn of_host(
    host: &RawHost,
    span: &Range<usize>,
    invoker: &Invoker,
    accounts: &mut Accounts,
    problems: &mut Problems,
) -> Option<CommandUser> {
    let own = &invoker.credentials;
    let user = match &host.user {
        Some(name) => found(accounts.user(name.get_ref()), "user", name, problems).map(Some),
        None => Some(None),
    };
    let group = match &host.group {
        Some(name) => found(accounts.group(name.get_ref()), "group", name, problems).map(Some),
        None => Some(None),
    };
    let groups = match &host.groups {
        Some(names) => {
            let mut gid = |name: &Spanned<String>| {
                let gid = found(accounts.group(name.get_ref()), "group", name, problems);
                if gid.is_none() && is_kx_group(name.get_ref()) {
                    let hint = "\"groups\" are those of the user; for the key exchange there is \"kx-groups\"";
                    problems.error(name.span(), hint);
                }
                gid
            };
            let gids: Vec<Option<u32>> = names.get_ref().iter().map(&mut gid).collect();
            gids.into_iter().collect::<Option<Vec<u32>>>().map(Some)
        }
        None => Some(None),
    };
    let (user, group, groups) = (user?, group?, groups?);

    let uid = user.as_ref().map_or(own.uid, |user| user.uid.as_raw());
    if uid == 0 && !host.allow_root.unwrap_or(false) {
        let span = host.user.as_ref().map_or(span.clone(), Spanned::span);
        problems.error(
            span,
            "the command would run as root: give it a user, or allow-root = true",
        );
        return None;
    }
    if !invoker.is_root() {
        let own = [
            (
                uid == own.uid,
                host.user.as_ref().map(Spanned::span),
                "user",
            ),
            (
                group.is_none_or(|gid| gid == own.gid),
                host.group.as_ref().map(Spanned::span),
                "group",
            ),
            (
                groups.is_none_or(|groups| invoker.has_groups(&groups)),
                host.groups.as_ref().map(Spanned::span),
                "groups",
            ),
        ];
        for (_, span, what) in own.iter().filter(|(own, ..)| !own) {
            let message =
                format!("unable to change the command's {what}: tlssrv does not run as root");
            problems.error(span.clone(), message);
        }
        let account = invoker.account.clone();
        return own.iter().all(|(own, ..)| *own).then_some(CommandUser {
            credentials: None,
            account,
        });
    }
    if user.is_none() && group.is_none() && groups.is_none() {
        return Some(CommandUser {
            credentials: None,
            account: invoker.account.clone(),
        });
    }

    let gid = group
        .or(user.as_ref().map(|user| user.gid.as_raw()))
        .unwrap_or(own.gid);
    let groups = match (groups, &user) {
        (Some(groups), _) => groups,
        (None, None) => vec![gid],
        (None, Some(user)) => match accounts.groups_of(&user.name, gid) {
            Ok(groups) => groups,
            Err(errno) => {
                let span = host.user.as_ref().map(Spanned::span);
                let reason = errno.desc();
                problems.error(
                    span,
                    format!("unable to look up groups of user {:?}: {reason}", user.name),
                );
                return None;
            }
        },
    };
    let account = user.or_else(|| invoker.account.clone());
    Some(CommandUser {
        credentials: Some(Credentials { uid, gid, groups }),
        account,
    })
}

/// User that the command runs as for a client whose PSK identity or common name has this user.
///
/// Errors: the message. It does not contain the name, because a line of a PSK file with one colon too
/// many has the key in place of the name.
pub(in crate::config) fn of_user(
    name: &str,
    root: RootPolicy,
    invoker: &Invoker,
    accounts: &mut Accounts,
) -> Result<CommandUser, String> {
    let user = accounts.user(name).map_err(|error| match error {
        NoAccount::Unknown => "unknown user".to_owned(),
        NoAccount::Unreadable(errno) => format!("unable to look up the user: {}", errno.desc()),
    })?;
    let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    if let (0, RootPolicy::Refused(message)) = (uid, root) {
        return Err(message.to_owned());
    }
    if !invoker.is_root() {
        return match uid == invoker.credentials.uid {
            true => Ok(CommandUser {
                credentials: None,
                account: invoker.account.clone(),
            }),
            false => {
                Err("unable to change the command's user: tlssrv does not run as root".to_owned())
            }
        };
    }
    let groups = accounts
        .groups_of(&user.name, gid)
        .map_err(|errno| format!("unable to look up groups of the user: {}", errno.desc()))?;
    Ok(CommandUser {
        credentials: Some(Credentials { uid, gid, groups }),
        account: Some(user),
    })
}

/// User that the engines run as, without supplementary groups: `engine-user`, or else `tlssrv`, or else
/// `nobody`. `None`: tlssrv does not run as root, or there is no such user, which is reported.
pub(in crate::config) fn of_engines(
    engine_user: Option<&Spanned<String>>,
    invoker: &Invoker,
    accounts: &mut Accounts,
    problems: &mut Problems,
) -> Option<Credentials> {
    if !invoker.is_root() {
        if let Some(name) = engine_user {
            let message = "engine-user is ignored: tlssrv does not run as root";
            problems.warning(name.span(), message);
        }
        return None;
    }
    let (uid, gid) = match engine_user {
        Some(name) => {
            let user = found(accounts.user(name.get_ref()), "user", name, problems)?;
            (user.uid.as_raw(), user.gid.as_raw())
        }
        None => match (local_ids(ENGINE_USER), local_ids(FALLBACK_ENGINE_USER)) {
            (Some(ids), _) => ids,
            (None, Some(ids)) => {
                problems.notice(format!(
                    "no user {ENGINE_USER:?}: engines run as {FALLBACK_ENGINE_USER:?}"
                ));
                ids
            }
            (None, None) => {
                let message = format!("unable to find a user {ENGINE_USER:?} for the engines");
                problems.error(None, message);
                return None;
            }
        },
    };
    if uid == 0 {
        problems.error(
            engine_user.map(Spanned::span),
            "engines must not run as root",
        );
        return None;
    }
    Some(Credentials {
        uid,
        gid,
        groups: Vec::new(),
    })
}

/// The result of a look-up. `None`: there is an error, which is reported.
fn found<T>(
    result: Result<T, NoAccount>,
    kind: &str,
    name: &Spanned<String>,
    problems: &mut Problems,
) -> Option<T> {
    result
        .map_err(|error| problems.error(name.span(), error.message(kind, name.get_ref())))
        .ok()
}

/// Default of `engine-user`.
const ENGINE_USER: &str = "tlssrv";
/// Default of `engine-user` on systems without the user `tlssrv`.
const FALLBACK_ENGINE_USER: &str = "nobody";
