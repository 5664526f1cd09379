//! The variables of a command, the keys of the log and the signals, as the manual lists them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};

use tlssrv::environment::{ConnectionInfo, NAMES, variables};
use tlssrv::types::HandshakeInfo;
use tlssrv::types::PskIdentity;
use tlssrv::types::ServerName;
use tlssrv::types::{ClientCertificate, Text};

use crate::TLSSRV_8;
use tlssrv_testing::pki::write_secret;
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::{Dial, Line, Server, Site, Socket};

const KEY: &str = "00112233445566778899aabbccddeeff";

#[test]
fn the_page_has_the_variables_of_commands_and_no_others() {
    if missing(&["openssl"]) {
        return;
    }
    let (_server, text) = ask("env");
    let of_connection: BTreeSet<String> = NAMES.map(str::to_owned).into();
    let found = text.lines().filter_map(|line| line.split_once('='));
    let found: BTreeSet<String> = found.map(|(name, _)| name.to_owned()).collect();
    assert!(found.len() > 15, "{text}");
    let known: BTreeSet<String> = found.union(&of_connection).cloned().collect();
    assert_eq!(TLSSRV_8.tagged(&["ENVIRONMENT"], "Ev"), known);
}

#[test]
fn each_variable_of_a_connection_is_there_where_it_has_a_value() {
    let address: SocketAddr = "192.0.2.7:40112".parse().unwrap();
    let told = ConnectionInfo {
        id: "1.1",
        host: Some("a.example"),
        addresses: Some((address, address)),
        remote_name: Some("remote"),
        handshake: &HandshakeInfo {
            server_name: ServerName::parse(b"a.example").ok(),
            alpn: Some("imap".to_owned()),
            version: Some(0x0304),
            suite: Some(0x1301),
            group: Some(29),
            resumed: Some(false),
            psk_identity: PskIdentity::try_from(b"alice".to_vec()).ok(),
            client: Some(Box::new(alice())),
        },
    };
    let variables = variables(&told);
    let names = variables.iter().map(|entry| {
        let (name, _) = entry.to_str().unwrap().split_once('=').unwrap();
        name
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), NAMES.into());
}

/// A client certificate with a value for every variable.
fn alice() -> ClientCertificate {
    let text = |text: &str| Text::try_from(text.to_owned()).unwrap();
    ClientCertificate {
        only_key: None,
        sha256: [7; 32],
        subject: Some(text("CN=alice")),
        issuer: Some(text("CN=CA")),
        common_name: Some(text("alice")),
        serial: text("01"),
        not_before: text("Nov  1 00:00:00 2026 GMT"),
        not_after: text("Nov  1 00:00:00 2027 GMT"),
        dns_names: Some(vec![text("alice.example")]),
        der: Some(vec![0x30, 0]),
    }
}

#[test]
fn each_variable_has_an_example_of_itself() {
    for item in TLSSRV_8.items_in(&["ENVIRONMENT"]) {
        let name = &item.named("Ev")[0];
        assert!(
            item.examples[0].starts_with(&format!("{name}=")),
            "{item:?}"
        );
    }
}

#[test]
fn the_page_has_the_keys_of_the_log_and_shows_them_in_their_order() {
    if missing(&["openssl"]) {
        return;
    }
    let (server, _) = ask("echo oops >&2; exec true");
    let line = server.wait_for_connection();
    let said = server.wait_for_line("stderr", |line| line.contains("stderr="));
    let mut keys: Vec<String> = line.keys.clone();
    keys.extend(
        Line::parse(&said)
            .keys
            .into_iter()
            .filter(|key| key != "id"),
    );
    let page: Vec<String> = TLSSRV_8
        .items_in(&["DIAGNOSTICS"])
        .flat_map(|item| item.named("Sy"))
        .collect();
    let (before, after) = with_backend();
    keys = with_after(keys, "peer", &before);
    keys = with_after(keys, "exit", &after);
    assert_eq!(page, keys);

    let displays = TLSSRV_8.displays("DIAGNOSTICS");
    let shown = displays.iter().find(|text| text.contains(" id=")).unwrap();
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(Line::parse(&words.join(" ")).keys, line.keys);
}

/// The keys of the log line of a client behind a load balancer whose connection goes to a backend: the key
/// after its address, and the key before the bytes.
fn with_backend() -> (String, String) {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nproxy-protocol = true\nproxy-from = [\"127.0.0.1\"]\n\
         [[host]]\ndefault = true\ncert = [\"cert.pem\"]\nconnect = \"{}\"\n",
        backend.local_addr().unwrap()
    );
    let server = Server::with_config(&toml);
    let mut socket = Socket::connect(server.address());
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 40112 993\r\n";
    socket.write_all(header).unwrap();
    drop(Dial::new().over(socket, ""));
    drop(backend.accept().unwrap());
    let keys = server.wait_for_connection().keys;
    let place = |key: &str| keys.iter().position(|found| found == key).unwrap();
    let (after, before) = (place("peer") + 1, place("in") - 1);
    (keys[after].clone(), keys[before].clone())
}

/// The same keys with one more after this one.
fn with_after(mut keys: Vec<String>, after: &str, key: &str) -> Vec<String> {
    let place = keys.iter().position(|found| found == after).unwrap();
    keys.insert(place + 1, key.to_owned());
    keys
}

#[test]
fn each_key_of_the_log_has_an_example_of_itself() {
    for item in TLSSRV_8.items_in(&["DIAGNOSTICS"]) {
        let key = &item.named("Sy")[0];
        let line = Line::parse(&item.examples[0]);
        assert!(line.get(key).is_some(), "{item:?}");
        assert_eq!(line.message, "");
    }
}

#[test]
fn the_page_has_the_signals_that_a_server_takes_and_no_others() {
    let server = Server::of(&["cat"]);
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    // They are blocked and read from a descriptor; SIGCHLD is for the server itself.
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let blocked = u64::from_str_radix(blocked.unwrap().trim(), 16).unwrap();
    let names = (1..=64).filter(|signal| blocked & (1 << (signal - 1)) != 0);
    let names = names.map(|signal| nix::sys::signal::Signal::try_from(signal).unwrap());
    let taken: BTreeSet<String> = names
        .map(|signal| signal.as_str().to_owned())
        .filter(|name| name != "SIGCHLD")
        .collect();
    assert_eq!(TLSSRV_8.tagged(&["SIGNALS"], "Dv"), taken);
    for item in TLSSRV_8.items_in(&["SIGNALS"]) {
        let names = item.named("Dv");
        let expected = names
            .iter()
            .map(|name| format!("kill -{} 4711", &name[3..]));
        assert_eq!(item.examples, expected.collect::<Vec<_>>());
    }
}

/// A server with this script as its command, and what a client with a key gets.
fn ask(script: &str) -> (Server, String) {
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\nnames = [\"a.example\"]\n\
         psk = \"c.psk\"\nalpn = [\"imap\"]\nallow-root = true\n\
         command = [\"sh\", \"-c\", \"{script}\"]\n"
    );
    // `env` alone: a shell has variables of its own.
    let toml = toml.replace("\"sh\", \"-c\", \"env\"", "\"env\"");
    let site = Site::new();
    write_secret(&site.file("c.psk"), &format!("alice:{KEY}\n"));
    let server = Server::with_config_in(site, &toml);
    let text = run(program("openssl")
        .args([
            "s_client",
            "-quiet",
            "-servername",
            "a.example",
            "-alpn",
            "imap",
        ])
        .args(["-psk_identity", "alice", "-psk", KEY])
        .args(["-connect", &server.address().to_string()]))
    .text();
    (server, text)
}
