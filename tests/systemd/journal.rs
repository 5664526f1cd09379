//! The journal: its native protocol, with a socket of the test in a mount namespace.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::fstat;
use nix::unistd::Pid;

use tlssrv_testing::account::is_root;
use tlssrv_testing::socket::tcp_pair;
use tlssrv_testing::{DEADLINE, Dial, Site, Socket, eventually, skip, tlssrv_path};

/// Makes a `/run` with a journal, if there is one, and then becomes tlssrv.
const WITH_JOURNAL: &str = r#"
    mount -t tmpfs none /run && mkdir -p /run/systemd/journal &&
    { ! test -e "$0" || ln -s "$0" /run/systemd/journal/socket; } && exec "$@"
"#;

const LISTEN: [&str; 4] = ["--listen", "127.0.0.1:0", "-c", "cert.pem"];

/// A journal, and a tlssrv whose standard error is a stream that it may have made.
struct Unit {
    /// Where the socket of the journal is.
    _site: Site,
    journal: UnixDatagram,
    stream: UnixStream,
    child: Child,
}

/// What `JOURNAL_STREAM` says of standard error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Journal,
    /// The journal has made it, but its socket is not there, as in a container.
    WithoutJournal,
    Other,
}

impl Unit {
    fn start(stream: Stream, args: &[&str], stdin: Option<OwnedFd>) -> Self {
        let site = Site::new();
        let journal = UnixDatagram::bind(site.file("journal")).unwrap();
        journal.set_read_timeout(Some(DEADLINE)).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(DEADLINE)).unwrap();
        let stat = fstat(&theirs).unwrap();
        let inode = match stream {
            Stream::Journal | Stream::WithoutJournal => stat.st_ino,
            Stream::Other => stat.st_ino + 1,
        };
        if stream == Stream::WithoutJournal {
            fs::remove_file(site.file("journal")).unwrap();
        }
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", WITH_JOURNAL])
            .args([site.file("journal").to_str().unwrap(), tlssrv_path()])
            .args(args)
            .current_dir(site.path())
            .env("JOURNAL_STREAM", format!("{}:{inode}", stat.st_dev))
            .stderr(OwnedFd::from(theirs));
        if let Some(stdin) = stdin {
            command.stdin(stdin);
        }
        let child = command.spawn().unwrap();
        Self {
            _site: site,
            journal,
            stream: ours,
            child,
        }
    }

    fn entry(&self) -> BTreeMap<String, String> {
        let mut datagram = vec![0; 1 << 16];
        let length = self.journal.recv(&mut datagram).unwrap();
        parse(&datagram[..length])
    }

    fn address(&self) -> std::net::SocketAddr {
        let mut entries = std::iter::repeat_with(|| self.entry());
        // Notices and warnings about the configuration come before.
        let entry = entries.find(|entry| entry["MESSAGE"].starts_with("listening on "));
        let entry = entry.unwrap();
        assert_eq!(entry["PRIORITY"], "5");
        let address = entry["MESSAGE"].strip_prefix("listening on ");
        address.unwrap().parse().unwrap()
    }

    fn stop(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let status = eventually("it ends", || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
    }

    /// What it wrote to standard error.
    fn rest(mut self) -> String {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fields of an entry (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).
fn parse(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !entry.is_empty() {
        let end = entry.iter().position(|b| b"=\n".contains(b)).unwrap();
        let (name, value, rest) = match entry[end] {
            b'=' => {
                let line = entry.iter().position(|b| *b == b'\n').unwrap();
                (&entry[..end], &entry[end + 1..line], &entry[line + 1..])
            }
            _ => {
                let (length, rest) = entry[end + 1..].split_at(8);
                let length = u64::from_le_bytes(length.try_into().unwrap());
                let (value, rest) = rest.split_at(length.try_into().unwrap());
                assert_eq!(rest[0], b'\n');
                (&entry[..end], value, &rest[1..])
            }
        };
        let [name, value] = [name, value].map(|b| String::from_utf8(b.to_vec()).unwrap());
        assert_eq!(fields.insert(name, value), None);
        entry = rest;
    }
    fields
}

fn skipped() -> bool {
    if !is_root() {
        skip("only root can have a journal of its own");
    }
    !is_root()
}

#[test]
fn the_journal_gets_a_field_for_each_key_and_neither_time_nor_level() {
    if skipped() {
        return;
    }
    let script = "printf 'a \\033[31mb\\n' >&2; cat; exit 3";
    let args = [&LISTEN[..], &["sh", "-c", script]].concat();
    let mut unit = Unit::start(Stream::Journal, &args, None);
    let address = unit.address();
    let mut client = Dial::new().connect(address, "A.example");
    client.send(b"hello\n");
    client.close_notify();
    client.read_to_end();

    let said = unit.entry();
    assert_eq!(said["PRIORITY"], "6");
    assert_eq!(said["TLSSRV_STDERR"], "a \\u001b[31mb");
    let entry = unit.entry();
    let id = format!("{}.", unit.child.id());
    assert!(entry["TLSSRV_ID"].starts_with(&id), "{entry:?}");
    assert!(
        entry["MESSAGE"].starts_with(&format!("id={id}")),
        "{entry:?}"
    );
    for (field, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "tlssrv"),
        ("TLSSRV_SNI", "a.example"),
        ("TLSSRV_EXIT", "3"),
        ("TLSSRV_IN", "6"),
        ("TLSSRV_END", "closed"),
    ] {
        assert_eq!(entry[field], value, "{entry:?}");
    }
    assert!(entry.keys().all(|name| {
        name.starts_with("TLSSRV_")
            || ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"].contains(&name.as_str())
    }));
    unit.stop();
    assert_eq!(unit.entry()["PRIORITY"], "5");
    assert_eq!(unit.rest(), "", "all of it is in the journal");
}

#[test]
fn what_keeps_a_server_from_starting_is_an_error_in_the_journal() {
    if skipped() {
        return;
    }
    let args = ["--listen", "127.0.0.1:0", "-c", "none.pem", "cat"];
    let unit = Unit::start(Stream::Journal, &args, None);
    let errors = std::iter::repeat_with(|| unit.entry()).find(|entry| entry["PRIORITY"] == "3");
    assert!(errors.unwrap()["MESSAGE"].contains("none.pem"));
}

#[test]
fn one_connection_is_in_the_journal_when_tlssrv_has_ended() {
    if skipped() {
        return;
    }
    let (client, connection) = tcp_pair();
    let args = ["-c", "cert.pem", "cat"];
    let mut unit = Unit::start(Stream::Journal, &args, Some(connection.into()));
    let mut client = Dial::new().over(Socket::Tcp(client), "a.example");
    client.close_notify();
    client.read_to_end();
    // The journal looks up whose entry it is while the process is there.
    let journal = unit.journal.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut datagram = vec![0; 1 << 16];
        let length = journal.recv(&mut datagram).unwrap();
        parse(&datagram[..length])
    });
    assert_eq!(unit.child.wait().unwrap().code(), Some(0));
    assert_eq!(reader.join().unwrap()["TLSSRV_END"], "closed");
}

#[test]
fn a_journal_that_reads_nothing_stops_nobody_and_gets_every_entry_later() {
    if skipped() {
        return;
    }
    let mut unit = Unit::start(Stream::Journal, &[&LISTEN[..], &["true"]].concat(), None);
    let address = unit.address();
    let room = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").unwrap();
    let count = room.trim().parse::<usize>().unwrap() + 20;
    for _ in 0..count {
        Dial::new().connect(address, "").read_to_end();
    }
    for _ in 0..count {
        assert_eq!(unit.entry()["TLSSRV_END"], "closed");
    }
    unit.stop();
}

#[test]
fn standard_error_that_is_not_the_journal_gets_lines() {
    if skipped() {
        return;
    }
    let args = [&LISTEN[..], &["true"]].concat();
    for stream in [Stream::Other, Stream::WithoutJournal] {
        let mut unit = Unit::start(stream, &args, None);
        let mut buffer = [0; 4096];
        let mut said = String::new();
        while !said.contains("listening on ") {
            let length = unit.stream.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "{said}");
            said.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        assert!(said.contains("Z notice listening on "), "{said}");
        unit.stop();
    }
}
