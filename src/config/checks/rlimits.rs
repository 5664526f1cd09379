//! Checks `rlimits`: resource limits of a command.
#![forbid(unsafe_code)]

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::config::sources::accounts::Invoker;
use crate::types::Rlimit;

/// Makes a resource limit, and checks that tlssrv can set it.
///
/// Errors: the reason, for `unable to limit "NAME": REASON`.
pub(in crate::config) fn parse(
    name: &str,
    soft: u64,
    hard: u64,
    invoker: &Invoker,
) -> Result<Rlimit, String> {
    let Some((_, resource)) = RESOURCES.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = RESOURCES.iter().map(|(name, _)| *name).collect();
        return Err(format!("unknown; known are {}", known.join(", ")));
    };
    if soft > hard {
        return Err("the soft limit is above the hard limit".into());
    }
    let own = getrlimit(*resource).map_or(RLIM_INFINITY, |(_, hard)| hard);
    if hard > own && !invoker.is_root() {
        return Err(format!(
            "tlssrv's own hard limit is {own}, and only root may raise it"
        ));
    }
    Ok(Rlimit {
        resource: *resource,
        soft,
        hard,
    })
}

/// Names of resources in the configuration.
const RESOURCES: [(&str, Resource); 16] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];
