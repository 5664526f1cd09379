//! Descriptors, signals, arguments, user and limits of a command when it starts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::{Group, Pid, User, geteuid};

use tlssrv_testing::account::is_root;
use tlssrv_testing::{Client, Ended, Host, Server, Site, eventually, proc, skip, tlssrv_path};

/// A connection whose command runs, because it has answered.
struct Running {
    _client: Client,
    pid: Pid,
}

/// Connects to a server of `cat`, or of another program that echoes.
fn running(server: &Server) -> Running {
    let before: BTreeSet<Pid> = server.commands().into_iter().collect();
    let mut client = server.connect("");
    client.echoes();
    let mut new = server.commands();
    new.retain(|pid| !before.contains(pid));
    assert_eq!(new.len(), 1, "{new:?}");
    Running {
        _client: client,
        pid: new[0],
    }
}

/// A server of `cat` with these lines under its host.
fn cat(host: &str) -> Server {
    Host {
        host,
        command: &["cat"],
        ..Host::default()
    }
    .start()
}

fn link(pid: Pid, what: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/{what}")).unwrap()
}

#[test]
fn a_command_has_descriptors_0_1_and_2_and_no_others() {
    for stdio in ["socket", "pipe"] {
        for stderr in ["log", "inherit", "null"] {
            let server = cat(&format!("stdio = \"{stdio}\"\nstderr = \"{stderr}\""));
            // With other connections open.
            let commands = [running(&server), running(&server), running(&server)];
            for Running { pid, .. } in &commands {
                let descriptors = proc::descriptors(*pid);
                assert_eq!(descriptors, BTreeSet::from([0, 1, 2]), "{stdio} {stderr}");
            }
        }
    }
}

