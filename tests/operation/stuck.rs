//! A log that nobody reads, or that hangs: clients are served as ever, and nothing is lost in silence.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::server::Lines;
use tlssrv_testing::socket::tcp_pair;
use tlssrv_testing::{Dial, Host, Line, Server, Site, Socket, eventually, proc, skip, tlssrv_path};

/// More connections than a pipe of one page, and the process that writes the log, have room for lines.
const CONNECTIONS: usize = 60;
/// Longer than tlssrv waits for its log at its end.
const IN_TIME: Duration = Duration::from_secs(15);

/// A tlssrv whose standard error is a pipe of one page, which is read when a test wants it.
struct Stuck {
    _site: Site,
    child: Child,
    address: SocketAddr,
    reader: Option<BufReader<PipeReader>>,
    writer: Option<PipeWriter>,
}

/// A pipe with room for one page.
fn small_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    (reader, writer)
}

impl Stuck {
    fn start(toml: &str) -> Self {
        let site = Site::new().with_file("tlssrv.toml", toml);
        let (reader, writer) = small_pipe();
        let child = Command::new(tlssrv_path())
            .args(["-f", "tlssrv.toml"])
            .current_dir(site.path())
            .stdin(Stdio::null())
            .stderr(writer.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(reader);
        let address = address_in(&mut reader);
        Self {
            _site: site,
            child,
            address,
            reader: Some(reader),
            writer: Some(writer),
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Makes so many connections, one after the other.
    fn serve(&self, count: usize) {
        for _ in 0..count {
            serve(self.address);
        }
    }

    /// Reads the log from now on, up to its end.
    fn read(&mut self) -> JoinHandle<Vec<String>> {
        self.writer = None;
        let reader = self.reader.take().unwrap();
        std::thread::spawn(move || reader.lines().map(Result::unwrap).collect())
    }

    fn stop(&mut self) -> ExitStatus {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        eventually("it ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the line that tells it.
fn address_in(lines: &mut impl BufRead) -> SocketAddr {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended");
        if let Some((_, address)) = line.trim_end().split_once("listening on ") {
            return address.parse().unwrap();
        }
    }
}

/// Makes a connection to a server that echoes.
fn serve(address: SocketAddr) {
    let mut client = Dial::new().connect(address, "");
    client.send(b"hello\n");
    client.close_notify();
    client.read_to_end().assert_whole(b"hello\n");
}

fn cat() -> String {
    let command = &["cat"];
    Host {
        command,
        ..Host::default()
    }
    .toml()
}

/// The numbers of the connections in their lines, which have to be whole.
fn connections(lines: &[String]) -> BTreeSet<usize> {
    let lines = lines.iter().filter(|line| line.contains("end="));
    let number = |line: &String| {
        let line = Line::parse(line);
        assert_eq!(line.value("end"), "closed", "{line:?}");
        let (_, number) = line.value("id").split_once('.').unwrap();
        number.parse().unwrap()
    };
    lines.map(number).collect()
}

/// The sum of the counts after these words.
fn counted(lines: &[String], before: &str) -> usize {
    let counts = lines.iter().filter_map(|line| {
        let (_, count) = line.split_once(before)?;
        count.split(' ').next()?.parse::<usize>().ok()
    });
    counts.sum()
}

const LOST: &str = "the log could not be written: ";

#[test]
fn a_pipe_that_nobody_reads_stops_nobody_and_is_told_everything_later() {
    let mut server = Stuck::start(&cat());
    server.serve(CONNECTIONS);
    let log = server.read();
    assert_eq!(server.stop().code(), Some(0));
    let lines = log.join().unwrap();
    assert_eq!(connections(&lines).len(), CONNECTIONS);
    let times = lines.iter().map(|line| line.split(' ').next());
    assert!(times.is_sorted(), "{lines:#?}");
    assert_eq!(counted(&lines, LOST), 0);
}

#[test]
fn lines_over_the_bound_are_dropped_and_counted_in_their_place() {
    // Three times 900 lines of 900 bytes: 2.4 MB. A second may have 1000 of them.
    let script = "for s in 1 2 3; do seq -f %0900.0f ${s}001 ${s}900 >&2; sleep 1.3; done";
    let command = &["sh", "-c", script];
    let table = Host {
        command,
        ..Host::default()
    };
    let mut server = Stuck::start(&table.toml());
    let mut client = Dial::new().connect(server.address, "");
    client.close();
    let log = server.read();
    assert_eq!(server.stop().code(), Some(0));
    let lines = log.join().unwrap();

    let numbers = lines.iter().filter_map(|line| {
        let (_, number) = line.split_once("stderr=")?;
        assert_eq!(number.len(), 900, "{line}");
        number.parse::<usize>().ok()
    });
    let numbers: Vec<usize> = numbers.collect();
    assert!(
        numbers.is_sorted() && numbers.len() > 1000,
        "{}",
        numbers.len()
    );
    let lost = counted(&lines, LOST);
    let left_out = counted(&lines, "left out ");
    assert!(lost > 300, "{lost}");
    // Beside them there are the line of the connection and that of SIGTERM.
    let others = lines.iter().filter(|line| {
        line.contains("end=") || line.contains("SIGTERM") || line.contains("left out")
    });
    let told_out = lines
        .iter()
        .filter(|line| line.contains("left out"))
        .count();
    let all = numbers.len() + left_out + lost + others.count();
    assert!((2702..=2702 + told_out + 2).contains(&all), "{all}: {lost}");
    // The count stands where the lines are missing: before the last line.
    let place = lines.iter().position(|line| line.contains(LOST)).unwrap();
    assert!(place + 1 < lines.len(), "{:?}", lines.last());
}

#[test]
fn a_server_ends_in_time_though_nobody_reads_its_log() {
    let mut server = Stuck::start(&cat());
    server.serve(CONNECTIONS);
    let begin = Instant::now();
    assert_eq!(server.stop().code(), Some(0));
    assert!(begin.elapsed() < IN_TIME, "{:?}", begin.elapsed());
}

#[test]
fn a_descriptor_that_others_share_stays_as_it_is() {
    let mut server = Stuck::start(&cat());
    let writer = server.writer.as_ref().unwrap();
    let flags = || OFlag::from_bits_retain(fcntl(writer, FcntlArg::F_GETFL).unwrap());
    server.serve(CONNECTIONS);
    assert!(!flags().contains(OFlag::O_NONBLOCK));
    // Another process may do what tlssrv does not: lines are whole all the same.
    fcntl(writer, FcntlArg::F_SETFL(flags() | OFlag::O_NONBLOCK)).unwrap();
    server.serve(CONNECTIONS);
    let log = server.read();
    assert_eq!(server.stop().code(), Some(0));
    let lines = log.join().unwrap();
    assert_eq!(connections(&lines).len(), 2 * CONNECTIONS, "{lines:#?}");
}

#[test]
fn a_command_that_writes_past_the_log_waits_alone() {
    let script =
        "read -r word; test $word = log && head -c 100000 /dev/zero | tr '\\0' x >&2; echo done";
    let table = Host {
        host: "stderr = \"inherit\"",
        command: &["sh", "-c", script],
        ..Host::default()
    };
    let mut server = Stuck::start(&table.toml());
    let mut stuck = Dial::new().connect(server.address, "");
    stuck.send(b"log\n");
    for _ in 0..CONNECTIONS {
        let mut client = Dial::new().connect(server.address, "");
        client.send(b"go\n");
        assert_eq!(client.read_line(), "done");
        client.close();
    }
    let log = server.read();
    assert_eq!(stuck.read_line(), "done");
    stuck.close();
    assert_eq!(server.stop().code(), Some(0));
    log.join().unwrap();
}

#[test]
fn a_stopped_terminal_stops_nobody() {
    if missing(&["script"]) {
        return;
    }
    let site = Site::new().with_file("tlssrv.toml", &cat());
    // script(1) makes a terminal, and passes on what is typed.
    let command = format!("exec {} -f tlssrv.toml", tlssrv_path());
    let mut script = Command::new("script")
        .args(["-q", "-c", &command, "/dev/null"])
        .current_dir(site.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = script.stdin.take().unwrap();
    let mut screen = BufReader::new(script.stdout.take().unwrap());
    let address = address_in(&mut screen);
    let screen = Lines::collect(screen);
    let press = |keys: &mut ChildStdin, key: &[u8]| {
        keys.write_all(key).unwrap();
        keys.flush().unwrap();
    };
    press(&mut keys, b"\x13"); // Ctrl-S
    for _ in 0..CONNECTIONS {
        serve(address);
    }
    press(&mut keys, b"\x11"); // Ctrl-Q
    screen.wait("every line", |lines| {
        (connections(lines).len() == CONNECTIONS).then_some(())
    });
    press(&mut keys, b"\x03"); // Ctrl-C
    eventually("it ends", || script.try_wait().unwrap());
}

#[test]
fn a_disk_that_hangs_stops_nobody() {
    if !is_root() {
        return skip("only root can make a disk hang");
    }
    if missing(&["fsfreeze", "mkfs.ext4"]) {
        return;
    }
    let Some(disk) = Disk::mount() else {
        return skip("no file system on a loop device here");
    };
    let table = Host {
        log: "to = \"disk/log\"",
        command: &["cat"],
        ..Host::default()
    };
    let site = disk.site.path();
    fs::write(site.join("tlssrv.toml"), table.toml()).unwrap();
    let mut child = Command::new(tlssrv_path())
        .args(["-f", "tlssrv.toml"])
        .current_dir(site)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let log = site.join("disk/log");
    let read = || fs::read_to_string(&log).unwrap_or_default();
    let address = eventually("it listens", || {
        let said = read();
        let (_, address) = said.trim_end().split_once("listening on ")?;
        address.parse().ok()
    });
    disk.freeze();
    for _ in 0..CONNECTIONS {
        serve(address);
    }
    disk.thaw();
    eventually("every line", || {
        let lines: Vec<String> = read().lines().map(str::to_owned).collect();
        (connections(&lines).len() == CONNECTIONS).then_some(())
    });
    disk.freeze();
    serve(address);
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let status = eventually("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

/// Reloads a server that echoes, so that its log goes to this file. A reload that fails is an error.
fn log_to(server: &Server, file: &str) {
    let table = Host {
        log: &format!("to = {file:?}"),
        command: &["cat"],
        ..Host::default()
    };
    fs::write(server.site.file("tlssrv.toml"), table.toml()).unwrap();
    let mut command = Command::new(tlssrv_path());
    let command = command.args(["-f", "tlssrv.toml", "--reload"]);
    run(command.current_dir(server.site.path())).succeeded();
}

#[test]
fn a_reload_to_a_pipe_that_nobody_reads_stops_nobody() {
    let server = Server::with_config(&cat());
    let pipe = server.site.file("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    log_to(&server, "./pipe");
    for _ in 0..CONNECTIONS {
        serve(server.address());
    }
    let lines = BufReader::new(fs::File::open(&pipe).unwrap()).lines();
    let ends = lines
        .map(Result::unwrap)
        .filter(|line| line.contains("end="));
    let ends: Vec<String> = ends.take(CONNECTIONS).collect();
    assert_eq!(connections(&ends).len(), CONNECTIONS);
}

#[test]
fn a_reload_to_a_disk_that_hangs_stops_nobody() {
    if !is_root() {
        return skip("only root can make a disk hang");
    }
    if missing(&["fsfreeze", "mkfs.ext4"]) {
        return;
    }
    let Some(disk) = Disk::mount() else {
        return skip("no file system on a loop device here");
    };
    let log = disk.site.file("disk/log");
    let server = Server::with_config(&cat());
    disk.freeze();
    log_to(&server, log.to_str().unwrap());
    for _ in 0..CONNECTIONS {
        serve(server.address());
    }
    disk.thaw();
    eventually("every line", || {
        let lines = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        (connections(&lines).len() == CONNECTIONS).then_some(())
    });
}

#[test]
fn a_process_that_never_opened_the_log_has_lost_no_line() {
    let server = Server::with_config(&cat());
    let log = server.site.file("log");
    log_to(&server, "./log");
    let end_writer = |but: Option<Pid>| {
        let writer = eventually("the process", || {
            let mut children = proc::children(server.pid()).into_iter();
            let is_it = |pid: &Pid| proc::name(*pid).as_deref() == Some("tlssrv-log");
            children.find(|pid| is_it(pid) && Some(*pid) != but)
        });
        kill(writer, Signal::SIGKILL).unwrap();
        writer
    };
    fs::remove_file(&log).unwrap();
    mkfifo(&log, Mode::S_IRWXU).unwrap();
    let first = end_writer(None);
    serve(server.address());
    // This one waits for a reader of the pipe.
    end_writer(Some(first));
    serve(server.address());
    let mut lines = BufReader::new(fs::File::open(&log).unwrap()).lines();
    let mut lines = std::iter::from_fn(|| lines.next()).map(Result::unwrap);
    let (mut ends, mut losses) = (0, 0);
    while ends < 2 {
        let line = lines.next().unwrap();
        ends += usize::from(line.contains("end=closed"));
        losses += usize::from(line.contains("that wrote the log has ended"));
    }
    assert_eq!(losses, 1, "only the first one had lines");
}

/// A file system in a file, mounted in a site.
struct Disk {
    site: Site,
}

impl Disk {
    fn mount() -> Option<Self> {
        let site = Site::new();
        fs::create_dir(site.file("disk")).unwrap();
        let disk = fs::File::create(site.file("image")).unwrap();
        disk.set_len(16 << 20).unwrap();
        let disk = Self { site };
        let made = disk.run("mkfs.ext4", &["-q", "-F", "image"]);
        (made && disk.run("mount", &["-o", "loop", "image", "disk"])).then_some(disk)
    }

    fn freeze(&self) {
        assert!(self.run("fsfreeze", &["--freeze", "disk"]));
    }

    fn thaw(&self) {
        assert!(self.run("fsfreeze", &["--unfreeze", "disk"]));
    }

    fn run(&self, name: &str, args: &[&str]) -> bool {
        let mut command = program(name);
        let command = command.args(args).current_dir(self.site.path());
        let ran = command.stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.run("fsfreeze", &["--unfreeze", "disk"]);
        self.run("umount", &["--lazy", "disk"]);
    }
}

#[test]
fn the_process_that_writes_the_log_is_replaced_when_it_dies() {
    let server = Server::of(&["cat"]);
    let writer = || {
        let mut children = proc::children(server.pid());
        children.retain(|pid| proc::name(*pid).as_deref() == Some("tlssrv-log"));
        children.pop()
    };
    let first = writer().unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    server.wait_for_line("what has happened", |line| {
        line.contains(&format!("the process {first} that wrote the log has ended"))
    });
    serve(server.address());
    server.wait_for_connection();
    assert_ne!(writer().unwrap(), first);
    proc::no_zombies(server.pid());
}

#[test]
fn one_connection_is_served_though_nobody_reads_the_log() {
    let site = Site::new();
    let (reader, mut writer) = small_pipe();
    writer.write_all(&[b'\n'; 4096]).unwrap();
    let (client, connection) = tcp_pair();
    let mut child = Command::new(tlssrv_path())
        .args(["-c", "cert.pem", "sh", "-c", "cat; exit 3"])
        .current_dir(site.path())
        .stdin(std::os::fd::OwnedFd::from(connection))
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    let mut client = Dial::new().over(Socket::Tcp(client), "");
    client.send(b"hello\n");
    client.close_notify();
    client.read_to_end().assert_whole(b"hello\n");
    let status = eventually("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(3));
    drop(reader);
}

#[test]
fn the_last_lines_are_there_when_tlssrv_has_ended() {
    for _ in 0..5 {
        let (client, connection) = tcp_pair();
        let site = Site::new();
        let mut child = Command::new(tlssrv_path())
            .args(["-l", "./log", "-c", "cert.pem", "cat"])
            .current_dir(site.path())
            .stdin(std::os::fd::OwnedFd::from(connection))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut client = Dial::new().over(Socket::Tcp(client), "");
        client.close_notify();
        client.read_to_end();
        child.wait().unwrap();
        let mut text = String::new();
        let mut log = fs::File::open(site.file("log")).unwrap();
        log.read_to_string(&mut text).unwrap();
        assert!(text.contains("end=closed"), "{text}");
    }
}
