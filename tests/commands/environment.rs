//! The variables of a command: the promised ones and no others.

use std::collections::BTreeMap;
use std::process::Command;

use nix::unistd::User;
use rustls::version::{TLS12, TLS13};

use tlssrv_testing::account::{is_root, me, path_of};
use tlssrv_testing::{Client, Dial, Host, Server, Site, proc, skip, tlssrv_path};

/// The environment of tlssrv itself.
const OURS: [(&str, &str); 6] = [
    ("TZ", "Europe/Zurich"),
    ("SECRET", "not for commands"),
    ("SSL_CLIENT_CERT", "stale"),
    ("SSL_CLIENT_S_DN", "stale"),
    ("REMOTE_USER", "stale"),
    ("LD_PRELOAD_TEST", "stale"),
];

fn start(site: Site, args: &[&str]) -> Server {
    Server::run(site, Command::new(tlssrv_path()).args(args).envs(OURS))
}

/// The environment of the only command, once it has answered.
fn environment(server: &Server, client: &mut Client) -> BTreeMap<String, String> {
    client.echoes();
    let commands = server.commands();
    assert_eq!(commands.len(), 1);
    proc::environment(commands[0])
}

/// The variables of a user.
fn of_user(user: &User, path: &str) -> BTreeMap<String, String> {
    let home = user.dir.to_str().unwrap();
    let shell = user.shell.to_str().unwrap();
    map(&[
        ("PATH", path),
        ("HOME", home),
        ("USER", &user.name),
        ("LOGNAME", &user.name),
        ("SHELL", shell),
    ])
}

/// The variables that every connection has.
fn of_connection(server: &Server, client: &Client) -> BTreeMap<String, String> {
    let (here, there) = (client.socket.local_address(), server.address());
    let (port, local_port) = (here.port().to_string(), there.port().to_string());
    let suite = client.tls.negotiated_cipher_suite().unwrap().suite();
    let suite = suite.as_str().unwrap().replace("TLS13_", "TLS_");
    let id = format!("{}.1", server.pid());
    map(&[
        ("PROTO", "TCP"),
        ("TCPREMOTEIP", "127.0.0.1"),
        ("TCPREMOTEPORT", &port),
        ("TCPLOCALIP", "127.0.0.1"),
        ("TCPLOCALPORT", &local_port),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_PORT", &port),
        ("REMOTE_HOST", "127.0.0.1"),
        ("SSL_CIPHER", &suite),
        ("SSL_SESSION_RESUMED", "Initial"),
        ("SSL_CLIENT_VERIFY", "NONE"),
        ("TLSSRV_ID", &id),
    ])
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = pairs
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    owned.collect()
}

#[test]
fn a_configured_command_gets_exactly_the_promised_variables() {
    let host = "names = [\"a.example\"]\nalpn = [\"imap\"]\npass-env = [\"TZ\", \"NOT_SET\"]\n\
                env = { LANG = \"C.UTF-8\", EMPTY = \"\", SHELL = \"/bin/false\" }";
    let toml = Host {
        host,
        command: &["cat"],
        ..Host::default()
    }
    .toml();
    let site = Site::new().with_file("tlssrv.toml", &toml);
    let server = start(site, &["-f", "tlssrv.toml", "-r", "gateway"]);
    let dial = Dial::version(&TLS13).alpn(&["imap"]);
    let mut client = dial.connect(server.address(), "A.example");
    let mut expected = of_user(&me(), path_of(&me()));
    expected.extend(of_connection(&server, &client));
    expected.extend(map(&[
        ("TZ", "Europe/Zurich"),
        ("LANG", "C.UTF-8"),
        ("EMPTY", ""),
        ("SHELL", "/bin/false"),
        ("TCPREMOTEHOST", "gateway"),
        ("SSL_PROTOCOL", "TLSv1.3"),
        ("SSL_TLS_SNI_SERVERNAME", "a.example"),
        ("SSL_TLS_SNI", "a.example"),
        ("TLSSRV_HOST", "a.example"),
        ("TLSSRV_ALPN", "imap"),
    ]));
    assert_eq!(environment(&server, &mut client), expected);
}

#[test]
fn variables_without_a_value_are_unset() {
    let toml = Host {
        command: &["cat"],
        ..Host::default()
    }
    .toml();
    let site = Site::new().with_file("tlssrv.toml", &toml);
    let server = start(site, &["-f", "tlssrv.toml"]);
    let mut client = Dial::version(&TLS12).connect(server.address(), "");
    let mut expected = of_user(&me(), path_of(&me()));
    expected.extend(of_connection(&server, &client));
    expected.extend(map(&[("SSL_PROTOCOL", "TLSv1.2")]));
    assert_eq!(environment(&server, &mut client), expected);
}

#[test]
fn a_command_of_the_command_line_gets_the_path_of_tlssrv() {
    let args = ["--listen", "127.0.0.1:0", "-c", "cert.pem", "cat"];
    let server = start(Site::new(), &args);
    let mut client = Dial::version(&TLS13).connect(server.address(), "");
    let mut expected = of_user(&me(), &std::env::var("PATH").unwrap());
    expected.extend(of_connection(&server, &client));
    expected.extend(map(&[("SSL_PROTOCOL", "TLSv1.3")]));
    assert_eq!(environment(&server, &mut client), expected);
}

#[test]
fn a_command_gets_the_variables_of_its_user() {
    if !is_root() {
        return skip("only root can become somebody else");
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let toml = Host {
        host: "user = \"nobody\"",
        command: &["cat"],
        ..Host::default()
    }
    .toml();
    let site = Site::new().with_file("tlssrv.toml", &toml);
    let server = start(site, &["-f", "tlssrv.toml"]);
    let mut client = Dial::version(&TLS13).connect(server.address(), "");
    let mut expected = of_user(&nobody, path_of(&nobody));
    expected.extend(of_connection(&server, &client));
    expected.extend(map(&[("SSL_PROTOCOL", "TLSv1.3")]));
    assert_eq!(environment(&server, &mut client), expected);
}