#[test]
fn a_socket_is_descriptors_0_and_1_at_once_and_pipes_are_two() {
    let server = cat(r#"stdio = "socket""#);
    let command = running(&server);
    let socket = link(command.pid, "fd/0");
    assert!(
        socket.to_string_lossy().starts_with("socket:"),
        "{socket:?}"
    );
    assert_eq!(link(command.pid, "fd/1"), socket);
    let server = cat(r#"stdio = "pipe""#);
    let command = running(&server);
    let [input, output] = ["fd/0", "fd/1"].map(|fd| link(command.pid, fd));
    assert!(input.to_string_lossy().starts_with("pipe:"), "{input:?}");
    assert!(output.to_string_lossy().starts_with("pipe:"), "{output:?}");
    assert_ne!(input, output);
}

/// Whether the env(1) of this machine has these options.
fn env_takes(options: &[&str]) -> bool {
    let mut env = Command::new("env");
    env.args(options).arg("true").status().unwrap().success()
}

#[test]
fn a_command_ignores_and_blocks_no_signal_whatever_tlssrv_was_started_with() {
    let site = Site::new();
    let env = [
        "--ignore-signal=HUP,PIPE,USR2,QUIT",
        "--block-signal=USR2,ALRM,WINCH,PIPE",
    ];
    if !env_takes(&env) {
        return skip("this env(1) cannot ignore and block signals");
    }
    let args = ["--listen", "127.0.0.1:0", "-c", "cert.pem", "cat"];
    let server = Server::run(
        site,
        Command::new("env").args(env).arg(tlssrv_path()).args(args),
    );
    assert_ne!(
        proc::status(server.pid(), "SigIgn"),
        Some("0000000000000000".into())
    );
    let command = running(&server);
    for set in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
        let signals = proc::status(command.pid, set).unwrap();
        assert_eq!(signals, "0000000000000000", "{set}");
    }
}

#[test]
fn a_server_started_with_every_signal_blocked_still_reaps_and_stops() {
    let site = Site::new();
    let env = ["--block-signal"];
    if !env_takes(&env) {
        return skip("this env(1) cannot block signals");
    }
    let args = [
        "--listen",
        "127.0.0.1:0",
        "-c",
        "cert.pem",
        "sh",
        "-c",
        "exit 3",
    ];
    let mut server = Server::run(
        site,
        Command::new("env").args(env).arg(tlssrv_path()).args(args),
    );
    let mut client = server.connect("");
    client.read_close_notify();
    drop(client);
    assert_eq!(server.wait_for_connection().value("exit"), "3");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn arguments_arrive_as_they_were_given() {
    let script = "read x; echo $x; read y";
    let given = [
        "sh",
        "-c",
        script,
        "",
        "two words",
        "  ",
        "ünï",
        "a\"b'c\\d",
        "$HOME;`id`",
        "*",
        "",
    ];
    let server = Host {
        command: &given,
        ..Host::default()
    }
    .start();
    assert_eq!(proc::arguments(running(&server).pid), given);
    let server = Server::of(&given);
    assert_eq!(proc::arguments(running(&server).pid), given);
}

#[test]
fn options_after_the_command_belong_to_the_command() {
    let server = Server::of(&["echo", "-c", "--check", "--", "-D"]);
    let mut client = server.connect("");
    assert_eq!(client.read_line(), "-c --check -- -D");
}

#[test]
fn directory_umask_and_limits_are_as_configured() {
    let site = Site::new();
    fs::create_dir(site.file("data")).unwrap();
    symlink("data", site.file("link")).unwrap();
    let server = Host {
        host: "directory = \"link\"\numask = \"027\"\n\
               rlimits = { nofile = 64, core = 0, cpu = { soft = 10, hard = 20 } }",
        command: &["cat"],
        ..Host::default()
    }
    .start_in(site);
    let command = running(&server);
    let directory = fs::canonicalize(server.site.file("data")).unwrap();
    assert_eq!(link(command.pid, "cwd"), directory);
    assert_eq!(proc::status(command.pid, "Umask").unwrap(), "0027");
    assert_eq!(limit(command.pid, "Max open files"), ["64", "64"]);
    assert_eq!(limit(command.pid, "Max core file size"), ["0", "0"]);
    assert_eq!(limit(command.pid, "Max cpu time"), ["10", "20"]);
}

#[test]
fn a_command_starts_in_the_root_directory_where_none_is_given() {
    let server = cat("");
    assert_eq!(link(running(&server).pid, "cwd"), PathBuf::from("/"));
}

#[test]
fn a_command_has_the_limits_that_tlssrv_was_started_with() {
    let site = Site::new();
    let shell = r#"ulimit -S -n 321; ulimit -S -c 0; umask 031; exec "$0" "$@""#;
    let args = ["--listen", "127.0.0.1:0", "-c", "cert.pem", "cat"];
    let mut start = Command::new("sh");
    let server = Server::run(site, start.args(["-c", shell, tlssrv_path()]).args(args));
    let hard = limit(server.pid(), "Max open files")[1].clone();
    assert_eq!(
        limit(server.pid(), "Max open files")[0],
        hard,
        "its own is raised"
    );
    let command = running(&server);
    assert_eq!(
        limit(command.pid, "Max open files"),
        ["321".to_owned(), hard]
    );
    assert_eq!(limit(command.pid, "Max core file size")[0], "0");
    assert_eq!(proc::status(command.pid, "Umask").unwrap(), "0031");
}

#[test]
fn a_command_can_gain_no_privileges() {
    let server = cat("");
    let command = running(&server);
    assert_eq!(proc::status(command.pid, "NoNewPrivs").unwrap(), "1");
    // The confinement of engines does not apply to commands.
    assert_eq!(proc::status(command.pid, "Seccomp").unwrap(), "0");
}

#[test]
fn a_command_runs_as_its_user_with_the_groups_of_that_user() {
    if !is_root() {
        return skip("only root can become somebody else");
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let server = cat(r#"user = "nobody""#);
    let command = running(&server);
    is(command.pid, "Uid", &[nobody.uid.as_raw(); 4]);
    is(command.pid, "Gid", &[nobody.gid.as_raw(); 4]);
    is(command.pid, "Groups", &[nobody.gid.as_raw()]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        let capabilities = proc::status(command.pid, set).unwrap();
        assert_eq!(capabilities, "0000000000000000", "{set}");
    }
}

#[test]
fn a_command_has_its_group_and_groups_and_no_others() {
    if !is_root() {
        return skip("only root can change groups");
    }
    let gid = |name| {
        Group::from_name(name)
            .unwrap()
            .map(|group| group.gid.as_raw())
    };
    let (Some(daemon), Some(bin), Some(sys)) = (gid("daemon"), gid("bin"), gid("sys")) else {
        return skip("no groups daemon, bin and sys here");
    };
    let server = cat("user = \"nobody\"\ngroup = \"daemon\"\ngroups = [\"bin\", \"sys\"]");
    let command = running(&server);
    is(command.pid, "Gid", &[daemon; 4]);
    is(command.pid, "Groups", &[bin, sys]);
    let server = cat("user = \"nobody\"\ngroups = []");
    is(running(&server).pid, "Groups", &[]);
}

#[test]
fn a_command_without_a_user_runs_as_the_user_that_started_tlssrv() {
    let server = cat("");
    let command = running(&server);
    is(command.pid, "Uid", &[geteuid().as_raw(); 4]);
    let groups = |pid| proc::status(pid, "Groups").unwrap();
    assert_eq!(groups(command.pid), groups(Pid::this()));
}

#[test]
fn a_relative_command_is_relative_to_the_configuration() {
    let site = Site::new().with_file("hello", "#!/bin/sh\necho from here\n");
    fs::set_permissions(site.file("hello"), fs::Permissions::from_mode(0o755)).unwrap();
    let server = Host {
        command: &["./hello"],
        ..Host::default()
    }
    .start_in(site);
    assert_eq!(server.connect("").read_line(), "from here");
}

#[test]
fn a_command_that_ended_leaves_no_zombie_and_its_status_is_in_the_log() {
    for (script, status, ended, end) in [
        ("exit 0", "0", Ended::CloseNotify, "closed"),
        ("exit 42", "42", Ended::CloseNotify, "closed"),
        (
            "kill -TERM $$",
            "SIGTERM",
            Ended::Truncated,
            "command: killed by SIGTERM",
        ),
    ] {
        let server = Server::of(&["sh", "-c", script]);
        let mut client = server.connect("");
        assert_eq!(client.read_to_end().ended, ended, "{script}");
        drop(client);
        let line = server.wait_for_connection();
        assert_eq!(line.value("exit"), status);
        assert_eq!((line.value("end"), line.level.as_str()), (end, "info"));
        eventually("no command is left", || {
            server.commands().is_empty().then_some(())
        });
        proc::no_zombies(server.pid());
    }
}

#[test]
fn a_command_may_outlive_its_client() {
    // It closes its side of the stream, and runs until it is ended.
    let site = Site::new();
    let script = "exec >&- 2>&- <&-; until test -e go; do sleep 0.05; done; exit 9";
    let server = Host {
        host: "directory = \".\"",
        command: &["sh", "-c", script],
        ..Host::default()
    }
    .start_in(site);
    let mut client = server.connect("");
    client.read_close_notify();
    drop(client);
    assert_eq!(server.commands().len(), 1);
    assert!(
        server.connection_lines().is_empty(),
        "its status is not known yet"
    );
    fs::write(server.site.file("go"), "").unwrap();
    assert_eq!(server.wait_for_connection().value("exit"), "9");
}

/// A line of numbers in `/proc/PID/status`.
fn is(pid: Pid, key: &str, expected: &[u32]) {
    let line = proc::status(pid, key).unwrap();
    let numbers = line.split_whitespace().map(|n| n.parse().unwrap());
    assert_eq!(numbers.collect::<Vec<u32>>(), expected, "{key}");
}

/// The soft and hard limit that `/proc/PID/limits` has under this name.
fn limit(pid: Pid, name: &str) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let mut words = line.unwrap().split_whitespace().map(str::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}
