//! Standard input, output and error, and the limit of open descriptors.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::fstat;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

/// The standard descriptors that the one-connection form was started with.
pub struct Standard {
    /// Descriptor 0, under another number.
    pub connection: OwnedFd,
    /// Whether standard error is the connection, too, as under inetd: nothing may be written to it then.
    pub stderr_is_connection: bool,
}

/// Opens `/dev/null` on each of the descriptors 0, 1 and 2 that is closed, so that no other file gets its number.
///
/// Errors: those of open(2).
pub fn null_standard() -> io::Result<()> {
    loop {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // It took the lowest free number, one of the three, and is to stay there.
        std::mem::forget(null);
    }
}

/// Moves the connection away from descriptor 0, and puts `/dev/null` in its place: on 0 and 1, and on 2 if that
/// is the connection as well. Other copies would keep the connection open.
///
/// Errors: those of dup(2) and open(2).
pub fn take_standard() -> io::Result<Standard> {
    let connection = io::stdin().as_fd().try_clone_to_owned()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let file = |fd: std::os::fd::BorrowedFd<'_>| fstat(fd).map(|s| (s.st_dev, s.st_ino));
    let stderr_is_connection = file(io::stderr().as_fd())? == file(connection.as_fd())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    if stderr_is_connection {
        dup2_stderr(&null)?;
    }
    Ok(Standard {
        connection,
        stderr_is_connection,
    })
}

/// Raises the soft limit of open descriptors to the hard limit. Returns both limits as they were.
///
/// Errors: those of getrlimit(2) and setrlimit(2).
pub fn raise_descriptor_limit() -> nix::Result<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok((soft, hard))
}
