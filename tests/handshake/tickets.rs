//! Session tickets with keys that several machines share.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::{Server, Site, tlssrv_path};

const KEYS: &str = "[tickets]\nkeys = \"tickets.key\"\n";
const LISTEN: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
const VERSIONS: [&str; 2] = ["-tls1_3", "-tls1_2"];

/// A host whose command prints whether the session was resumed.
fn host(name: &str) -> String {
    format!(
        "[[host]]\nnames = [\"{name}\"]\ncert = [\"cert.pem\"]\nallow-root = true\n\
         command = [\"sh\", \"-c\", \"echo $SSL_SESSION_RESUMED\"]\n"
    )
}

fn table() -> String {
    format!("{KEYS}{LISTEN}{}{}", host("a.example"), host("localhost"))
}

/// Keys of one byte each, repeated.
fn write_keys(site: &Site, keys: &[u8]) {
    let bytes: Vec<u8> = keys.iter().flat_map(|byte| [*byte; 32]).collect();
    let file = site.file("tickets.key");
    fs::write(&file, bytes).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn site(keys: &[u8]) -> Site {
    let site = Site::new();
    write_keys(&site, keys);
    site
}

fn server(toml: &str, keys: &[u8]) -> Server {
    Server::with_config_in(site(keys), toml)
}

/// A client that keeps its session in a file.
struct Tourist<'a> {
    version: &'a str,
    /// The directory of its sessions.
    home: Site,
}

impl<'a> Tourist<'a> {
    fn new(version: &'a str) -> Self {
        let home = Site::new();
        Self { version, home }
    }

    /// Connects, with the session in one file if there is one, and keeps the new session in another: with
    /// TLS 1.2, openssl keeps nothing of a resumed session.
    fn visits(&self, address: SocketAddr, name: &str, offered: Option<&str>, kept: &str) -> String {
        let mut client = program("openssl");
        client
            .args(["s_client", "-quiet", self.version, "-servername", name])
            .args(["-connect", &address.to_string(), "-sess_out", kept])
            .current_dir(self.home.path());
        if let Some(offered) = offered {
            client.args(["-sess_in", offered]);
        }
        let ran = run(&mut client);
        let said = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
        assert!(!said.is_empty(), "{}", ran.stderr);
        said
    }
}

#[test]
fn a_session_is_resumed_on_another_machine_that_has_the_keys() {
    if missing(&["openssl"]) {
        return;
    }
    let one = server(&table(), &[1, 2]);
    // The order of keys, hosts and other settings differs.
    let others = format!("{}{}", host("localhost"), host("a.example"));
    let table = format!("engines = 2\n{KEYS}{LISTEN}{LISTEN}{others}");
    let two = server(&table, &[3, 1]);
    let stranger = server(&table, &[2, 3]);
    let random = server(&format!("{LISTEN}{others}"), &[]);
    for version in VERSIONS {
        let tourist = Tourist::new(version);
        let visit = |server: &Server, offered, kept| {
            tourist.visits(server.address(), "a.example", offered, kept)
        };
        assert_eq!(visit(&one, None, "first"), "Initial");
        assert_eq!(visit(&one, Some("first"), "x"), "Resumed");
        assert_eq!(visit(&two, Some("first"), "x"), "Resumed");
        assert_eq!(visit(&stranger, Some("first"), "x"), "Initial");
        assert_eq!(visit(&random, Some("first"), "x"), "Initial");
        // The first key encrypts new tickets.
        assert_eq!(visit(&two, None, "second"), "Initial");
        assert_eq!(visit(&stranger, Some("second"), "x"), "Resumed");
        assert_eq!(visit(&one, Some("second"), "x"), "Initial");
    }
}

#[test]
fn a_session_is_resumed_at_its_own_host_only_on_every_machine() {
    if missing(&["openssl"]) {
        return;
    }
    let [one, two] = [&[1], &[1]].map(|keys| server(&table(), keys));
    for version in VERSIONS {
        let tourist = Tourist::new(version);
        let visit = |server: &Server, name, offered, kept| {
            tourist.visits(server.address(), name, offered, kept)
        };
        assert_eq!(visit(&one, "a.example", None, "a"), "Initial");
        assert_eq!(visit(&two, "localhost", Some("a"), "x"), "Initial");
        assert_eq!(visit(&two, "a.example", Some("a"), "x"), "Resumed");
    }
}

