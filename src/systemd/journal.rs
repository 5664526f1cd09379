//! The journal's native protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).
#![forbid(unsafe_code)]

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::sys::stat::fstat;

use crate::process::socket;
use crate::types::Severity;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The way to the journal. It never waits.
pub struct Journal(UnixDatagram);

impl Journal {
    /// The journal, if standard error goes there and the native protocol is to be had. `JOURNAL_STREAM` has the
    /// device and the inode of the stream that systemd has made standard error (systemd.exec(5)); standard error
    /// may be another file by now.
    pub fn of_stderr() -> Option<Self> {
        let stream = env::var("JOURNAL_STREAM").ok()?;
        let stat = fstat(io::stderr()).ok()?;
        if stream != format!("{}:{}", stat.st_dev, stat.st_ino) {
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        let journal = Self(socket);
        // Whether it is there and takes datagrams from this process.
        let probe = UnixDatagram::unbound().and_then(|probe| probe.connect(Path::new(SOCKET)));
        probe.is_ok().then_some(journal)
    }

    /// Sends an entry, a result of [`entry`].
    ///
    /// Errors: `WouldBlock` when the journal does not keep up; the entry is not in the journal.
    pub fn send(&self, entry: &[u8]) -> io::Result<()> {
        // The socket is looked up each time, since the journal may have been restarted.
        self.0.send_to(entry, SOCKET).map(drop)
    }

    /// Number of bytes that the journal has not read.
    pub fn unread(&self) -> usize {
        socket::unread(&self.0)
    }
}

/// An entry: `MESSAGE`, `PRIORITY`, `SYSLOG_IDENTIFIER` and these fields.
pub fn entry(severity: Severity, message: &str, fields: &[(String, String)]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(2 * message.len() + 128);
    let priority = severity.priority().to_string();
    append(&mut entry, "MESSAGE", message);
    append(&mut entry, "PRIORITY", &priority);
    append(&mut entry, "SYSLOG_IDENTIFIER", "tlssrv");
    for (name, value) in fields {
        append(&mut entry, name, value);
    }
    entry
}

/// A field on a line, `NAME=VALUE`; one whose value has several lines as `NAME`, the length in eight bytes, the
/// least significant first, and the value.
fn append(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_is_preceded_by_its_length() {
        let fields = [
            ("TLSSRV_A".to_owned(), "b=c".to_owned()),
            ("TLSSRV_B".to_owned(), "1\n2".to_owned()),
        ];
        let expected: &[u8] = b"MESSAGE=m\nPRIORITY=4\nSYSLOG_IDENTIFIER=tlssrv\nTLSSRV_A=b=c\n\
            TLSSRV_B\n\x03\0\0\0\0\0\0\x001\n2\n";
        assert_eq!(entry(Severity::Warning, "m", &fields), expected);
    }
}
