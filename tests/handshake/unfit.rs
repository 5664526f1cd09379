//! Server names that no host can have: served as unknown ones where the name decides nothing.

use std::ffi::OsStr;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::write_secret;
use tlssrv_testing::programs::{Ran, missing, program, run};
use tlssrv_testing::{Server, Site, tlssrv_path};

/// Names, and how the log shows them.
const NAMES: [(&[u8], &str); 8] = [
    (b"a.test:443", "a.test:443"),
    (b"1.2.3", "1.2.3"),
    (b"*.a.test", "*.a.test"),
    (b"b\xc3\xbccher.test", r"b\xc3\xbccher.test"),
    (b"[::1]", "[::1]"),
    (b"a b\"\n", r#"a b\"\n"#),
    (b"a..b", "a..b"),
    (b"\xff", r"\xff"),
];
const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];
const KEY: &str = "00112233445566778899aabbccddeeff";
/// A script that shows whether the client has a name, was resumed, and who it is.
const TOLD: &str =
    "echo name=$SSL_TLS_SNI$SSL_TLS_SNI_SERVERNAME $SSL_SESSION_RESUMED $SSL_CLIENT_S_DN";

/// A server with one host for every name, with these lines.
fn server(site: Site, listener: &str, host: &str) -> Server {
    let table = format!(
        "engines = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n{listener}\n[[host]]\ndefault = true\n\
         command = [\"sh\", \"-c\", \"{TOLD}\"]\nallow-root = true\n{host}\n"
    );
    Server::with_config_in(site, &table)
}

/// What a client that asks for this name gets.
fn ask(server: &Server, name: &[u8], options: &[&str]) -> Ran {
    let mut command = program("openssl");
    command
        .current_dir(server.site.path())
        .args(["s_client", "-quiet", "-servername"])
        .arg(OsStr::from_bytes(name))
        .args(["-connect", &server.address().to_string()]);
    run(command.args(options))
}

#[test]
fn a_name_that_no_host_can_have_counts_as_unknown_where_it_decides_nothing() {
    if missing(&["openssl"]) {
        return;
    }
    let one = server(Site::new(), "", "cert = [\"cert.pem\"]");
    let named = "\n[[host]]\nnames = [\"a.example\"]\ncert = [\"cert.pem\"]\ncommand = [\"cat\"]\nallow-root = true";
    let beside = server(
        Site::new(),
        "unknown-name = \"default\"",
        &format!("cert = [\"cert.pem\"]{named}"),
    );
    for server in [one, beside] {
        let mut count = 0;
        for version in VERSIONS {
            for (name, shown) in NAMES {
                let ran = ask(&server, name, &[version]);
                assert_eq!(ran.stdout, b"name= Initial\n", "{shown}: {}", ran.stderr);
                count += 1;
                let lines = server.wait_for_connections(count);
                let line = lines.last().unwrap();
                assert_eq!((line.value("sni"), line.value("host")), (shown, "default"));
                assert_eq!(line.value("end"), "closed");
            }
        }
    }
}

#[test]
fn a_name_that_no_host_can_have_gets_illegal_parameter_where_names_decide() {
    if missing(&["openssl"]) {
        return;
    }
    let named = "\n[[host]]\nnames = [\"a.example\"]\ncert = [\"cert.pem\"]\ncommand = [\"cat\"]\nallow-root = true";
    let beside = server(Site::new(), "", &format!("cert = [\"cert.pem\"]{named}"));
    let rejecting = server(
        Site::new(),
        "unknown-name = \"reject\"",
        "cert = [\"cert.pem\"]",
    );
    for server in [beside, rejecting] {
        let ran = ask(&server, b"a.test:443", &[]);
        assert!(ran.stderr.contains("illegal parameter"), "{}", ran.stderr);
        let line = server.wait_for_connection();
        assert_eq!(
            line.value("end"),
            "handshake: server name is not a DNS name"
        );
    }
}

