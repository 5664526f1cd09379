//! Hellos of TLS 1.2 that are refused, and the alert of each.

use crate::server::Pair;
use crate::setup::{host, host_with_alpn, key, lax_host};
use tlssrv_testing::raw::codes::{TLS12, alert, extension, group, suite};
use tlssrv_testing::raw::hello::Hello;
use tlssrv_testing::raw::{Client, profiles};

const SUITE: u16 = suite::ECDHE_PSK_AES_128_GCM;

fn client(change: impl FnOnce(Hello) -> Hello) -> Client {
    let mut client = profiles::tls12(&key(), &[SUITE]);
    client.hello = change(client.hello);
    client
}

#[track_caller]
fn refused(change: impl FnOnce(Hello) -> Hello, alert: u8) {
    let mut pair = Pair::new(client(change), &host());
    let hello = pair.client.start();
    pair.must_refuse(&hello, alert);
}

#[test]
fn suites_that_the_server_does_not_have_are_refused() {
    for suite in [
        suite::PSK_AES_128_CBC_SHA,
        suite::PSK_AES_128_CBC_SHA256,
        // ECDHE_PSK with CBC and without encryption, DHE_PSK, RSA_PSK, and suites for certificates.
        0xc035,
        0xc037,
        0xc039,
        0x00aa,
        0x00ac,
        0xccad,
        0xccae,
        0xd003,
        0xd005,
        0xc02b,
        0xcca8,
        0x1301,
    ] {
        let with = |hello: Hello| hello.but(|hello| hello.suites = vec![suite]);
        let mut pair = Pair::new(client(with), &lax_host());
        let hello = pair.client.start();
        pair.must_refuse(&hello, alert::HANDSHAKE_FAILURE);
    }
}

#[test]
fn suites_without_forward_secrecy_are_refused_unless_they_are_allowed() {
    for suite in [
        suite::PSK_CHACHA20,
        suite::PSK_AES_128_GCM,
        suite::PSK_AES_256_GCM,
    ] {
        refused(
            |hello| hello.but(|hello| hello.suites = vec![suite]),
            alert::HANDSHAKE_FAILURE,
        );
    }
}

#[test]
fn groups_that_the_server_does_not_have_are_refused() {
    for groups in [
        &[group::SECP521R1][..],
        &[group::X25519MLKEM768],
        &[0x0100, 0x0a0a],
    ] {
        refused(|hello| hello.groups(groups), alert::HANDSHAKE_FAILURE);
    }
}

#[test]
fn plain_psk_needs_no_group() {
    let mut client = client(|hello| hello.groups(&[group::SECP521R1]));
    client.hello.suites.push(suite::PSK_CHACHA20);
    let pair = Pair::connected(client, &lax_host());
    assert_eq!(pair.server.info().suite, Some(suite::PSK_CHACHA20));
}

#[test]
fn a_fallback_from_tls13_is_refused() {
    // RFC 7507 §3
    refused(
        |hello| hello.but(|hello| hello.suites.push(suite::FALLBACK_SCSV)),
        alert::INAPPROPRIATE_FALLBACK,
    );
    refused(
        |hello| {
            let hello = hello.versions(&[TLS12]);
            hello.but(|hello| hello.suites.push(suite::FALLBACK_SCSV))
        },
        alert::INAPPROPRIATE_FALLBACK,
    );
}

#[test]
fn renegotiation_info_of_an_initial_handshake_must_be_empty() {
    // RFC 5746 §3.6
    refused(
        |hello| {
            hello.with(
                extension::RENEGOTIATION_INFO,
                &[12, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1],
            )
        },
        alert::HANDSHAKE_FAILURE,
    );
    for body in [&[][..], &[1], &[0, 0]] {
        refused(
            |hello| hello.with(extension::RENEGOTIATION_INFO, body),
            alert::DECODE_ERROR,
        );
    }
}

#[test]
fn extended_master_secret_with_a_body_is_refused() {
    refused(
        |hello| hello.with(extension::EXTENDED_MASTER_SECRET, &[0]),
        alert::DECODE_ERROR,
    );
}

#[test]
fn point_formats_without_uncompressed_are_refused() {
    // RFC 8422 §5.1.2
    refused(
        |hello| hello.with(extension::EC_POINT_FORMATS, &[2, 1, 2]),
        alert::ILLEGAL_PARAMETER,
    );
    for body in [&[][..], &[0], &[2, 0], &[1, 0, 0]] {
        refused(
            |hello| hello.with(extension::EC_POINT_FORMATS, body),
            alert::DECODE_ERROR,
        );
    }
}

#[test]
fn compression_is_refused() {
    // "This vector MUST contain … CompressionMethod.null" (RFC 5246 §7.4.1.2).
    for methods in [&[1][..], &[1, 64]] {
        refused(
            |hello| hello.but(|hello| hello.compressions = methods.to_vec()),
            alert::ILLEGAL_PARAMETER,
        );
    }
    // It may offer other methods besides null.
    Pair::connected(
        client(|hello| hello.but(|hello| hello.compressions = vec![1, 0])),
        &host(),
    );
}

#[test]
fn no_protocol_in_common_is_refused() {
    let mut pair = Pair::new(client(|h| h.alpn(&["h3"])), &host_with_alpn(&["h2"]));
    let hello = pair.client.start();
    pair.must_refuse(&hello, alert::NO_APPLICATION_PROTOCOL);
}

#[test]
fn a_record_size_limit_below_64_is_refused() {
    refused(
        |hello| hello.with(extension::RECORD_SIZE_LIMIT, &[0, 63]),
        alert::ILLEGAL_PARAMETER,
    );
}

#[test]
fn a_hello_that_is_too_short_or_too_long_is_refused() {
    let whole = profiles::tls12(&key(), &[SUITE]).client_hello()[4..].to_vec();
    for length in 0..whole.len() {
        // Without extensions it may end after the compression methods.
        if length == 2 + 32 + 1 + 2 + 2 + 2 {
            continue;
        }
        let message = tlssrv_testing::raw::bytes::message(1, &whole[..length]);
        let mut pair = Pair::new(client(|hello| hello), &host());
        let record = pair.client.channel.plain(22, &message);
        pair.must_refuse(&record, alert::DECODE_ERROR);
    }
    let message = tlssrv_testing::raw::bytes::message(1, &[&whole[..], &[0]].concat());
    let mut pair = Pair::new(client(|hello| hello), &host());
    let record = pair.client.channel.plain(22, &message);
    pair.must_refuse(&record, alert::DECODE_ERROR);
}
