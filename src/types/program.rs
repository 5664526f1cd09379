//! What the kernel needs to know of a command: program, user, limits.
#![forbid(unsafe_code)]

use std::ffi::CString;

use super::stdio::Stdio;

/// A command ready to exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute path.
    pub path: CString,
    /// Its arguments, its own name first.
    pub argv: Vec<CString>,
    /// Where it starts; `None`: where tlssrv was started.
    pub directory: Option<CString>,
    /// Its file mode creation mask; `None`: tlssrv's own.
    pub umask: Option<u32>,
    /// Soft and hard limits to set; the others are those that tlssrv was started with.
    pub rlimits: Vec<Rlimit>,
    /// What its descriptors 0 and 1 are.
    pub stdio: Stdio,
    /// What its descriptor 2 is.
    pub stderr: Stderr,
}

/// User and groups that a process takes for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id.
    pub gid: u32,
    /// Supplementary groups, the whole list.
    pub groups: Vec<u32>,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Which: a `RLIMIT_…` constant.
    pub resource: nix::sys::resource::Resource,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// What a command's descriptor 2 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stderr {
    /// A pipe into tlssrv's log.
    Log,
    /// tlssrv's own.
    Inherit,
    /// `/dev/null`.
    Null,
}
