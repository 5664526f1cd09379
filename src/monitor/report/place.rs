//! Where the control sockets of a table are: bound by its server, found by `tlssrv --reload` and `--status`.
//!
//! A server of root's has them in `/run/tlssrv`, where nobody else can make any. A server of another user has them in
//! a directory below, if there is one of that user's, as a unit with `RuntimeDirectory=tlssrv/NAME` has. Otherwise
//! their names are abstract (unix(7)). An abstract name belongs to whoever binds it first.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

use super::question::Question;
use crate::monitor::listeners::bind_unix;
use crate::types::cause;

/// The directory of root's servers.
const DIRECTORY: &str = "/run/tlssrv";
/// Digits of the hash in the name of a file: enough for 128 bits, few enough for a path in `sun_path`.
const DIGITS: usize = 32;

/// The control sockets of a server. Their files are removed when this is dropped.
#[derive(Default)]
pub(super) struct Sockets {
    each: Vec<(Question, UnixListener)>,
    files: Vec<PathBuf>,
}

/// A directory in which only its owner can make sockets.
struct Directory {
    path: PathBuf,
    owner: u32,
}

impl Sockets {
    /// Binds the sockets of a table, and says why their names are abstract, if they could be files.
    ///
    /// Errors: `AddrInUse` when another process has them.
    pub(super) fn bind(table: &Path) -> io::Result<(Self, Option<String>)> {
        let hash = hash(table)?;
        let why = match own_directory() {
            Ok(Some(directory)) => match Self::in_directory(&directory, &hash) {
                Err(e) if e.kind() != io::ErrorKind::AddrInUse => Some(cause(&e)),
                bound => return bound.map(|sockets| (sockets, None)),
            },
            Ok(None) => None,
            Err(why) => Some(why),
        };
        let mut sockets = Self::default();
        for question in Question::ALL {
            let socket = UnixListener::bind_addr(&abstract_name(&hash, question)?)?;
            socket.set_nonblocking(true)?;
            sockets.each.push((question, socket));
        }
        Ok((sockets, why))
    }

    fn in_directory(directory: &Path, hash: &str) -> io::Result<Self> {
        let mut sockets = Self::default();
        for question in Question::ALL {
            let file = file(directory, hash, question);
            // Only the owner and root may connect at all.
            let usual = umask(Mode::from_bits_truncate(0o177));
            let socket = bind_unix(&file);
            umask(usual);
            sockets.each.push((question, socket?));
            sockets.files.push(file);
        }
        Ok(sockets)
    }

    /// The sockets.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Question, UnixListener)> {
        self.each.iter()
    }

    /// Puts the first socket behind the others.
    pub(super) fn rotate(&mut self) {
        if !self.each.is_empty() {
            self.each.rotate_left(1);
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for file in &self.files {
            // It may have been removed before.
            let _ = fs::remove_file(file);
        }
    }
}

/// Connects to a control socket of a table. The server is root's, that of the user of this process, or that of the
/// user whom root has given a directory.
///
/// Errors: `ConnectionRefused` when there is no such server, `PermissionDenied` when it does not take this user.
pub(super) fn connect(table: &Path, question: Question) -> io::Result<UnixStream> {
    let hash = hash(table)?;
    let mut error = io::ErrorKind::ConnectionRefused;
    for Directory { path, owner } in directories() {
        match UnixStream::connect(file(&path, &hash, question)) {
            Ok(stream) if is_of(&stream, &[owner]) => return Ok(stream),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => error = e.kind(),
            // No server has this table here, or one was killed before it could remove its socket.
            Ok(_) | Err(_) => {}
        }
    }
    match UnixStream::connect_addr(&abstract_name(&hash, question)?) {
        Ok(stream) if is_of(&stream, &[]) => Ok(stream),
        Ok(_) => Err(error.into()),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Err(error.into()),
        Err(e) => Err(e),
    }
}

/// Whether the other end is root's, of the user of this process, or of one of these users.
pub(super) fn is_of(stream: &UnixStream, users: &[u32]) -> bool {
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| {
        peer.uid() == 0 || peer.uid() == geteuid().as_raw() || users.contains(&peer.uid())
    })
}

/// The directory for the sockets of this process; `None`: it is not root's, and has none of its own.
///
/// Errors: why root has none.
fn own_directory() -> Result<Option<PathBuf>, String> {
    let me = geteuid();
    if me.is_root() {
        // Other users get to their directories below it, whatever the umask of this process is.
        let usual = umask(Mode::from_bits_truncate(0o022));
        let made = DirBuilder::new().mode(0o755).create(DIRECTORY);
        umask(usual);
        if let Err(e) = made
            && e.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(cause(&e));
        }
    }
    let own = directories().into_iter().find(|d| d.owner == me.as_raw());
    match own {
        None if me.is_root() => Err("it is not a directory of root's alone".to_owned()),
        own => Ok(own.map(|directory| directory.path)),
    }
}

/// The directories that may have control sockets: that of root, and those below it.
fn directories() -> Vec<Directory> {
    let mut found = Vec::new();
    if let Some(directory) = Directory::at(DIRECTORY.into()) {
        if directory.owner == 0 {
            let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
            found.extend(entries.filter_map(|entry| Directory::at(entry.path())));
            found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        }
        found.insert(0, directory);
    }
    found
}

impl Directory {
    /// `None`: it is no directory, or others than its owner may write to it.
    fn at(path: PathBuf) -> Option<Self> {
        let safe = |metadata: &Metadata| metadata.is_dir() && metadata.mode() & 0o022 == 0;
        let metadata = fs::symlink_metadata(&path).ok().filter(safe)?;
        let owner = metadata.uid();
        Some(Self { path, owner })
    }
}

fn file(directory: &Path, hash: &str, question: Question) -> PathBuf {
    let hash = hash.get(..DIGITS).unwrap_or(hash);
    directory.join(format!("{hash}.{}", question.name()))
}

fn abstract_name(hash: &str, question: Question) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(match question {
        Question::Reload => format!("tlssrv/{hash}"),
        Question::Status => format!("tlssrv/{hash}/status"),
    })
}

/// The hash of the path of a table, which names its sockets.
fn hash(table: &Path) -> io::Result<String> {
    // The table itself may be a link, which is set to another file at times.
    let directory = table
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new(".")).canonicalize()?;
    let table = directory.join(table.file_name().unwrap_or_default());
    let hash = digest(&SHA256, table.as_os_str().as_bytes());
    Ok(base16ct::lower::encode_string(hash.as_ref()))
}
