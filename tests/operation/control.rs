//! The control socket, where `tlssrv --reload` and `--status` find the server.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use aws_lc_rs::digest::{SHA256, digest};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{Daemon, Ran, missing, program, run};
use tlssrv_testing::{Client, Server, Site, Socket, eventually, proc, skip, tlssrv_path};

const TABLE: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\nnames = [\"a.example\"]\n\
    cert = [\"cert.pem\"]\ncommand = [\"sh\", \"-c\", \"echo hello; exec cat\"]\nallow-root = true\n";
const DIRECTORY: &str = "/run/tlssrv";
const UNREACHED: &str = "tlssrv --reload and --status do not reach this server: another process has its \
    control socket, such as a server of the same table";
const ABSTRACT: &str = "notice tlssrv --reload and --status use an abstract socket";

/// A site that other users can start a server in: the program, the table and the certificate are `user`'s.
fn site(user: u32) -> Site {
    let site = Site::new().with_file("tlssrv.toml", TABLE);
    fs::copy(tlssrv_path(), site.file("tlssrv")).unwrap();
    chown(site.file("cert.pem"), Some(user), None).unwrap();
    site
}

/// A command line of the program in a site, as this user.
fn as_user(site: &Site, user: u32) -> Command {
    let mut command = program("setpriv");
    let ids = [format!("--reuid={user}"), format!("--regid={user}")];
    command.args(ids).arg("--clear-groups");
    command.arg(site.file("tlssrv")).current_dir(site.path());
    command
}

fn server_as(site: Site, user: u32) -> Server {
    let mut command = as_user(&site, user);
    Server::run(site, command.args(["-f", "tlssrv.toml"]))
}

fn reload_as(site: &Site, user: u32) -> Ran {
    run(as_user(site, user).args(["--reload", "-f", "tlssrv.toml"]))
}

/// `tlssrv QUESTION`, as whoever runs the test.
fn ask(site: &Site, question: &str) -> Ran {
    let mut command = program(tlssrv_path());
    command.args([question, "-f", "tlssrv.toml"]);
    run(command.current_dir(site.path()))
}

/// The control sockets of a process, as files or abstract.
fn sockets(pid: Pid) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let links = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok());
    let links: Vec<String> = links.map(|l| l.to_string_lossy().into_owned()).collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    let fields = table
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>());
    let named = fields.filter(|f| f.len() == 8 && f[7].contains("tlssrv/"));
    let own = named.filter(|f| links.contains(&format!("socket:[{}]", f[6])));
    let mut names: Vec<String> = own.map(|f| f[7].to_owned()).collect();
    names.sort();
    names
}

/// Whether a test must be skipped because it needs root and these programs.
fn impossible(programs: &[&str]) -> bool {
    if !is_root() {
        skip("only root has a directory in /run, and becomes other users");
        return true;
    }
    missing(programs)
}

/// The hash of the path of a table.
fn hash(table: &Path) -> String {
    let table = table.canonicalize().unwrap();
    let hash = digest(&SHA256, table.to_str().unwrap().as_bytes());
    hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_control_sockets_of_root_are_files_that_nobody_else_can_make_or_reach() {
    if impossible(&["setpriv"]) {
        return;
    }
    let mut server = Server::with_config_in(site(0), TABLE);
    let files = sockets(server.pid());
    let [reload, status] = &files[..] else {
        panic!("{files:?}");
    };
    assert!(reload.ends_with(".reload") && status.ends_with(".status"));
    for file in &files {
        let file = Path::new(file);
        assert_eq!(file.parent().unwrap(), Path::new(DIRECTORY));
        let metadata = fs::symlink_metadata(file).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (0, 0o600));
    }
    let directory = fs::symlink_metadata(DIRECTORY).unwrap();
    assert!(directory.is_dir());
    assert_eq!((directory.uid(), directory.mode() & 0o022), (0, 0));
    let ran = reload_as(&server.site, 64_241);
    assert_eq!(ran.status.code(), Some(97));
    let why = "only root, and the user who runs the server, may ask it";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
    ask(&server.site, "--reload").succeeded();
    assert!(ask(&server.site, "--status").text().contains("ready"));
    assert_eq!(server.stop().code(), Some(0));
    assert!(files.iter().all(|file| !Path::new(file).exists()));
    let ran = ask(&server.site, "--reload");
    let why = "no server of root's or of yours has this table";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
}

