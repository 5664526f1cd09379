//! tlssrv with the privileges and system calls that its units leave it, as far as that is possible without
//! systemd.

use std::fs;
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::units::{UNITS, setting};
use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{Daemon, Ran, missing, program, run};
use tlssrv_testing::{Client, Ended, Server, Site, eventually, proc, tlssrv_path};

/// The user of the commands, which is not that of the engines.
const USER: &str = "daemon";
const LISTEN: &str = "[[listen]]\naddress = ";

/// Whether a test must be skipped.
fn impossible() -> bool {
    if !is_root() {
        tlssrv_testing::skip("only root gives up privileges");
        return true;
    }
    missing(&[
        "/usr/bin/python3",
        "nsenter",
        "setpriv",
        "systemd-analyze",
        "unshare",
    ])
}

/// Makes the runtime directory of a unit, `$2` for the user `$1`, in a /run of its own.
const RUNTIME_DIRECTORY: &str = r#"
    mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/$2 && chown $1 /run/$2 && shift 2 && exec "$@"
"#;

/// A server confined as a unit confines it.
fn confined(unit: &str, site: Site) -> Server {
    let mut command = program("unshare");
    command.args(["--mount", "sh", "-c", RUNTIME_DIRECTORY, "sh"]);
    command.args([user_of(unit), &setting(unit, "RuntimeDirectory")]);
    command.arg("/usr/bin/python3").args(cage(unit, &site));
    command.env("CREDENTIALS_DIRECTORY", site.file("credentials"));
    Server::run(site, command.args(["-f", "tlssrv.toml"]))
}

/// The user that confine.py runs a unit as.
fn user_of(unit: &str) -> &'static str {
    match unit {
        "tlssrv-unprivileged.service" => "64242",
        _ => "0",
    }
}

/// Runs `tlssrv --reload` by this command line, where a server has its /run.
fn ask(server: &Server, cage: &[PathBuf]) -> Ran {
    let mut command = program("nsenter");
    command.arg(format!("--target={}", server.pid()));
    command.args(["--mount", "--"]).args(cage).arg("-f");
    run(command.arg(server.site.file("tlssrv.toml")).arg("--reload"))
}

/// `ExecReload=` of a unit. A wrong table fails it, and the server serves on.
fn assert_reloads(unit: &str, server: &Server) {
    let [script, copy, tlssrv] = ["confine.py", unit, "tlssrv"].map(|file| server.site.file(file));
    let cage = [PathBuf::from("/usr/bin/python3"), script, copy, tlssrv];
    let reloaded = |ran: Ran| assert!(ran.succeeded().stderr.ends_with("tlssrv: reloaded\n"));
    reloaded(ask(server, &cage));
    let file = server.site.file("tlssrv.toml");
    let table = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("gnines = 1\n{table}")).unwrap();
    let ran = ask(server, &cage);
    assert_eq!(ran.status.code(), Some(96));
    let mistake = "tlssrv.toml:1: unknown key \"gnines\"";
    assert!(ran.stderr.contains(mistake), "{}", ran.stderr);
    server.connect("a.example").read_line();
    fs::write(&file, table).unwrap();
    // Root may ask from outside of the unit.
    reloaded(ask(server, &[tlssrv_path().into()]));
    let directory = setting(unit, "RuntimeDirectory");
    let directory = format!("/proc/{}/root/run/{directory}", server.pid());
    let sockets = fs::read_dir(directory).unwrap().flatten();
    let sockets = sockets.filter(|e| e.file_type().unwrap().is_socket());
    assert_eq!(sockets.count(), 2);
}

