//! `pre_shared_key` extensions (RFC 8446 §4.2.11) that are refused, and the alert of each.

use crate::server::Pair;
use crate::setup::{host, key};
use tlssrv_testing::raw::bytes::{vector8, vector16};
use tlssrv_testing::raw::codes::{alert, extension, group, record, suite};
use tlssrv_testing::raw::hello::{Hello, Psk};
use tlssrv_testing::raw::profiles;

#[track_caller]
fn refused(change: impl FnOnce(Hello) -> Hello, alerts: &[u8]) {
    let mut client = profiles::tls13(&[key()], &[group::X25519]);
    client.hello = change(client.hello);
    let mut pair = Pair::new(client, &host());
    let hello = pair.client.start();
    pair.must_refuse_with_one_of(&hello, alerts);
}

#[test]
fn a_broken_offer_is_refused_although_an_identity_is_known() {
    let offers: [(&str, Vec<u8>); 8] = [
        ("nothing", vec![]),
        ("no identities", [vector16(&[]), binders(1)].concat()),
        ("no binders", identities(&[b"client"])),
        (
            "an empty identity",
            [identities(&[b""]), binders(1)].concat(),
        ),
        (
            "bytes behind",
            [identities(&[b"client"]), binders(1), vec![0]].concat(),
        ),
        (
            "half an age",
            [vector16(&[0, 1, b'a', 0, 0]), binders(1)].concat(),
        ),
        (
            "a short binder",
            [identities(&[b"client"]), vector16(&vector8(&[3; 31]))].concat(),
        ),
        (
            "half a binder",
            [identities(&[b"client"]), vector16(&[32, 1, 2])].concat(),
        ),
    ];
    for (what, offer) in offers {
        assert_eq!(answer_to_offer(&offer), Some(alert::DECODE_ERROR), "{what}");
    }
    let empty = [identities(&[b"client"]), vector16(&[])].concat();
    let empty = answer_to_offer(&empty);
    assert!([Some(alert::DECODE_ERROR), Some(alert::ILLEGAL_PARAMETER)].contains(&empty));
}

#[test]
fn as_many_binders_as_identities_are_needed() {
    // RFC 8446 §4.2.11: more identities or more binders, with known and unknown identities.
    for (names, count) in [
        (&[&b"client"[..]][..], 2),
        (&[b"client", b"nobody"], 1),
        (&[b"nobody"], 2),
        (&[b"client", b"nobody", b"x"], 2),
        (&[b"client", b"nobody"], 3),
    ] {
        let offer = [identities(names), binders(count)].concat();
        assert_eq!(answer_to_offer(&offer), Some(alert::ILLEGAL_PARAMETER));
    }
}

#[test]
fn a_key_that_is_not_the_last_extension_is_refused() {
    // RFC 8446 §4.2.11
    for (typ, body) in [(0x4a4a, vec![]), (extension::PADDING, vec![0; 9])] {
        refused(
            |hello| hello.but(|hello| hello.behind = vec![(typ, body)]),
            &[alert::ILLEGAL_PARAMETER],
        );
    }
    let first = |hello: Hello| {
        hello.but(|hello| {
            let extensions = hello.extensions.as_mut().unwrap();
            hello.behind = extensions.split_off(1);
        })
    };
    refused(first, &[alert::ILLEGAL_PARAMETER]);
}

#[test]
fn a_key_without_modes_is_refused() {
    // RFC 8446 §4.2.9
    refused(
        |hello| hello.without(extension::PSK_KEY_EXCHANGE_MODES),
        &[alert::MISSING_EXTENSION],
    );
}

#[test]
fn a_key_whose_hash_has_no_suite_is_refused() {
    // A client without the key gets the same alert as with any other unusable key.
    let suites = |hello: Hello| hello.but(|hello| hello.suites = vec![suite::AES_256_GCM_SHA384]);
    refused(suites, &[alert::HANDSHAKE_FAILURE, alert::DECRYPT_ERROR]);
}

#[test]
fn a_refused_client_gets_nothing_but_an_alert() {
    // No ServerHello either: the alert is the first and only record.
    let stranger = Psk {
        identity: b"nobody".to_vec(),
        ..key()
    };
    let mut pair = Pair::new(profiles::tls13(&[stranger], &[group::X25519]), &host());
    let hello = pair.client.start();
    let answer = pair.server.give(&hello);
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, alert::DECRYPT_ERROR]);
}

/// The answer of the server to a `pre_shared_key` of this body.
fn answer_to_offer(offer: &[u8]) -> Option<u8> {
    let mut pair = Pair::new(profiles::tls13(&[key()], &[group::X25519]), &host());
    let hello = pair.client.hello.message_with_offer(offer);
    let hello = pair.client.channel.plain(record::HANDSHAKE, &hello);
    let answer = pair.server.give(&hello);
    pair.client.take(&answer).unwrap();
    pair.server.alert()
}

fn identities(names: &[&[u8]]) -> Vec<u8> {
    let entries = names
        .iter()
        .map(|name| [vector16(name), vec![0; 4]].concat());
    vector16(&entries.collect::<Vec<_>>().concat())
}

fn binders(count: usize) -> Vec<u8> {
    vector16(&vector8(&[3; 32]).repeat(count))
}
