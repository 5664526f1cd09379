//! Handshakes that must succeed, and handshakes that must fail.

use crate::offer::{Client, Group, Offer, Version};
use crate::setup::{ANSWER, serve, serve_with};
use tlssrv_testing::programs::{Ran, run_with};
use tlssrv_testing::{Line, Server};

/// RFC 8446 §6, RFC 5246 §7.2
pub(crate) const HANDSHAKE_FAILURE: Option<u8> = Some(40);
pub(crate) const DECRYPT_ERROR: Option<u8> = Some(51);

/// Fails unless each offer is accepted: the client gets its answer, and command and log what was agreed.
/// Returns the lines of the log.
pub(crate) fn accepted(client: Client, offers: &[Offer]) -> Vec<Line> {
    let server = serve(&ANSWER);
    let accepted = |offer| accepted_by(&server, client, offer);
    offers.iter().map(accepted).collect()
}

/// As [`accepted`], with a server that selects by names and protocols.
pub(crate) fn accepted_with_name_and_protocol(client: Client, offers: Vec<Offer>) {
    let host = "psk-only-ke = true\npsk-plain = true\nalpn = [\"other\", \"echo\"]";
    let server = serve_with(host, &ANSWER);
    for offer in offers {
        accepted_by(&server, client, &offer.with_name_and_protocol());
    }
}

/// As [`accepted`], with this server, which runs [`ANSWER`].
pub(crate) fn accepted_by(server: &Server, client: Client, offer: &Offer) -> Line {
    let (ran, line) = connect(server, client, offer);
    let said = String::from_utf8_lossy(&ran.stdout);
    let context = format!("{offer:?}\n{line:?}\n{said}\n{}", ran.stderr);
    let (version, suite) = (offer.suite.version().name(), offer.suite.name());
    let identity = offer.key.identity.as_str();
    let answer = format!("{version} {suite} {identity} a line");
    assert!(said.lines().any(|line| line == answer), "{context}");
    assert!(ran.status.success(), "{context}");

    for (key, value) in [
        ("tls", version),
        ("suite", suite),
        ("auth", "psk"),
        ("identity", identity),
        ("in", "7"),
        ("exit", "0"),
        ("end", "closed"),
    ] {
        assert_eq!(line.get(key), Some(value), "{key}: {context}");
    }
    assert_eq!(line.get("sni"), offer.name, "{context}");
    assert_eq!(line.get("alpn"), offer.protocol, "{context}");
    let group = line.get("group");
    assert_eq!(group.is_some(), offer.has_forward_secrecy(), "{context}");
    if let (Some(group), Some(expected)) = (group, first_of_ours(offer.groups)) {
        assert_eq!(group, expected.name(), "{context}");
    }
    line
}

/// Fails unless clients with a wrong key and with an unknown identity are refused, and neither the client
/// nor the log can tell one from the other.
pub(crate) fn refused(client: Client, offers: &[Offer]) {
    let server = serve(&ANSWER);
    for offer in offers {
        let refused = |key| refused_by(&server, client, &offer.clone().key(key));
        let wrong = refused(offer.key.clone().wrong());
        let unknown = refused(offer.key.clone().unknown());
        assert_eq!(wrong, unknown, "{offer:?}");
        assert_eq!(wrong.0, DECRYPT_ERROR, "{offer:?}: {}", wrong.1);
    }
}

/// The alert that a client gets, and the `end` in the log.
pub(crate) fn refused_by(server: &Server, client: Client, offer: &Offer) -> (Option<u8>, String) {
    let (ran, line) = connect(server, client, offer);
    let said = String::from_utf8_lossy(&ran.stdout) + ran.stderr.as_str();
    let context = format!("{offer:?}\n{line:?}\n{said}");
    assert!(!ran.status.success(), "{context}");
    assert!(!said.contains("a line"), "{context}");
    let end = line.value("end");
    assert!(end.starts_with("handshake: "), "{context}");
    assert_eq!(line.get("identity"), None, "{context}");
    (alert(&said), end.to_owned())
}

/// Runs a client that sends a line; returns its output and its log line.
pub(crate) fn connect(server: &Server, client: Client, offer: &Offer) -> (Ran, Line) {
    let before = server.connection_lines().len();
    let ran = run_with(&mut client(server, offer), b"a line\n");
    let mut lines = server.wait_for_connections(before + 1);
    assert_eq!(lines.len(), before + 1, "{lines:?}");
    (ran, lines.remove(before))
}

/// The alert that a client reports, as OpenSSL, gnutls-cli and `peer.h` print it.
fn alert(said: &str) -> Option<u8> {
    let mut words = ["SSL alert number ", "Received alert [", "alert="].iter();
    let rest = words.find_map(|word| Some(said.split_once(word)?.1))?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

fn first_of_ours(groups: &[Group]) -> Option<Group> {
    let mut groups = groups.iter().copied();
    groups.find(|group| *group != Group::Secp521r1)
}

/// The offers of one version.
pub(crate) fn only(version: Version, mut offers: Vec<Offer>) -> Vec<Offer> {
    offers.retain(|offer| offer.suite.version() == version);
    offers
}