/// The arguments of python3 that run tlssrv confined as by a unit, from files that everybody may read. The site may
/// have a `drop-in.conf` for the unit.
fn cage(unit: &str, site: &Site) -> [PathBuf; 3] {
    let binary = site.file("tlssrv");
    fs::copy(tlssrv_path(), &binary).unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd");
    let files = [tests.join("confine.py"), Path::new(UNITS).join(unit)];
    let [script, unit] = files.map(|file| {
        let copy = site.file(file.file_name().unwrap().to_str().unwrap());
        fs::copy(file, &copy).unwrap();
        copy
    });
    if let Ok(drop_in) = fs::read_to_string(site.file("drop-in.conf")) {
        let mut text = fs::read_to_string(&unit).unwrap();
        text.push_str(&drop_in);
        fs::write(&unit, text).unwrap();
    }
    [script, unit, binary]
}

/// A privileged port; each test has a range of its own, and each process begins elsewhere in it.
fn privileged_port(ports: Range<u16>) -> u16 {
    let first = usize::try_from(std::process::id()).unwrap() % ports.len();
    let mut ports = ports.clone().skip(first).chain(ports);
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

#[test]
fn the_service_of_root_can_run_commands_as_other_users() {
    if impossible() {
        return;
    }
    let site = Site::new();
    // Keys and commands that only another user can read.
    let user = nix::unistd::User::from_name(USER).unwrap().unwrap();
    let own = |file: &Path, mode| {
        chown(file, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    };
    own(&site.file("cert.pem"), 0o600);
    fs::create_dir(site.file("home")).unwrap();
    let script = "#!/bin/sh\necho $(id -un) $(ls -d /tmp)\nexec cat\n";
    fs::write(site.file("home/command"), script).unwrap();
    own(&site.file("home/command"), 0o700);
    own(&site.file("home"), 0o700);
    let table = format!(
        "{LISTEN}\"127.0.0.1:{}\"\n[[host]]\nnames = [\"a.example\"]\ncert = [\"cert.pem\"]\n\
         command = [\"home/command\"]\nuser = \"{USER}\"\n",
        privileged_port(600..700)
    );
    let mut server = confined("tlssrv.service", site.with_file("tlssrv.toml", &table));
    let mut client = server.connect("a.example");
    assert_eq!(client.read_line(), format!("{USER} /tmp"));
    client.send(b"echo\n");
    assert_eq!(client.read_line(), "echo");
    server.signal(Signal::SIGHUP);
    server.wait_for_line("it reloads", |line| line.ends_with(" reloaded"));
    assert_reloads("tlssrv.service", &server);
    // An engine and a command of other users must end.
    let commands = server.commands();
    assert_eq!(commands.len(), 1);
    server.signal(Signal::SIGTERM);
    server.signal(Signal::SIGINT); // a second SIGTERM at the same time would be lost
    assert_eq!(server.wait().code(), Some(0));
    eventually("the command ends", || {
        (!proc::runs(commands[0])).then_some(())
    });
}

#[test]
fn the_unprivileged_service_runs_with_its_system_call_filter() {
    if impossible() {
        return;
    }
    let site = Site::new();
    fs::create_dir(site.file("credentials")).unwrap();
    fs::copy(site.file("cert.pem"), site.file("credentials/tls_www.pem")).unwrap();
    chown(site.file("credentials/tls_www.pem"), Some(64242), None).unwrap();
    let command = "id -u; grep CapEff /proc/self/status; exec cat";
    let table = format!(
        "{LISTEN}\"127.0.0.1:{}\"\n[[host]]\nnames = [\"a.example\"]\ncert = [\"credential:tls_www.pem\"]\n\
         command = [\"sh\", \"-c\", \"{command}\"]\n",
        privileged_port(700..800)
    );
    let mut server = confined(
        "tlssrv-unprivileged.service",
        site.with_file("tlssrv.toml", &table),
    );
    let mut client = server.connect("a.example");
    assert_eq!(client.read_line(), "64242");
    assert_eq!(client.read_line(), "CapEff:\t0000000000000000");
    let sent = vec![b'x'; 1 << 20];
    let received = client.exchange(&sent);
    assert_eq!(
        (received.bytes.len(), received.ended),
        (sent.len(), Ended::CloseNotify)
    );
    server.signal(Signal::SIGHUP);
    server.wait_for_line("it reloads", |line| line.ends_with(" reloaded"));
    assert_reloads("tlssrv-unprivileged.service", &server);
    server.connect("a.example").read_line();
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn with_its_drop_in_the_service_of_root_runs_commands_that_gain_privileges() {
    if impossible() {
        return;
    }
    let drop_in = fs::read_to_string(Path::new(UNITS).join("new-privileges.conf")).unwrap();
    for (drop_in, ids, warned) in [("", "1 1", true), (&drop_in, "0 0", false)] {
        let site = Site::new().with_file("drop-in.conf", drop_in);
        let id = site.file("id");
        fs::copy("/usr/bin/id", &id).unwrap();
        fs::set_permissions(&id, fs::Permissions::from_mode(0o4755)).unwrap();
        let host = |name: &str, more: &str| {
            format!(
                "[[host]]\nnames = [\"{name}\"]\ncert = [\"cert.pem\"]\nuser = \"{USER}\"\n\
                 command = [\"sh\", \"-c\", \"echo $({id} -u) $(grep -c NoNewPrivs:.1 /proc/self/status)\"]\n\
                 {more}\n",
                id = id.display()
            )
        };
        let table = format!(
            "{LISTEN}\"127.0.0.1:0\"\n{}{}",
            host("a.example", "new-privileges = true"),
            host("b.wild.example", "")
        );
        let server = confined("tlssrv.service", site.with_file("tlssrv.toml", &table));
        let word = |name| {
            Client::word(
                std::net::TcpStream::connect(server.address()).unwrap(),
                name,
            )
        };
        assert_eq!(word("a.example"), ids);
        assert_eq!(word("b.wild.example"), "1 1");
        let warning = |line: &String| line.contains("new-privileges has no effect");
        assert_eq!(server.lines().iter().any(warning), warned);
    }
}

/// An engine treats EPERM as a kernel without Landlock, and continues without it.
#[test]
fn the_unprivileged_service_may_restrict_itself_further() {
    if impossible() {
        return;
    }
    let site = Site::new();
    let [script, unit, _] = cage("tlssrv-unprivileged.service", &site);
    // landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) returns the version.
    let call = "import ctypes; c = ctypes.CDLL(None, use_errno=True); c.syscall(444, None, 0, 1); \
                print(ctypes.get_errno())";
    let mut command = program("/usr/bin/python3");
    command
        .arg(script)
        .arg(unit)
        .args(["/usr/bin/python3", "-c", call]);
    let errno = run(command.current_dir("/")).text();
    assert_ne!(errno.trim(), "1", "EPERM");
}

#[test]
fn the_template_service_runs_with_its_system_call_filter() {
    if impossible() || missing(&["systemd-socket-activate"]) {
        return;
    }
    let table = format!(
        "{LISTEN}\"127.0.0.1:0\"\n[[host]]\nnames = [\"a.example\"]\ncert = [\"cert.pem\"]\n\
         command = [\"sh\", \"-c\", \"id -un; exec cat\"]\nuser = \"{USER}\"\n"
    );
    let site = Site::new().with_file("tlssrv.toml", &table);
    let mut command = program("systemd-socket-activate");
    command
        .args(["--inetd", "--accept", "--listen"])
        .arg(site.file("socket"));
    command
        .arg("/usr/bin/python3")
        .args(cage("tlssrv@.service", &site));
    command.args(["-f", "tlssrv.toml", "--inetd"]);
    let _activate = Daemon::silent(command.current_dir(site.path()));
    for _ in 0..2 {
        let path = site.file("socket");
        let client = eventually("it listens", || UnixStream::connect(&path).ok());
        assert_eq!(Client::word(client, "a.example"), USER);
    }
}
