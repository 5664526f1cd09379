//! Node, as programs in JavaScript have it: OpenSSL, with one key for SHA-256 in TLS 1.3.

use std::process::Command;

use crate::check::{accepted, accepted_with_name_and_protocol, only, refused};
use crate::offer::{Group, Offer, Suite, Version, openssl_groups};
use tlssrv_testing::Server;
use tlssrv_testing::programs::{missing, program};

/// node, with `node.js`.
pub(crate) fn node(server: &Server, offer: &Offer) -> Command {
    let address = server.address();
    let mut command = program("node");
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/interop/node.js"
        ))
        .args([address.ip().to_string(), address.port().to_string()])
        .args([offer.suite.version().name(), offer.suite.openssl_name()])
        .args([&offer.key.identity, &offer.key.digits])
        .args(offer.settings());
    if !offer.groups.is_empty() {
        command.arg(format!("groups={}", openssl_groups(offer.groups)));
    }
    command
}

#[test]
fn node_speaks_tls13() {
    if missing(&["node"]) {
        return;
    }
    accepted(node, &only(Version::Tls13, offers()));
}

#[test]
fn node_speaks_tls12_in_every_suite() {
    if missing(&["node"]) {
        return;
    }
    accepted(node, &only(Version::Tls12, offers()));
}

#[test]
fn node_asks_for_a_name_and_a_protocol() {
    if missing(&["node"]) {
        return;
    }
    let offers = [Suite::Aes128, Suite::EcdhePskChaCha20].map(Offer::of);
    accepted_with_name_and_protocol(node, offers.into());
}

#[test]
fn node_with_a_wrong_key_is_refused_as_with_an_unknown_identity() {
    if missing(&["node"]) {
        return;
    }
    refused(
        node,
        &[Suite::Aes128, Suite::EcdhePskChaCha20, Suite::PskAes128].map(Offer::of),
    );
}

/// What node can do; not every combination, because it starts slowly.
fn offers() -> Vec<Offer> {
    let mut offers = [
        Suite::Aes128,
        Suite::ChaCha20,
        Suite::EcdhePskChaCha20,
        Suite::PskAes128,
        Suite::PskAes256,
        Suite::PskChaCha20,
    ]
    .map(Offer::of)
    .to_vec();
    offers.push(Offer::of(Suite::Aes128).groups(&[Group::Secp521r1, Group::X25519]));
    offers
}
