//! Hellos of TLS 1.3 that are refused, and the alert of each.

use crate::server::Pair;
use crate::setup::{host, host_with_alpn, key, lax_host};
use tlssrv_testing::raw::bytes::{list8, message};
use tlssrv_testing::raw::codes::{
    TLS12, TLS13, alert, extension, group, handshake, mode, record, suite,
};
use tlssrv_testing::raw::hello::Hello;
use tlssrv_testing::raw::{Client, profiles};

/// A usual client with a changed hello.
fn client(change: impl FnOnce(Hello) -> Hello) -> Client {
    let mut client = profiles::tls13(&[key()], &[group::X25519]);
    client.hello = change(client.hello);
    client
}

#[track_caller]
fn refused(change: impl FnOnce(Hello) -> Hello, alert: u8) {
    refused_with_one_of(change, &[alert]);
}

#[track_caller]
fn refused_with_one_of(change: impl FnOnce(Hello) -> Hello, alerts: &[u8]) {
    let mut pair = Pair::new(client(change), &host());
    let hello = pair.client.start();
    pair.must_refuse_with_one_of(&hello, alerts);
}

/// A hello whose body has been changed after it was complete.
#[track_caller]
fn refused_body(change: impl FnOnce(&mut Vec<u8>), alert: u8) {
    let mut pair = Pair::new(client(|hello| hello), &host());
    let mut body = pair.client.client_hello()[4..].to_vec();
    change(&mut body);
    let hello = message(handshake::CLIENT_HELLO, &body);
    let hello = pair.client.channel.plain(record::HANDSHAKE, &hello);
    pair.must_refuse(&hello, alert);
}

#[test]
fn a_hello_followed_by_bytes_is_refused() {
    refused_body(|body| body.push(0), alert::DECODE_ERROR);
    refused_body(|body| body.extend([0; 4]), alert::DECODE_ERROR);
}

#[test]
fn a_hello_that_is_too_short_is_refused() {
    for length in [0, 1, 2, 33, 34, 35, 37, 39, 40, 41, 42] {
        refused_body(|body| body.truncate(length), alert::DECODE_ERROR);
    }
    refused_body(|body| body.truncate(body.len() - 1), alert::DECODE_ERROR);
}

#[test]
fn empty_or_odd_lists_in_a_hello_are_refused() {
    let decode_error = |change: &dyn Fn(&mut Hello)| {
        refused(|hello| hello.but(|h| change(h)), alert::DECODE_ERROR);
    };
    decode_error(&|hello| hello.session_id = vec![1; 33]);
    decode_error(&|hello| hello.suites.clear());
    decode_error(&|hello| hello.compressions.clear());
    // An odd number of bytes in cipher_suites: one of them is taken for the length of the next list.
    refused_body(
        |body| {
            body[36] -= 1;
        },
        alert::DECODE_ERROR,
    );
}

#[test]
fn extensions_of_wrong_length_are_refused() {
    // `server_name` is read, and refused, before there is an engine.
    for (typ, bodies) in [
        (
            extension::SUPPORTED_VERSIONS,
            &[
                &[][..],
                &[0],
                &[1, 3],
                &[2, 3],
                &[3, 3, 4, 3],
                &[2, 3, 4, 0],
            ][..],
        ),
        (
            extension::SUPPORTED_GROUPS,
            &[
                &[],
                &[0],
                &[0, 0],
                &[0, 1, 0],
                &[0, 2, 0],
                &[0, 2, 0, 29, 0],
            ],
        ),
        (
            extension::KEY_SHARE,
            &[
                &[],
                &[0],
                &[0, 1],
                &[0, 3, 0, 29, 0],
                &[0, 4, 0, 29, 0, 1],
                &[0, 0, 0],
                // A share of no bytes: key_exchange<1..2^16-1>.
                &[0, 4, 0, 29, 0, 0],
            ],
        ),
        (
            extension::PSK_KEY_EXCHANGE_MODES,
            &[&[], &[0], &[1], &[2, 1], &[1, 1, 0]],
        ),
        (
            extension::ALPN,
            &[
                &[],
                &[0, 0],
                &[0, 1, 0],
                &[0, 3, 3, b'h', b'2'],
                &[0, 3, 2, b'h', b'2', 0],
            ],
        ),
        (
            extension::RECORD_SIZE_LIMIT,
            &[&[], &[64], &[0x40, 0, 0], &[0, 0, 0x40, 0]],
        ),
        (extension::EARLY_DATA, &[&[0], &[0, 0, 0, 0]]),
    ] {
        for body in bodies {
            let with = |hello: Hello| hello.with(typ, body);
            let mut pair = Pair::new(client(with), &host_with_alpn(&["h2"]));
            let hello = pair.client.start();
            let answer = pair.server.give(&hello);
            pair.client.take(&answer).unwrap();
            assert_eq!(
                pair.server.alert(),
                Some(alert::DECODE_ERROR),
                "extension {typ}: {body:02x?}"
            );
        }
    }
}

#[test]
fn an_extension_that_comes_twice_is_refused() {
    // "There MUST NOT be more than one extension of the same type" (RFC 8446 §4.2).
    for typ in [
        extension::SUPPORTED_VERSIONS,
        extension::SUPPORTED_GROUPS,
        extension::KEY_SHARE,
        extension::PSK_KEY_EXCHANGE_MODES,
    ] {
        let twice = |hello: Hello| {
            hello.but(|hello| {
                let body = hello.get(typ).unwrap().to_vec();
                hello.extensions.as_mut().unwrap().push((typ, body));
            })
        };
        refused_with_one_of(twice, &[alert::ILLEGAL_PARAMETER, alert::DECODE_ERROR]);
    }
    let twice = |hello: Hello| {
        let body = vec![0; 2];
        hello.but(|hello| {
            let extensions = hello.extensions.as_mut().unwrap();
            extensions.push((extension::PRE_SHARED_KEY, body));
        })
    };
    refused_with_one_of(twice, &[alert::ILLEGAL_PARAMETER, alert::DECODE_ERROR]);
}