#[test]
fn whoever_takes_the_abstract_name_first_keeps_nobody_from_a_server_of_root() {
    if impossible(&[]) {
        return;
    }
    let site = site(0);
    let hash = hash(&site.file("tlssrv.toml"));
    let names = [format!("tlssrv/{hash}"), format!("tlssrv/{hash}/status")];
    let taken = names.map(|name| {
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
    });
    let server = Server::start_in(site, &["-f", "tlssrv.toml"]);
    ask(&server.site, "--reload").succeeded();
    ask(&server.site, "--status").succeeded();
    assert!(!server.lines().iter().any(|l| l.contains(UNREACHED)));
    drop(taken);
}

#[test]
fn the_socket_of_a_server_that_was_killed_is_replaced() {
    let site = Site::new().with_file("tlssrv.toml", TABLE);
    let path = site.path().to_owned();
    let mut killed = Server::start_in(site, &["-f", "tlssrv.toml"]);
    killed.signal(Signal::SIGKILL);
    killed.wait();
    let mut next = program(tlssrv_path());
    next.args(["-f", path.join("tlssrv.toml").to_str().unwrap()]);
    let next = Server::run(Site::new(), &mut next);
    ask(&killed.site, "--reload").succeeded();
    assert!(ask(&killed.site, "--status").text().contains("ready"));
    assert!(!next.lines().iter().any(|l| l.contains(UNREACHED)));
}

#[test]
fn a_second_server_of_a_table_leaves_the_socket_to_the_first_one_and_says_so() {
    let first = Server::with_config(TABLE);
    let table = first.site.file("tlssrv.toml");
    let mut second = Server::start(&["-f", table.to_str().unwrap()]);
    second.wait_for_line("it says so", |line| line.contains(UNREACHED));
    ask(&first.site, "--reload").succeeded();
    first.wait_for_line("it reloads", |line| line.ends_with(" reloaded"));
    assert_eq!(second.stop().code(), Some(0));
    // The second one has removed nothing, and asked for nothing.
    ask(&first.site, "--reload").succeeded();
    eventually("it reloads again", || {
        let reloads = first.lines();
        let reloads = reloads.iter().filter(|line| line.ends_with(" reloaded"));
        (reloads.count() == 2).then_some(())
    });
    assert!(!second.lines().iter().any(|l| l.ends_with(" reloaded")));
}

#[test]
fn a_server_of_another_user_has_an_abstract_name_and_answers_that_user() {
    if impossible(&["setpriv"]) {
        return;
    }
    let server = server_as(site(64_243), 64_243);
    let names = sockets(server.pid());
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|n| n.starts_with("@tlssrv/")), "{names:?}");
    assert!(!server.lines().iter().any(|l| l.contains(ABSTRACT)));
    reload_as(&server.site, 64_243).succeeded();
    let ran = reload_as(&server.site, 64_244);
    let why = "no server of root's or of yours has this table";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
}

/// A directory below that of root, which is removed when this is dropped.
struct Given(PathBuf);

