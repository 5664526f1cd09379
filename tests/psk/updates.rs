//! KeyUpdate (RFC 8446 §4.6.3).

use crate::server::Pair;
use crate::setup::{host, key, key384};
use tlssrv_testing::raw::bytes::message;
use tlssrv_testing::raw::codes::{alert, group, handshake, record, suite};
use tlssrv_testing::raw::{Client, profiles};

fn client() -> Client {
    profiles::tls13(&[key()], &[group::X25519])
}

fn connected() -> Pair {
    Pair::connected(client(), &host())
}

const NOT_REQUESTED: u8 = 0;
const REQUESTED: u8 = 1;

#[test]
fn the_client_updates_its_keys_and_the_server_on_request() {
    for (key, suite) in [
        (key(), suite::AES_128_GCM_SHA256),
        (key(), suite::CHACHA20_POLY1305_SHA256),
        (key384(), suite::AES_256_GCM_SHA384),
    ] {
        let mut client = profiles::tls13(&[key], &[group::X25519]);
        client.hello.suites = vec![suite];
        let mut pair = Pair::connected(client, &host());
        for generation in 1..=5 {
            let update = pair.client.key_update(NOT_REQUESTED);
            pair.give(&update);
            pair.must_echo();
            let update = pair.client.key_update(REQUESTED);
            pair.give(&update);
            pair.must_echo();
            assert_eq!(pair.client.agreed.key_updates, generation);
        }
    }
}

#[test]
fn requests_that_arrive_together_are_answered_before_more_data() {
    let mut pair = connected();
    let updates: Vec<_> = (0..10).map(|_| pair.client.key_update(REQUESTED)).collect();
    pair.give(&updates.concat());
    pair.must_echo();
    // "… a single update … each side" may answer several (RFC 8446 §4.6.3).
    assert!((1..=10).contains(&pair.client.agreed.key_updates));
}

#[test]
fn a_key_update_may_arrive_in_pieces() {
    let mut pair = connected();
    for byte in message(handshake::KEY_UPDATE, &[REQUESTED]) {
        pair.give_handshake(&[byte]);
    }
    pair.client.renew_write_keys();
    pair.must_echo();
    assert_eq!(pair.client.agreed.key_updates, 1);
}

#[test]
fn a_key_update_after_the_server_has_closed_is_not_answered() {
    let mut pair = connected();
    let close = pair.server.close();
    pair.client.take(&close).unwrap();
    let update = pair.client.key_update(REQUESTED);
    // The client fails if anything follows the close_notify.
    pair.give(&update);
    let data = pair.client.data(b"still here");
    pair.give(&data);
    assert_eq!(pair.server.plaintext, b"still here");
}

#[test]
fn a_key_update_of_another_value_is_refused() {
    for value in [2, 3, 128, 255] {
        let mut pair = connected();
        let update = pair.client.key_update(value);
        pair.must_refuse(&update, alert::ILLEGAL_PARAMETER);
    }
}

#[test]
fn a_key_update_of_wrong_length_is_refused() {
    for body in [&[][..], &[0, 0], &[1, 0, 0, 0]] {
        let mut pair = connected();
        let update = message(handshake::KEY_UPDATE, body);
        let record = pair.client.channel.record(record::HANDSHAKE, &update);
        pair.must_refuse(&record, alert::DECODE_ERROR);
    }
}

#[test]
fn a_key_update_followed_by_data_in_its_record_is_refused() {
    for more in [&[0][..], &[24], &[24, 0, 0, 1, 0]] {
        let mut pair = connected();
        let update = [&message(handshake::KEY_UPDATE, &[0])[..], more].concat();
        let record = pair.client.channel.record(record::HANDSHAKE, &update);
        pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
    }
}

#[test]
fn records_under_old_keys_are_refused_after_a_key_update() {
    let mut pair = connected();
    let update = message(handshake::KEY_UPDATE, &[0]);
    pair.give_handshake(&update);
    let data = pair.client.data(b"old");
    pair.must_refuse(&data, alert::BAD_RECORD_MAC);
}

#[test]
fn records_under_new_keys_are_refused_without_a_key_update() {
    let mut pair = connected();
    pair.client.renew_write_keys();
    let data = pair.client.data(b"new");
    pair.must_refuse(&data, alert::BAD_RECORD_MAC);
}
