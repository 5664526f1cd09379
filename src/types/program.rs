//! Commands as the kernel starts them: program, user, limits.
#![forbid(unsafe_code)]

use std::ffi::CString;

use super::stdio::Stdio;

/// A command ready to exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute path.
    pub path: CString,
    /// Arguments, the name of the program first.
    pub argv: Vec<CString>,
    /// Working directory; `None`: that of tlssrv.
    pub directory: Option<CString>,
    /// File mode creation mask; `None`: that of tlssrv.
    pub umask: Option<u32>,
    /// Resource limits to set. The others are those that tlssrv was started with.
    pub rlimits: Vec<Rlimit>,
    /// Standard input and output.
    pub stdio: Stdio,
    /// Standard error.
    pub stderr: Stderr,
    /// Whether the command may gain privileges.
    pub new_privileges: NewPrivileges,
}

/// Whether a command and its children may gain privileges by execve(2) of set-user-ID and set-group-ID programs
/// and of those with capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewPrivileges {
    /// Never: `no_new_privs` is set.
    Forbidden,
    /// As elsewhere on the system, unless tlssrv itself runs with `no_new_privs`.
    Allowed,
}

/// User and groups that a process changes to for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
    /// All supplementary groups.
    pub groups: Vec<u32>,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// The resource: a `RLIMIT_…` constant.
    pub resource: nix::sys::resource::Resource,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// Standard error of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    /// A pipe into tlssrv's log.
    Log,
    /// The standard error of tlssrv.
    Inherit,
    /// `/dev/null`.
    Null,
}
