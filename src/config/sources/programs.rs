//! Finds the program of a command, and prepares its arguments and environment for exec.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, User, eaccess, geteuid};

use crate::config::text::problems::cause;

/// Reason why a command cannot be run. Shells distinguish the two with the exit statuses 127 and 126.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum NoProgram {
    /// There is no such file (127).
    NotFound(String),
    /// The file is not executable (126).
    NotExecutable(String),
}

/// Finds the program with this name. A name with a slash is a path relative to `base`; any other is
/// looked up in the `PATH` of tlssrv, as execvp(3) does. The result is an executable file.
pub(in crate::config) fn find(name: &OsStr, base: &Path) -> Result<PathBuf, NoProgram> {
    if name.is_empty() {
        return Err(NoProgram::NotFound("an empty name".into()));
    }
    if name.as_bytes().contains(&b'/') {
        let path = base.join(name);
        let metadata = path.metadata().map_err(|error| {
            let reason = cause(&error);
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::ENOTDIR) => NoProgram::NotFound(reason),
                _ => NoProgram::NotExecutable(reason),
            }
        })?;
        return executable(&path, &metadata).map(|()| path);
    }
    let directories = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut reason = NoProgram::NotFound("not in PATH".into());
    for directory in env::split_paths(&directories) {
        // An empty entry is the current directory (POSIX, "Other Environment Variables").
        let Ok(path) = std::path::absolute(directory.join(name)) else {
            continue;
        };
        // A directory without search permission is skipped, as in a shell.
        let Ok(metadata) = path.metadata() else {
            continue;
        };
        match executable(&path, &metadata) {
            Ok(()) => return Ok(path),
            Err(not_executable) => reason = not_executable,
        }
    }
    Err(reason)
}

/// Makes an argument or path for exec. Errors: it contains a NUL byte.
pub(in crate::config) fn c_string(text: &OsStr) -> Result<CString, &'static str> {
    CString::new(text.as_bytes()).map_err(|_| "it contains a NUL byte")
}

/// Usual environment variables of a user, to which the configuration and the connection add others.
/// `None`: the user has no entry in the user database.
pub(in crate::config) fn environment(
    user: Option<&User>,
    path: PathVariable,
) -> BTreeMap<OsString, OsString> {
    let search_path = match path {
        PathVariable::Inherited => env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into()),
        PathVariable::Default if user.is_some_and(|user| user.uid.is_root()) => ROOT_PATH.into(),
        PathVariable::Default => DEFAULT_PATH.into(),
    };
    let mut environment = BTreeMap::from([("PATH".into(), search_path)]);
    if let Some(user) = user {
        environment.extend([
            ("HOME".into(), user.dir.clone().into()),
            ("SHELL".into(), user.shell.clone().into()),
            ("USER".into(), user.name.clone().into()),
            ("LOGNAME".into(), user.name.clone().into()),
        ]);
    }
    environment
}

/// `PATH` of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum PathVariable {
    /// The `PATH` of tlssrv, for a command that is given on the command line.
    Inherited,
    /// The usual `PATH` of the user.
    Default,
}

/// Makes an environment for exec. Errors: a variable contains a NUL byte.
pub(in crate::config) fn environment_block(
    variables: &BTreeMap<OsString, OsString>,
) -> Result<Vec<CString>, &'static str> {
    let entry = |(name, value): (&OsString, &OsString)| {
        let mut entry = name.clone();
        entry.push("=");
        entry.push(value);
        c_string(&entry)
    };
    variables.iter().map(entry).collect()
}

/// Checks that a path is an executable file.
fn executable(path: &Path, metadata: &Metadata) -> Result<(), NoProgram> {
    if !metadata.is_file() {
        return Err(NoProgram::NotExecutable("not a file".into()));
    }
    // As root, the file must be executable for any user; as another user, for this user. Mode bits do
    // not always tell whether the user of the command may execute the file, so exec decides that.
    let denied = match geteuid().is_root() {
        true => metadata.permissions().mode() & 0o111 == 0,
        false => eaccess(path, AccessFlags::X_OK).is_err(),
    };
    match denied {
        true => Err(NoProgram::NotExecutable("not executable".into())),
        false => Ok(()),
    }
}

impl fmt::Display for NoProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(reason) | Self::NotExecutable(reason) => f.write_str(reason),
        }
    }
}

/// Usual `PATH` of a user.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Usual `PATH` of root.
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