impl Drop for Given {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// As `RuntimeDirectory=tlssrv/NAME` of a unit with `User=` or `DynamicUser=` gives it.
#[test]
fn a_user_to_whom_root_gives_a_directory_has_sockets_that_root_finds() {
    if impossible(&["setpriv"]) {
        return;
    }
    let user = 64_245;
    let given = Given(Path::new(DIRECTORY).join(format!("test-{}", std::process::id())));
    // Another server may make the first one.
    fs::create_dir_all(&given.0).unwrap();
    chown(&given.0, Some(user), Some(user)).unwrap();
    let server = server_as(site(user), user);
    let files = sockets(server.pid());
    let inside = |file: &String| Path::new(file).starts_with(&given.0);
    assert!(files.len() == 2 && files.iter().all(inside), "{files:?}");
    ask(&server.site, "--reload").succeeded();
    ask(&server.site, "--status").succeeded();
    reload_as(&server.site, user).succeeded();
    let ran = reload_as(&server.site, 64_246);
    assert_eq!(ran.status.code(), Some(97));
}

/// A server of root's in a mount namespace whose /run this script makes.
fn with_run(script: &str) -> Option<Server> {
    if impossible(&["unshare"]) {
        return None;
    }
    let site = Site::new().with_file("tlssrv.toml", TABLE);
    let mut command = program("unshare");
    let script = format!("{script} && exec \"$@\"");
    command.args(["--mount", "sh", "-c", &script, "sh", tlssrv_path()]);
    Some(Server::run(site, command.args(["-f", "tlssrv.toml"])))
}

/// A client of this version finds a server before `/run/tlssrv` in the same way.
#[test]
fn where_run_cannot_be_written_to_the_name_is_abstract_and_the_log_says_so() {
    let Some(server) = with_run("mount -t tmpfs -o ro tmpfs /run") else {
        return;
    };
    let line = server.wait_for_line("it says so", |line| line.contains(ABSTRACT));
    assert!(
        line.contains("/run/tlssrv: Read-only file system"),
        "{line}"
    );
    let names = sockets(server.pid());
    assert!(names.len() == 2 && names[0].starts_with("@tlssrv/"));
    ask(&server.site, "--reload").succeeded();
}

#[test]
fn a_directory_that_others_can_write_to_is_not_used() {
    for make in [
        "mkdir -m 1777 /run/tlssrv",
        "mkdir /run/tlssrv && chown 64247 /run/tlssrv",
        "ln -s /tmp /run/tlssrv",
    ] {
        let Some(server) = with_run(&format!("mount -t tmpfs tmpfs /run && {make}")) else {
            return;
        };
        let line = server.wait_for_line("it says so", |line| line.contains(ABSTRACT));
        let why = "unable to use /run/tlssrv: it is not a directory of root's alone";
        assert!(line.ends_with(why), "{line}");
        assert!(sockets(server.pid())[0].starts_with("@tlssrv/"));
        ask(&server.site, "--reload").succeeded();
    }
}

/// Fails unless clients are served.
fn assert_serves(server: &Server) {
    for _ in 0..5 {
        let client = Socket::connect(server.address());
        assert_eq!(Client::word(client, "a.example"), "hello");
    }
}

/// Says that threads are to stop when it is dropped, also by a panic.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn clients_of_the_control_socket_that_connect_in_a_loop_stop_no_service() {
    let server = Server::with_config(&format!("[limits]\nper-source = 0\n{TABLE}"));
    let sockets = sockets(server.pid());
    let address = |name: &String| match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).unwrap(),
        None => SocketAddr::from_pathname(name).unwrap(),
    };
    let status = sockets.iter().find(|name| name.ends_with("status"));
    let address = address(status.unwrap());
    let (stop, came) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let _stops = Stops(&stop);
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if std::os::unix::net::UnixStream::connect_addr(&address).is_ok() {
                        came.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
        eventually("they connect", || {
            came.load(Ordering::Relaxed).then_some(())
        });
        assert_serves(&server);
        // The other question gets its answer as well.
        ask(&server.site, "--reload").succeeded();
    });
}

const IN_A_LOOP: &str = "
import socket, sys
print('begins', flush=True)
while True:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect('\\0' + sys.argv[1])
    except OSError:
        pass
    client.close()
";

#[test]
fn strangers_who_connect_in_a_loop_stop_no_service() {
    if impossible(&["setpriv", "/usr/bin/python3"]) {
        return;
    }
    let server = server_as(site(64_248), 64_248);
    let names = sockets(server.pid());
    let strangers: Vec<Daemon> = names
        .iter()
        .chain(&names)
        .map(|name| {
            let mut command = program("setpriv");
            command.args(["--reuid=64249", "--regid=64249", "--clear-groups"]);
            command.args(["/usr/bin/python3", "-c", IN_A_LOOP, &name[1..]]);
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            let mut stranger = Daemon::start(&mut command);
            let mut begins = [0; 7];
            let mut stdout = stranger.0.stdout.take().unwrap();
            std::io::Read::read_exact(&mut stdout, &mut begins).unwrap();
            stranger
        })
        .collect();
    assert_serves(&server);
    reload_as(&server.site, 64_248).succeeded();
    assert!(strangers.len() == 4 && proc::runs(server.pid()));
}
