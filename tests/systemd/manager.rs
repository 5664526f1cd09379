//! A systemd that runs the service: what `systemctl reload` and `systemctl restart` do.
//!
//! It is an instance for a user, in namespaces of its own, where `/run` says that systemd has booted the machine.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::thread;
use std::time::Duration;

use crate::start::hosts;
use crate::units::UNITS;
use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{Daemon, missing, program, run};
use tlssrv_testing::socket::free_address;
use tlssrv_testing::{Client, Dial, Site, eventually, skip, tlssrv_path};

/// Where Debian has systemd.
const SYSTEMD: &str = "/lib/systemd/systemd";
/// Carries out lines, and says how each has ended. The processes are in control groups of their own, `$1`.
const SHELL: &str = r#"
    for group in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
        test ! -e $group/cgroup.procs || { mkdir $group/$1 && echo 0 >$group/$1/cgroup.procs; } || exit
    done
    mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && mkdir -m 700 /run/user || exit
    export HOME="$PWD" XDG_RUNTIME_DIR=/run/user SYSTEMD_UNIT_PATH="$PWD" SYSTEMD_LOG_TARGET=console
    /lib/systemd/systemd --user >systemd.log 2>&1 </dev/null &
    while read -r line; do
        eval "$line" >>systemd.log 2>&1 </dev/null
        echo "$?"
    done
"#;
/// Control groups are below these directories.
const GROUPS: &str = "/sys/fs/cgroup";
/// Settings of the unit that an instance for a user has, too.
const SETTINGS: [&str; 9] = [
    "Type",
    "ExecStart",
    "ExecReload",
    "Restart",
    "RestartPreventExitStatus",
    "WatchdogSec",
    "KillMode",
    "TimeoutStopSec",
    "NonBlocking",
];

/// A running systemd, which ends with everything that it runs when this is dropped.
struct Systemd {
    site: Site,
    group: String,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    daemon: Daemon,
}

impl Systemd {
    /// With these units, and the service's own; `None`: the test must be skipped.
    fn new(table: &str, units: &[(&str, &str)]) -> Option<Self> {
        if !is_root() {
            skip("only root makes namespaces");
            return None;
        }
        if missing(&["unshare", "systemctl", SYSTEMD]) {
            return None;
        }
        let site = Site::new().with_file("tlssrv.toml", table);
        fs::write(site.file("tlssrv.service"), service(&site)).unwrap();
        for target in ["default", "basic", "sockets", "shutdown"] {
            fs::write(site.file(&format!("{target}.target")), "[Unit]\n").unwrap();
        }
        for (name, text) in units {
            fs::write(site.file(name), text).unwrap();
        }
        let group = site
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let mut command = program("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command
            .args(["sh", "-c", SHELL, "sh", &group])
            .current_dir(site.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut daemon = Daemon::start(command.stderr(Stdio::null()));
        let mut systemd = Self {
            site,
            group,
            stdin: daemon.0.stdin.take().unwrap(),
            stdout: BufReader::new(daemon.0.stdout.take().unwrap()),
            daemon,
        };
        let started = (0..200).any(|_| {
            thread::sleep(Duration::from_millis(50));
            systemd.ctl("show --property=Version")
        });
        if !started {
            skip(&format!("systemd does not run here: {}", systemd.log()));
            return None;
        }
        Some(systemd)
    }

    /// Runs a line of shell; its exit status.
    fn run(&mut self, line: &str) -> Option<i32> {
        writeln!(self.stdin, "{line}").ok()?;
        let mut status = String::new();
        self.stdout.read_line(&mut status).ok()?;
        status.trim().parse().ok()
    }

    /// `systemctl`; whether it succeeded.
    fn ctl(&mut self, arguments: &str) -> bool {
        self.run(&format!("systemctl --user {arguments}")) == Some(0)
    }

    /// What systemd and its tools have said.
    fn log(&self) -> String {
        fs::read_to_string(self.site.file("systemd.log")).unwrap_or_default()
    }

    /// Waits until the server has logged this.
    fn wait_for_line(&self, text: &str) {
        let log = || fs::read_to_string(self.site.file("log")).unwrap_or_default();
        eventually(text, || log().contains(text).then_some(()));
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = self.daemon.0.kill();
        let _ = self.daemon.0.wait();
        let hierarchies = fs::read_dir(GROUPS).into_iter().flatten().flatten();
        let hierarchies = hierarchies.map(|entry| entry.path().join(&self.group));
        for group in hierarchies.chain([Path::new(GROUPS).join(&self.group)]) {
            if group.is_dir() {
                let mut remove = program("find");
                remove
                    .arg(&group)
                    .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]);
                // The last process may not have left it yet.
                let _ = (0..200).any(|_| {
                    thread::sleep(Duration::from_millis(10));
                    run(&mut remove).status.success()
                });
            }
        }
        if thread::panicking() {
            let log = fs::read_to_string(self.site.file("log")).unwrap_or_default();
            eprintln!(
                "what systemd said:\n{}what the server said:\n{log}",
                self.log()
            );
        }
    }
}

