//! tlssrv itself, executed once more under another name.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::unistd::Pid;

/// Starts tlssrv with this argument 0, these arguments and this standard input; standard error is the same as here. The
/// new process has nothing of this one's memory. Its process group is its own, so that a terminal's interrupt does
/// not reach it. The caller has to wait for it.
///
/// Errors: those of starting a process; there may be no `/proc`.
pub fn start_itself(argument_0: &str, arguments: &[OsString], stdin: OwnedFd) -> io::Result<Pid> {
    let child = Command::new("/proc/self/exe")
        .arg0(argument_0)
        .args(arguments)
        .stdin(stdin)
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(Pid::from_raw(pid))
}