#[test]
fn a_hidden_name_survives_a_retry_request_and_any_fragmentation() {
    if missing(&["openssl"]) {
        return;
    }
    let site = Site::new();
    let server = server(site, "", "cert = [\"cert.pem\"]\nkx-groups = [\"X25519\"]");
    let protocols = vec!["a".repeat(250); 8].join(",");
    let long = ["-alpn", &protocols, "-max_send_frag", "512"];
    let retry = ["-groups", "P-256:X25519"];
    for options in [&retry[..], &long, &[&retry[..], &long].concat()] {
        let ran = ask(&server, b"a.test:443", &[&["-tls1_3"], options].concat());
        assert_eq!(
            ran.stdout, b"name= Initial\n",
            "{options:?}: {}",
            ran.stderr
        );
    }
    let ran = ask(&server, b"a.test:443", &[&["-tls1_2"], &long[..]].concat());
    assert_eq!(ran.stdout, b"name= Initial\n", "{}", ran.stderr);
}

#[test]
fn a_session_of_a_hidden_name_is_resumed() {
    if missing(&["openssl"]) {
        return;
    }
    let server = server(
        Site::new(),
        "",
        "cert = [\"cert.pem\"]\nkx-groups = [\"X25519\"]",
    );
    for version in VERSIONS {
        for more in [&[][..], &["-groups", "P-256:X25519"]] {
            let ask = |session: &str| {
                let options = [&[version, session, "session.pem"][..], more].concat();
                ask(&server, b"a.test:443", &options)
            };
            assert_eq!(ask("-sess_out").stdout, b"name= Initial\n");
            let ran = ask("-sess_in");
            assert_eq!(
                ran.stdout, b"name= Resumed\n",
                "{version} {more:?}: {}",
                ran.stderr
            );
        }
    }
}

#[test]
fn a_client_with_a_certificate_may_ask_for_a_name_that_no_host_can_have() {
    if missing(&["openssl"]) {
        return;
    }
    let (ca, site) = (Authority::new("Test CA"), Site::new());
    std::fs::write(site.file("ca.pem"), ca.pem()).unwrap();
    ca.client("alice", 1)
        .write_combined(&site.file("alice.pem"));
    let host = "cert = [\"cert.pem\"]\nclient-auth = \"require\"\nclient-ca = \"ca.pem\"";
    let server = server(site, "", host);
    for version in VERSIONS {
        let who = ["-cert", "alice.pem", "-key", "alice.pem", version];
        let ran = ask(&server, b"a.test:443", &who);
        assert_eq!(
            String::from_utf8(ran.stdout).unwrap(),
            "name= Initial CN=alice\n",
            "{version}: {}",
            ran.stderr
        );
    }
}

#[test]
fn a_client_with_a_pre_shared_key_may_ask_for_a_name_that_no_host_can_have() {
    if missing(&["openssl"]) {
        return;
    }
    let site = Site::new();
    write_secret(&site.file("c.psk"), &format!("alice:{KEY}\n"));
    let server = server(site, "", "psk = \"c.psk\"\nkx-groups = [\"X25519\"]");
    for options in [
        &["-tls1_2", "-cipher", "ECDHE-PSK-CHACHA20-POLY1305"][..],
        &["-tls1_3"],
        &["-tls1_3", "-groups", "P-256:X25519"],
    ] {
        let key = ["-psk_identity", "alice", "-psk", KEY];
        let ran = ask(&server, b"a.test:443", &[&key[..], options].concat());
        assert!(
            ran.stdout.starts_with(b"name="),
            "{options:?}: {}",
            ran.stderr
        );
        let lines = server.connection_lines();
        assert!(lines.iter().all(|line| line.value("sni") == "a.test:443"));
    }
}

#[test]
fn the_one_connection_may_ask_for_a_name_that_no_host_can_have() {
    if missing(&["openssl"]) {
        return;
    }
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = program("openssl");
    let mut client = client
        .args(["s_client", "-quiet", "-servername", "a.test:443"])
        .args(["-connect", &listener.local_addr().unwrap().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let connection = OwnedFd::from(listener.accept().unwrap().0);
    let mut server = Command::new(tlssrv_path())
        .current_dir(site.path())
        .args(["-c", "cert.pem", "sh", "-c", TOLD])
        .stdin(connection)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    client
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "name= Initial\n");
    assert!(server.wait().unwrap().success());
    client.wait().unwrap();
}