#[test]
fn compression_is_refused() {
    // "MUST contain exactly one byte, set to zero" (RFC 8446 §4.1.2).
    for methods in [&[1][..], &[0, 1], &[1, 0], &[0, 0]] {
        refused(
            |hello| hello.but(|hello| hello.compressions = methods.to_vec()),
            alert::ILLEGAL_PARAMETER,
        );
    }
}

#[test]
fn old_versions_are_refused() {
    for version in [0x0302, 0x0305, 0x0300, 0x7f17] {
        refused(|hello| hello.versions(&[version]), alert::PROTOCOL_VERSION);
    }
    for version in [0x0300, 0x0301, 0x0302, 0x0002] {
        refused(
            |hello| {
                let hello = hello.without(extension::SUPPORTED_VERSIONS);
                hello.but(|hello| hello.version = version)
            },
            alert::PROTOCOL_VERSION,
        );
    }
}

#[test]
fn tls12_with_suites_of_tls13_is_refused() {
    refused(|hello| hello.versions(&[TLS12]), alert::HANDSHAKE_FAILURE);
    refused(
        |hello| hello.without(extension::SUPPORTED_VERSIONS),
        alert::HANDSHAKE_FAILURE,
    );
}

#[test]
fn tls13_with_suites_of_tls12_is_refused() {
    let suites = |suites: &'static [u16]| {
        move |hello: Hello| hello.but(|hello| hello.suites = suites.to_vec())
    };
    refused(
        suites(&[suite::ECDHE_PSK_CHACHA20]),
        alert::HANDSHAKE_FAILURE,
    );
    refused(suites(&[0x1304, 0x1305, 0x0a0a]), alert::HANDSHAKE_FAILURE);
}

#[test]
fn a_hello_without_a_key_is_refused() {
    let signatures = &[0, 2, 4, 3];
    refused(
        |hello| {
            let hello = hello.with(extension::SIGNATURE_ALGORITHMS, signatures);
            hello.but(|hello| hello.offer = None)
        },
        alert::HANDSHAKE_FAILURE,
    );
}

#[test]
fn modes_that_are_not_allowed_are_refused() {
    refused(
        |hello| hello.modes(&[mode::PSK_KE]),
        alert::HANDSHAKE_FAILURE,
    );
    refused(|hello| hello.modes(&[2, 0x0b]), alert::HANDSHAKE_FAILURE);
    let mut pair = Pair::new(client(|hello| hello.modes(&[0x0b])), &lax_host());
    let hello = pair.client.start();
    pair.must_refuse(&hello, alert::HANDSHAKE_FAILURE);
}

#[test]
fn groups_without_shares_and_shares_without_groups_are_refused() {
    // RFC 8446 §9.2
    let missing = alert::MISSING_EXTENSION;
    refused(|hello| hello.without(extension::KEY_SHARE), missing);
    refused(|hello| hello.without(extension::SUPPORTED_GROUPS), missing);
    refused(
        |hello| {
            let hello = hello.without(extension::KEY_SHARE);
            hello.without(extension::SUPPORTED_GROUPS)
        },
        missing,
    );
}

#[test]
fn groups_that_the_server_does_not_have_are_refused() {
    for groups in [&[group::SECP521R1][..], &[0x0100, 0x0a0a]] {
        refused(
            |hello| hello.groups(groups).raw_shares(&[]),
            alert::HANDSHAKE_FAILURE,
        );
    }
}

#[test]
fn a_share_of_a_group_that_is_not_offered_is_not_used() {
    // "Servers MAY check for violations of these rules" (RFC 8446 §4.2.8).
    let mut pair = Pair::new(client(|h| h.groups(&[group::SECP256R1])), &host());
    let hello = pair.client.start();
    let answer = pair.server.give(&hello);
    if pair.server.failure.is_some() {
        assert_eq!(pair.server.alert(), Some(alert::ILLEGAL_PARAMETER));
    } else {
        pair.client.take(&answer).unwrap();
        assert_eq!(pair.client.agreed.retry, Some(group::SECP256R1));
    }
}

#[test]
fn no_protocol_in_common_is_refused() {
    let mut pair = Pair::new(client(|h| h.alpn(&["h3", "h"])), &host_with_alpn(&["h2"]));
    let hello = pair.client.start();
    pair.must_refuse(&hello, alert::NO_APPLICATION_PROTOCOL);
}

#[test]
fn a_record_size_limit_below_64_is_refused() {
    // RFC 8449 §4
    for limit in [0, 1, 63] {
        let body = u16::to_be_bytes(limit);
        refused(
            |hello| hello.with(extension::RECORD_SIZE_LIMIT, &body),
            alert::ILLEGAL_PARAMETER,
        );
    }
}

#[test]
fn a_hello_with_nothing_but_grease_is_refused() {
    let mut hello = Hello::new(&[0x0a0a]);
    hello = hello.with(extension::SUPPORTED_VERSIONS, &list8(&[0x0a0a, TLS13]));
    let mut pair = Pair::new(Client::new(hello, Vec::new(), &[]), &host());
    let hello = pair.client.start();
    pair.must_refuse(&hello, alert::HANDSHAKE_FAILURE);
}
