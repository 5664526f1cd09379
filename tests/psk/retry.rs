//! The second ClientHello after a HelloRetryRequest (RFC 8446 §4.1.2).

use crate::server::Pair;
use crate::setup::{host, key, key384, lax_host};
use tlssrv_testing::raw::bytes::{message, vector16};
use tlssrv_testing::raw::codes::{
    TLS12, TLS13, alert, extension, group, handshake, mode, record, suite,
};
use tlssrv_testing::raw::groups::Share;
use tlssrv_testing::raw::hello::Hello;
use tlssrv_testing::raw::{Client, profiles};

/// A client without a usable key share.
fn client() -> Client {
    let mut client = profiles::tls13(&[key(), key384()], &[group::X25519]);
    client.hello = client
        .hello
        .groups(&[group::SECP521R1, group::X25519, group::SECP256R1])
        .raw_shares(&[(group::SECP521R1, &[4; 133])])
        .server_name("one.example")
        .with(extension::SIGNATURE_ALGORITHMS, &[0, 2, 4, 3])
        .compatible();
    client.shares.clear();
    client
}

#[track_caller]
fn refused(change: impl FnOnce(Hello) -> Hello, alert: u8) {
    let mut pair = Pair::greeted(client(), &host());
    let retry = pair.client.retry_with(change);
    pair.must_refuse(&retry, alert);
}

#[track_caller]
fn accepted(change: impl FnOnce(Hello) -> Hello) {
    let mut pair = Pair::greeted(client(), &host());
    let retry = pair.client.retry_with(change);
    pair.give(&retry);
    let answer = pair.client.answer();
    pair.give(&answer);
    pair.must_be_connected();
}

#[test]
fn a_second_hello_may_change_what_rfc_8446_allows() {
    accepted(|hello| hello);
    accepted(|hello| hello.with(extension::PADDING, &[0; 77]));
    accepted(|hello| hello.but(|hello| hello.offer.as_mut().unwrap().identities[0].1 = 1_000));
}

#[test]
fn a_second_hello_may_drop_padding() {
    let mut client = client();
    client.hello = client.hello.with(extension::PADDING, &[0; 77]);
    let mut pair = Pair::greeted(client, &host());
    let retry = pair
        .client
        .retry_with(|hello| hello.without(extension::PADDING));
    pair.give(&retry);
    let answer = pair.client.answer();
    pair.give(&answer);
    pair.must_be_connected();
}

