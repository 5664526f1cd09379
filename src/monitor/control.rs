//! Who asks a server to reload, and waits for the result: `tlssrv --reload`.
//!
//! The server listens on a Unix-domain socket whose abstract name comes from the path of its table, so
//! that there is nothing to find, and nothing to clean up. To connect is to ask; what comes back is what
//! is wrong, and then whether it has been done. Nothing is read from who asks.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use super::Monitor;

/// The last byte of an answer.
const DONE: u8 = 0;
const FAILED: u8 = 1;

/// Where a server is asked.
pub(super) struct Control(UnixListener);

/// Somebody who asks, and waits.
pub(super) struct Asker(UnixStream);

impl Control {
    /// Listens for those who ask about this table.
    ///
    /// Errors: `AddrInUse` when another server has the same one.
    pub(super) fn listen(table: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind_addr(&address(table)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// The next one who asks, and may: root, or who we are.
    ///
    /// Errors: those of accept(2), `WouldBlock` when nobody asks any more.
    pub(super) fn accept(&self) -> io::Result<Asker> {
        loop {
            let (stream, _) = self.0.accept()?;
            // Who does not read what it is told must not hold us up.
            if is_trusted(&stream) && stream.set_nonblocking(true).is_ok() {
                return Ok(Asker(stream));
            }
        }
    }
}

impl Monitor {
    /// Somebody asks.
    pub(super) fn asked(&mut self) {
        while let Some(control) = &self.control {
            match control.accept() {
                Ok(asker) => self.reload(Some(asker)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => {
                    self.pause(&format!("unable to accept who asks for a reload: {e}"));
                    break;
                }
            }
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Asker {
    pub(super) fn tell(&mut self, text: &str) {
        let _ = self.0.write_all(format!("{text}\n").as_bytes());
    }

    pub(super) fn finish(mut self, line: &str, done: bool) {
        self.tell(&format!("tlssrv: {line}"));
        let _ = self.0.write_all(&[if done { DONE } else { FAILED }]);
    }
}

/// Asks the server that has this table to reload it; what it says, and whether it has done so.
///
/// Errors: `ConnectionRefused` when there is none, `PermissionDenied` when it is somebody else's.
pub fn ask(table: &Path) -> io::Result<(String, bool)> {
    let mut stream = UnixStream::connect_addr(&address(table)?)?;
    if !is_trusted(&stream) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    match answer.split_last() {
        Some((&done, text)) if [DONE, FAILED].contains(&done) => {
            Ok((String::from_utf8_lossy(text).into_owned(), done == DONE))
        }
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn is_trusted(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials)
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

fn address(table: &Path) -> io::Result<SocketAddr> {
    // The table itself may be a link that is set to another file by and by.
    let directory = table
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new(".")).canonicalize()?;
    let table = directory.join(table.file_name().unwrap_or_default());
    let hash = digest(&SHA256, table.as_os_str().as_bytes());
    let hash: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    SocketAddr::from_abstract_name(format!("tlssrv/{hash}"))
}
