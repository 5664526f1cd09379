//! Handshakes with hellos as well-known clients send them.

use crate::server::{Pair, Server};
use crate::setup::{host, key, lax_host, long_key};
use tlssrv_testing::raw::codes::{TLS12, TLS13, group, record, suite};
use tlssrv_testing::raw::{Client, Step, profiles};

#[test]
fn openssl_gets_tls13_with_its_only_share() {
    let pair = Pair::connected(profiles::openssl(&key()), &host());
    let info = pair.server.info();
    assert_eq!(info.version, Some(TLS13));
    assert_eq!(info.group, Some(group::X25519));
}

#[test]
fn openssl_with_shares_that_do_not_fit_retries() {
    let mut client = profiles::openssl(&key());
    client.hello = client.hello.groups(&[group::SECP521R1, group::SECP384R1]);
    client.hello = client.hello.raw_shares(&[(group::SECP521R1, &[4; 133])]);
    client.shares.clear();
    let pair = Pair::connected(client, &host());
    assert_eq!(pair.client.agreed.retry, Some(group::SECP384R1));
}

#[test]
fn gnutls_gets_forward_secrecy_and_a_record_size_limit() {
    let pair = Pair::connected(profiles::gnutls(&key()), &lax_host());
    let info = pair.server.info();
    assert_eq!(info.version, Some(TLS13));
    assert!(info.group.is_some());
    assert!(pair.client.agreed.record_size_limit.is_some());
}

#[test]
fn mbedtls_needs_no_signature_algorithms() {
    let pair = Pair::connected(profiles::mbedtls(&key()), &host());
    assert_eq!(pair.server.info().group, Some(group::X25519));
}

#[test]
fn mbedtls_without_groups_gets_psk_ke() {
    let pair = Pair::connected(profiles::mbedtls_psk_ke(&key()), &lax_host());
    assert_eq!(pair.server.info().group, None);
}

#[test]
fn wolfssl_gets_forward_secrecy_in_spite_of_its_order() {
    let pair = Pair::connected(profiles::wolfssl(&key()), &lax_host());
    assert_eq!(pair.server.info().group, Some(group::SECP256R1));
}

#[test]
fn botan_gets_tls12() {
    let pair = Pair::connected(profiles::botan(&key()), &host());
    assert_eq!(pair.server.info().version, Some(TLS12));
}

#[test]
fn plan9_gets_the_only_common_suite() {
    let pair = Pair::connected(profiles::plan9(&long_key()), &lax_host());
    let info = pair.server.info();
    assert_eq!(info.version, Some(TLS12));
    assert_eq!(info.suite, Some(suite::PSK_CHACHA20));
    // It knows no extensions, so it gets none, and it closes on a warning that it does not know.
    assert!(pair.client.agreed.hello_extensions.is_empty());
    assert!(pair.client.alerts.is_empty());
}

#[test]
fn plan9_gets_no_record_of_another_version() {
    let mut client = profiles::plan9(&long_key());
    let mut server = Server::new(&lax_host());
    let mut sent = Vec::new();
    let mut bytes = client.start();
    while client.step != Step::Traffic {
        let answer = server.give(&bytes);
        client.take(&answer).unwrap();
        sent.extend(answer);
        bytes = client.answer();
    }
    sent.extend(server.send(&[7; 40_000]));
    sent.extend(server.close());
    check_records(&sent);
    let types: Vec<u8> = client.channel.seen.iter().map(|(typ, _)| *typ).collect();
    assert_eq!(types.last(), Some(&record::HANDSHAKE));
}

/// Records of version 0x0303 only, each no larger than TLS 1.2 allows.
fn check_records(mut records: &[u8]) {
    while let &[_, major, minor, high, low, ref rest @ ..] = records {
        assert_eq!([major, minor], [3, 3]);
        let length = usize::from(u16::from_be_bytes([high, low]));
        assert!(length <= 16_384 + 2_048);
        records = &rest[length..];
    }
    assert!(records.is_empty());
}

#[test]
fn plan9_is_refused_where_plain_psk_is_not_allowed() {
    let client: Client = profiles::plan9(&long_key());
    let mut pair = Pair::new(client, &host());
    let hello = pair.client.start();
    pair.must_refuse(&hello, tlssrv_testing::raw::codes::alert::HANDSHAKE_FAILURE);
}
