//! `openssl s_client`. It ends only when the server does, so commands answer once.

use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;

use crate::check::{accepted, accepted_by, accepted_with_name_and_protocol, only, refused};
use crate::offer::{Group, Offer, Suite, Version, openssl_groups};
use crate::setup::{ANSWER, serve};
use tlssrv_testing::Server;
use tlssrv_testing::programs::{Daemon, missing, program};
use tlssrv_testing::server::Lines;

/// `openssl s_client`, which stays until the server ends.
pub(crate) fn openssl(server: &Server, offer: &Offer) -> Command {
    let mut command = s_client(server, offer);
    command.arg("-quiet");
    command
}

/// `openssl s_client`, which takes commands.
fn s_client(server: &Server, offer: &Offer) -> Command {
    let suite = offer.suite.openssl_name();
    let mut command = program("openssl");
    command.args(["s_client", "-connect", &server.address().to_string()]);
    match offer.suite.version() {
        Version::Tls13 => command.args(["-tls1_3", "-ciphersuites", suite]),
        Version::Tls12 => command.args(["-tls1_2", "-cipher", suite]),
    };
    command.args(["-psk_identity", &offer.key.identity]);
    if offer.suite == Suite::Aes256 {
        // A key given with -psk is for SHA-256. A session can have a key for another hash, and only the key
        // and the suite of it are used. This one is the output of `openssl asn1parse -genconf FILE`, as
        // PEM, of:
        //     asn1 = SEQUENCE:session
        //     [session]
        //     version = INTEGER:1
        //     protocol = INTEGER:0x0304
        //     suite = FORMAT:HEX,OCTETSTRING:1302
        //     id = FORMAT:HEX,OCTETSTRING:0707… (32 bytes)
        //     key = FORMAT:HEX,OCTETSTRING:1011…3f
        command.args(["-psk_session", SESSION]);
    } else {
        command.args(["-psk", &offer.key.digits]);
    }
    if !offer.groups.is_empty() {
        command.args(["-groups", &openssl_groups(offer.groups)]);
    }
    match offer.name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    if let Some(protocol) = offer.protocol {
        command.args(["-alpn", protocol]);
    }
    command
}

/// A session with the key of `Key::bob`.
const SESSION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/bob384.pem");

#[test]
fn openssl_speaks_tls13_in_every_suite() {
    if missing(&["openssl"]) {
        return;
    }
    accepted(openssl, &only(Version::Tls13, offers()));
}

#[test]
fn openssl_speaks_tls12_in_every_suite() {
    if missing(&["openssl"]) {
        return;
    }
    accepted(openssl, &only(Version::Tls12, offers()));
}

#[test]
fn openssl_retries_with_another_group() {
    if missing(&["openssl"]) {
        return;
    }
    let groups: [&[Group]; 3] = [
        &[Group::Secp521r1, Group::X25519],
        &[Group::Secp521r1, Group::Secp384r1],
        &[Group::Secp521r1, Group::Secp256r1],
    ];
    // After a retry request, s_client leaves a key for SHA-384 out of its second hello, with any server.
    for suite in [Suite::Aes128, Suite::ChaCha20] {
        let server = serve(&ANSWER);
        for groups in groups {
            accepted_by(&server, openssl, &Offer::of(suite).groups(groups));
        }
    }
}

#[test]
fn openssl_asks_for_a_name_and_a_protocol() {
    if missing(&["openssl"]) {
        return;
    }
    accepted_with_name_and_protocol(openssl, offers());
}

#[test]
fn openssl_with_a_wrong_key_is_refused_as_with_an_unknown_identity() {
    if missing(&["openssl"]) {
        return;
    }
    refused(openssl, &offers());
}

#[test]
fn openssl_renews_its_keys_and_has_the_server_renew_its_own() {
    if missing(&["openssl"]) {
        return;
    }
    for suite in [Suite::Aes128, Suite::Aes256, Suite::ChaCha20] {
        let server = serve(&["cat"]);
        let mut client = Typist::start(s_client(&server, &Offer::of(suite)).arg("-msg"));
        client.says_and_hears("first");
        for (n, command) in ["k", "K", "k", "K"].iter().enumerate() {
            client.types(command);
            client.waits_for_updates(">>>", n + 1);
            client.says_and_hears(&format!("line {n}"));
        }
        // Only what the client asked for is answered.
        client.waits_for_updates("<<<", 2);
        client.types("Q");
        let line = server.wait_for_connection();
        assert_eq!(line.value("end"), "closed");
        assert_eq!(client.updates("<<<"), 2);
    }
}

/// What OpenSSL can do.
fn offers() -> Vec<Offer> {
    let groups: [&[Group]; 4] = [
        &[],
        &[Group::X25519],
        &[Group::Secp256r1],
        &[Group::Secp384r1],
    ];
    let mut offers = Vec::new();
    for suite in [
        Suite::Aes128,
        Suite::Aes256,
        Suite::ChaCha20,
        Suite::EcdhePskChaCha20,
    ] {
        offers.extend(groups.map(|groups| Offer::of(suite).groups(groups)));
    }
    offers.extend([Suite::PskAes128, Suite::PskAes256, Suite::PskChaCha20].map(Offer::of));
    offers
}

/// A program that gets each line of input after it has handled the one before.
struct Typist {
    _program: Daemon,
    stdin: ChildStdin,
    stdout: Arc<Lines>,
}

impl Typist {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = Daemon::start(command.stderr(Stdio::null()));
        Self {
            stdin: program.0.stdin.take().unwrap(),
            stdout: Lines::collect(program.0.stdout.take().unwrap()),
            _program: program,
        }
    }

    fn types(&mut self, line: &str) {
        // In one piece, because s_client takes each piece for a line.
        self.stdin
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }

    /// Types a line, and waits until it comes back.
    fn says_and_hears(&mut self, line: &str) {
        self.types(line);
        self.stdout.wait(line, |lines| {
            lines.iter().any(|heard| heard == line).then_some(())
        });
    }

    /// Waits for a number of KeyUpdates sent (`>>>`) or received (`<<<`).
    fn waits_for_updates(&self, direction: &str, count: usize) {
        self.stdout.wait("KeyUpdate", |lines| {
            (count_updates(lines, direction) >= count).then_some(())
        });
    }

    fn updates(&self, direction: &str) -> usize {
        let count = |lines: &[String]| Some(count_updates(lines, direction));
        self.stdout.wait("any line", count)
    }
}

fn count_updates(lines: &[String], direction: &str) -> usize {
    let is_update = |line: &&String| line.starts_with(direction) && line.ends_with("KeyUpdate");
    lines.iter().filter(is_update).count()
}