#[test]
fn a_second_hello_that_changes_anything_else_is_refused() {
    type Change = fn(Hello) -> Hello;
    let changes: [(&str, Change); 14] = [
        ("legacy_version", |h| h.but(|h| h.version = 0x0301)),
        ("random", |h| h.but(|h| h.random[31] ^= 1)),
        ("session id", |h| h.but(|h| h.session_id[0] ^= 1)),
        ("no session id", |h| h.but(|h| h.session_id.clear())),
        ("a suite more", |h| h.but(|h| h.suites.push(0x1304))),
        ("a suite less", |h| h.but(|h| h.suites.truncate(1))),
        ("the order of suites", |h| h.but(|h| h.suites.reverse())),
        ("a version more", |h| h.versions(&[TLS13, TLS12])),
        ("another name", |h| h.server_name("two.example")),
        ("no name", |h| h.without(extension::SERVER_NAME)),
        ("a protocol", |h| h.alpn(&["h2"])),
        ("other groups", |h| h.groups(&[group::X25519])),
        ("other modes", |h| {
            h.modes(&[mode::PSK_DHE_KE, mode::PSK_KE])
        }),
        ("a limit", |h| {
            h.with(extension::RECORD_SIZE_LIMIT, &[64, 1])
        }),
    ];
    let mut unnoticed = Vec::new();
    for (what, change) in changes {
        let mut pair = Pair::greeted(client(), &host());
        let retry = pair.client.retry_with(change);
        pair.server.give(&retry);
        if pair.server.alert() != Some(alert::ILLEGAL_PARAMETER) {
            unnoticed.push((what, pair.server.failure));
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}

#[test]
fn a_second_hello_without_the_requested_share_is_refused() {
    let x25519 = Share::new(group::X25519).public;
    let p256 = Share::new(group::SECP256R1).public;
    for shares in [
        &[][..],
        &[(group::SECP256R1, &p256[..])],
        &[(group::SECP521R1, &[4; 133])],
        &[(group::X25519, &x25519), (group::SECP256R1, &p256)],
        &[(group::SECP256R1, &p256), (group::X25519, &x25519)],
    ] {
        refused(|hello| hello.raw_shares(shares), alert::ILLEGAL_PARAMETER);
    }
}

#[test]
fn a_second_hello_without_keys_is_refused() {
    let mut pair = Pair::greeted(client(), &host());
    let retry = pair
        .client
        .retry_with(|hello| hello.but(|hello| hello.offer = None));
    pair.must_refuse_with_one_of(
        &retry,
        &[
            alert::ILLEGAL_PARAMETER,
            alert::HANDSHAKE_FAILURE,
            alert::MISSING_EXTENSION,
        ],
    );
}

#[test]
fn a_second_hello_with_early_data_is_refused() {
    // "A client MUST remove [it]" (RFC 8446 §4.1.2).
    let mut client = client();
    client.hello = client.hello.with(extension::EARLY_DATA, &[]);
    let mut pair = Pair::greeted(client, &host());
    let retry = pair
        .client
        .retry_with(|hello| hello.with(extension::EARLY_DATA, &[]));
    pair.must_refuse(&retry, alert::ILLEGAL_PARAMETER);
    refused(
        |hello| hello.with(extension::EARLY_DATA, &[]),
        alert::ILLEGAL_PARAMETER,
    );
}

#[test]
fn a_cookie_that_the_server_did_not_send_is_refused() {
    refused(
        |hello| hello.with(extension::COOKIE, &vector16(&[7; 9])),
        alert::ILLEGAL_PARAMETER,
    );
}

#[test]
fn a_second_hello_of_tls12_is_refused() {
    let mut client = client();
    client.hello.suites.push(suite::ECDHE_PSK_CHACHA20);
    client.hello = client.hello.versions(&[TLS13, TLS12]);
    let mut pair = Pair::greeted(client, &host());
    let retry = pair.client.retry_with(|hello| hello.versions(&[TLS12]));
    pair.must_refuse_with_one_of(&retry, &[alert::ILLEGAL_PARAMETER, alert::PROTOCOL_VERSION]);
}

#[test]
fn a_second_hello_with_psk_ke_only_is_refused() {
    let mut client = client();
    client.hello = client.hello.modes(&[mode::PSK_KE, mode::PSK_DHE_KE]);
    let mut pair = Pair::greeted(client, &lax_host());
    let retry = pair.client.retry_with(|hello| hello.modes(&[mode::PSK_KE]));
    pair.must_refuse(&retry, alert::ILLEGAL_PARAMETER);
}

#[test]
fn the_first_hello_sent_again_is_refused() {
    let mut pair = Pair::new(client(), &host());
    let hello = pair.client.start();
    pair.give(&hello);
    pair.must_refuse(&hello, alert::ILLEGAL_PARAMETER);
}

#[test]
fn there_is_no_second_retry() {
    let mut pair = Pair::greeted(client(), &host());
    let retry = pair.client.retry_with(|hello| hello.raw_shares(&[]));
    pair.must_refuse(&retry, alert::ILLEGAL_PARAMETER);
}

#[test]
fn a_hello_followed_by_data_in_its_record_is_refused() {
    // RFC 8446 §5.1, for a hello that gets a retry request and for one that gets a ServerHello.
    for (client, retries) in [
        (client(), true),
        (profiles::tls13(&[key()], &[group::X25519]), false),
    ] {
        for more in [&[20][..], &message(handshake::FINISHED, &[0; 32])] {
            let mut pair = Pair::new(
                Client::new(client.hello.clone(), Vec::new(), &[key()]),
                &host(),
            );
            let hello = [pair.client.client_hello(), more.to_vec()].concat();
            let hello = pair.client.channel.plain(record::HANDSHAKE, &hello);
            pair.server.give(&hello);
            let sent = pair.server.alert();
            assert_eq!(sent, Some(alert::UNEXPECTED_MESSAGE), "retries: {retries}");
        }
    }
}

#[test]
fn a_second_hello_followed_by_data_in_its_record_is_refused() {
    let mut pair = Pair::greeted(client(), &host());
    let mut retry = pair.client.retry_with(|hello| hello);
    // The change_cipher_spec, then the record whose length is to grow.
    let length = u16::from_be_bytes([retry[9], retry[10]]) + 1;
    retry[9..11].copy_from_slice(&length.to_be_bytes());
    retry.push(handshake::FINISHED);
    pair.server.give(&retry);
    assert_eq!(pair.server.alert(), Some(alert::UNEXPECTED_MESSAGE));
}