#[test]
fn a_reload_takes_new_ticket_keys_and_drops_removed_ones() {
    if missing(&["openssl"]) {
        return;
    }
    for version in VERSIONS {
        let server = server(&table(), &[1]);
        let tourist = Tourist::new(version);
        let visit = |offered, kept| tourist.visits(server.address(), "a.example", offered, kept);
        let reload = |keys: &[u8]| {
            write_keys(&server.site, keys);
            let mut command = program(tlssrv_path());
            command.args(["--reload", "-f", "tlssrv.toml"]);
            run(command.current_dir(server.site.path())).succeeded();
        };
        assert_eq!(visit(None, "old"), "Initial");
        reload(&[2, 1]);
        assert_eq!(visit(Some("old"), "x"), "Resumed");
        assert_eq!(visit(None, "new"), "Initial");
        reload(&[2]);
        assert_eq!(visit(Some("old"), "x"), "Initial");
        assert_eq!(visit(Some("new"), "x"), "Resumed");
    }
}

#[test]
fn the_documented_rotation_of_ticket_keys_loses_no_ticket() {
    if missing(&["openssl", "sh"]) {
        return;
    }
    let page = include_str!("../../etc/fleet/README.md");
    let (_, steps) = page.split_once("three steps").unwrap();
    let lines = steps.lines().skip_while(|line| !line.starts_with("    "));
    let script: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    let script = script.join("\n");
    let steps: Vec<&str> = script.split_inclusive("--reload").collect();
    assert_eq!(steps.len(), 3 + 1, "{script}");

    let site = Site::new();
    tlssrv_testing::pki::write_secret(&site.file("tickets.key"), "");
    let sh = |site: &Site, script: &str| {
        let directory = Path::new(tlssrv_path()).parent().unwrap().to_str().unwrap();
        let path = format!("{directory}:{}", env::var("PATH").unwrap());
        let mut sh = program("sh");
        sh.args(["-ec", script]).env("PATH", path);
        run(sh.current_dir(site.path())).succeeded();
    };
    sh(&site, "openssl rand -base64 32 >>tickets.key");
    let server = Server::with_config_in(site, &table());
    let tourist = Tourist::new("-tls1_3");
    let visit = |offered, kept| tourist.visits(server.address(), "a.example", offered, kept);
    assert_eq!(visit(None, "old"), "Initial");
    sh(&server.site, steps[0]);
    assert_eq!(visit(Some("old"), "still old"), "Resumed");
    sh(&server.site, steps[1]);
    assert_eq!(visit(Some("still old"), "new"), "Resumed");
    sh(&server.site, steps[2]);
    assert_eq!(visit(Some("new"), "x"), "Resumed");
    assert_eq!(visit(Some("still old"), "x"), "Initial");
    let keys = fs::read_to_string(server.site.file("tickets.key")).unwrap();
    assert_eq!(keys.lines().count(), 1);
}

#[test]
fn a_reload_with_bad_ticket_keys_keeps_the_old_ones() {
    let server = server(&table(), &[1]);
    fs::write(server.site.file("tickets.key"), [7; 33]).unwrap();
    let mut command = program(tlssrv_path());
    command.args(["--reload", "-f", "tlssrv.toml"]);
    let ran = run(command.current_dir(server.site.path()));
    assert_eq!(ran.status.code(), Some(96), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("not a multiple of 32 bytes"),
        "{}",
        ran.stderr
    );
    assert_eq!(server.connect("a.example").read_line(), "Initial");
}

#[test]
fn a_session_is_resumed_between_one_connection_on_descriptor_0_and_a_server() {
    if missing(&["openssl"]) {
        return;
    }
    let server = server(&table(), &[1]);
    let (machine, other) = (site(&[1]), site(&[2]));
    for site in [&machine, &other] {
        fs::write(site.file("tlssrv.toml"), table()).unwrap();
    }
    for version in VERSIONS {
        let tourist = Tourist::new(version);
        let visit = |address, offered, kept| tourist.visits(address, "a.example", offered, kept);
        let under_inetd = |site: &Site, offered, kept| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            thread::scope(|scope| {
                let client = scope.spawn(move || visit(address, offered, kept));
                let connection: OwnedFd = listener.accept().unwrap().0.into();
                let mut tlssrv = Command::new(tlssrv_path())
                    .args(["-f", "tlssrv.toml", "--inetd"])
                    .current_dir(site.path())
                    .stdin(connection)
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                let said = client.join().unwrap();
                tlssrv.wait().unwrap();
                said
            })
        };
        assert_eq!(under_inetd(&machine, None, "one"), "Initial");
        assert_eq!(under_inetd(&machine, Some("one"), "x"), "Resumed");
        assert_eq!(under_inetd(&other, Some("one"), "x"), "Initial");
        assert_eq!(visit(server.address(), Some("one"), "x"), "Resumed");
        assert_eq!(visit(server.address(), None, "two"), "Initial");
        assert_eq!(under_inetd(&machine, Some("two"), "x"), "Resumed");
    }
}