/// The service of root for a site: what it has of these settings.
fn service(site: &Site) -> String {
    let text = fs::read_to_string(Path::new(UNITS).join("tlssrv.service")).unwrap();
    let (name, table) = (
        "=tlssrv -f /etc/tlssrv/tlssrv.toml",
        site.file("tlssrv.toml"),
    );
    let text = text.replace(name, &format!("={} -f {}", tlssrv_path(), table.display()));
    let has = |line: &&str| {
        let name = line.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| SETTINGS.contains(&name))
    };
    let lines: Vec<&str> = text.lines().filter(has).collect();
    let log = site.file("log");
    let lines = lines.join("\n");
    format!(
        "[Service]\n{lines}\nStandardError=append:{}\n",
        log.display()
    )
}

fn table(listen: &str) -> String {
    format!("[[listen]]\n{listen}\n{}", hosts(&[("a.example", "hello")]))
}

fn word(address: SocketAddr) -> String {
    Client::word(TcpStream::connect(address).unwrap(), "a.example")
}

#[test]
fn systemctl_reload_fails_with_a_wrong_table_and_the_service_stays_active() {
    let address = free_address();
    let right = table(&format!("address = \"{address}\""));
    let Some(mut systemd) = Systemd::new(&right, &[]) else {
        return;
    };
    assert!(systemd.ctl("start tlssrv"));
    assert!(systemd.ctl("reload tlssrv"));
    let file = systemd.site.file("tlssrv.toml");
    fs::write(&file, format!("gnines = 1\n{right}")).unwrap();
    assert!(!systemd.ctl("reload tlssrv"));
    systemd.wait_for_line("tlssrv.toml:1: unknown key \"gnines\"");
    assert!(systemd.ctl("is-active tlssrv"));
    assert_eq!(word(address), "hello");
    fs::write(&file, right.replace("echo hello", "echo again")).unwrap();
    assert!(systemd.ctl("reload tlssrv"));
    assert_eq!(word(address), "again");
    // SIGHUP goes on working, too.
    fs::write(&file, &right).unwrap();
    assert!(systemd.ctl("kill --signal=HUP --kill-who=main tlssrv"));
    eventually("it has reloaded", || {
        (word(address) == "hello").then_some(())
    });
    assert!(systemd.ctl("is-active tlssrv"));
}

#[test]
fn a_restart_refuses_clients_until_the_last_one_has_left_unless_systemd_has_the_socket() {
    let address = free_address();
    let Some(mut systemd) = Systemd::new(&table(&format!("address = \"{address}\"")), &[]) else {
        return;
    };
    assert!(systemd.ctl("start tlssrv"));
    let last = Dial::new().connect(address, "a.example");
    assert!(systemd.ctl("--no-block restart tlssrv"));
    systemd.wait_for_line("no more clients");
    assert!(TcpStream::connect(address).is_err());
    drop(last);
    eventually("the other server listens", || {
        TcpStream::connect(address).ok()
    });
    assert_eq!(word(address), "hello");
    drop(systemd);

    let address = free_address();
    let socket = format!("[Socket]\nListenStream={address}\nFileDescriptorName=https\n");
    let units = [("tlssrv.socket", socket.as_str())];
    let Some(mut systemd) = Systemd::new(&table("systemd = \"https\""), &units) else {
        return;
    };
    assert!(systemd.ctl("start tlssrv.socket"));
    let last = Dial::new().connect(address, "a.example");
    assert!(systemd.ctl("--no-block restart tlssrv.service"));
    systemd.wait_for_line("no more clients");
    let waits = TcpStream::connect(address).unwrap();
    drop(last);
    assert_eq!(Client::word(waits, "a.example"), "hello");
}
