//! Variables and descriptors that the service manager passes to this process.

use std::env;
use std::ffi::OsString;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// First descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST_PASSED: RawFd = 3;

/// Removes a variable from the environment and returns its value, so that no child inherits it.
pub fn take_variable(name: &str) -> Option<OsString> {
    let value = env::var_os(name);
    // SAFETY: every process here has one thread, so no other thread looks at the environment meanwhile.
    unsafe { env::remove_var(name) };
    value
}

/// Takes the descriptors that were passed by the protocol of `sd_listen_fds(3)`, each with its name; none if the
/// variables are for another process. They are close-on-exec from now on.
///
/// This has to be called before the process opens anything. A second call finds no variables, and takes none.
///
/// Errors: what is wrong with the variables, or with the descriptors that they name.
pub fn take_passed() -> Result<Vec<(String, OwnedFd)>, String> {
    let names = [
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "LISTEN_PIDFDID",
    ];
    let [pid, count, names, _] = names.map(take_variable);
    let text = |value: Option<OsString>| value.map(|value| value.to_string_lossy().into_owned());
    let (Some(pid), Some(count)) = (text(pid), text(count)) else {
        return Ok(Vec::new());
    };
    let Ok(pid) = pid.parse::<u32>() else {
        return Err(format!("LISTEN_PID={pid} is no process id"));
    };
    if pid != std::process::id() {
        return Ok(Vec::new());
    }
    let end = count.parse().ok().filter(|count: &RawFd| *count >= 0);
    let Some(end) = end.and_then(|count| FIRST_PASSED.checked_add(count)) else {
        return Err(format!("LISTEN_FDS={count} is no number of descriptors"));
    };
    let names: Vec<String> = match text(names) {
        // As sd_listen_fds_with_names(3) calls them.
        None => vec!["unknown".to_owned(); (FIRST_PASSED..end).len()],
        Some(names) => names.split(':').map(str::to_owned).collect(),
    };
    let numbers = FIRST_PASSED..end;
    if names.len() != numbers.len() && !(numbers.is_empty() && names == [""]) {
        let (names, count) = (names.join(":"), numbers.len());
        return Err(format!(
            "LISTEN_FDNAMES={names} has not a name for each of {count} descriptors"
        ));
    }
    let adopt = |(name, number): (String, RawFd)| {
        // SAFETY: fcntl(2) with these arguments touches no memory.
        let result = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        Errno::result(result)
            .map_err(|e| format!("descriptor {number} ({name:?}): {}", e.desc()))?;
        // SAFETY: the descriptor is open, as fcntl(2) says, and it was passed to this process, as the variables
        // say, which are gone now. Nothing in this process has opened anything yet.
        Ok((name, unsafe { OwnedFd::from_raw_fd(number) }))
    };
    names.into_iter().zip(numbers).map(adopt).collect()
}
