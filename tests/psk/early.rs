//! Early data, which the server never accepts and skips (RFC 8446 §4.2.10).

use crate::server::Pair;
use crate::setup::{host, key};
use tlssrv_testing::raw::bytes::record;
use tlssrv_testing::raw::codes::{TLS12, alert, extension, group, record as typ};
use tlssrv_testing::raw::{Client, profiles};

/// A client that announces early data.
fn client() -> Client {
    let mut client = profiles::tls13(&[key()], &[group::X25519]);
    client.hello = client.hello.with(extension::EARLY_DATA, &[]);
    client
}

/// A client that announces early data and has to retry.
fn retrying() -> Client {
    let mut client = client();
    client.hello = client.hello.shares(&[]);
    client.shares.clear();
    client
}

/// A record of early data: it is protected with keys that the server does not derive.
fn early() -> Vec<u8> {
    record(typ::APPLICATION_DATA, TLS12, &[0xee; 200])
}

#[test]
fn early_data_that_was_announced_is_skipped() {
    for count in [0, 1, 5] {
        for ccs in [false, true] {
            let mut pair = Pair::greeted(client(), &host());
            if ccs {
                let ccs = record(typ::CHANGE_CIPHER_SPEC, TLS12, &[1]);
                pair.give(&ccs);
            }
            pair.give(&early().repeat(count));
            let flight = pair.client.answer();
            pair.give(&flight);
            pair.must_be_connected();
        }
    }
}

#[test]
fn early_data_may_arrive_with_the_hello() {
    let mut pair = Pair::new(client(), &host());
    let hello = pair.client.start();
    pair.give(&[hello, early(), early()].concat());
    let flight = pair.client.answer();
    pair.give(&[early(), flight].concat());
    pair.must_be_connected();
}

#[test]
fn early_data_is_skipped_before_a_second_hello() {
    for count in [0, 1, 5] {
        let mut pair = Pair::new(retrying(), &host());
        let hello = pair.client.start();
        pair.give(&[hello, early().repeat(count)].concat());
        let retry = pair.client.answer();
        pair.give(&retry);
        let flight = pair.client.answer();
        pair.give(&flight);
        pair.must_be_connected();
    }
}

#[test]
fn early_data_is_refused_after_a_second_hello() {
    let mut pair = Pair::halfway(retrying(), &host());
    pair.must_refuse(&early(), alert::BAD_RECORD_MAC);
}

#[test]
fn early_data_that_was_not_announced_is_refused() {
    let mut pair = Pair::halfway(profiles::tls13(&[key()], &[group::X25519]), &host());
    pair.must_refuse(&early(), alert::BAD_RECORD_MAC);
}

#[test]
fn early_data_after_a_record_that_decrypts_is_refused() {
    let mut pair = Pair::greeted(client(), &host());
    let finished = pair.client.client_finished13();
    pair.give_handshake(&finished[..4]);
    pair.must_refuse(&early(), alert::BAD_RECORD_MAC);
    let mut pair = Pair::connected(client(), &host());
    pair.must_refuse(&early(), alert::BAD_RECORD_MAC);
}

#[test]
fn early_data_over_its_limit_is_refused() {
    // The server allows no early data, so a few records that were under way are enough.
    let full = record(typ::APPLICATION_DATA, TLS12, &vec![0xee; 16_384]);
    for client in [client(), retrying()] {
        let mut pair = Pair::greeted(client, &host());
        let mut bytes = 0;
        while pair.server.failure.is_none() {
            pair.server.give(&full);
            bytes += full.len();
            assert!(bytes < 16 << 20, "for ever");
        }
        let sent = pair.server.alert();
        assert!([Some(alert::UNEXPECTED_MESSAGE), Some(alert::BAD_RECORD_MAC)].contains(&sent));
        assert!(!pair.server.is_complete());
    }
}

#[test]
fn many_small_early_records_are_refused() {
    for size in [0, 1, 16, 17] {
        for client in [client(), retrying()] {
            let small = record(typ::APPLICATION_DATA, TLS12, &vec![0xee; size]);
            let mut pair = Pair::greeted(client, &host());
            let mut records = 0;
            while pair.server.failure.is_none() {
                pair.server.give(&small);
                records += 1;
                assert!(records < 100_000, "for ever");
            }
            assert!(!pair.server.is_complete());
        }
    }
}

#[test]
fn end_of_early_data_is_refused() {
    // "If the server does not send [early_data], then the client MUST NOT send EndOfEarlyData"
    // (RFC 8446 §4.5).
    let mut pair = Pair::greeted(client(), &host());
    let record = pair.client.channel.record(typ::HANDSHAKE, &[5, 0, 0, 0]);
    pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
}
