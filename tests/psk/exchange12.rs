//! Wrong messages after the hellos of TLS 1.2.

use crate::server::Pair;
use crate::setup::{host, key, lax_host};
use tlssrv_testing::raw::bytes::{message, record, vector8, vector16};
use tlssrv_testing::raw::codes::{TLS12, alert, handshake, record as typ, suite};
use tlssrv_testing::raw::{Client, profiles};

fn client() -> Client {
    profiles::tls12(&key(), &[suite::ECDHE_PSK_CHACHA20])
}

/// A session in which the server waits for ClientKeyExchange.
fn halfway() -> Pair {
    Pair::halfway(client(), &host())
}

/// A session in which the server waits for `change_cipher_spec`.
fn exchanged() -> Pair {
    let mut pair = halfway();
    let exchange = pair.client.client_key_exchange();
    pair.give_handshake(&exchange);
    pair
}

/// A session in which the server waits for Finished.
fn changed() -> Pair {
    let mut pair = exchanged();
    let ccs = pair.client.change_cipher_spec12();
    pair.give(&ccs);
    pair
}

#[track_caller]
fn refused_exchange(pair: &mut Pair, body: &[u8]) {
    let message = message(handshake::CLIENT_KEY_EXCHANGE, body);
    let record = pair.client.channel.plain(typ::HANDSHAKE, &message);
    pair.must_refuse(&record, alert::DECODE_ERROR);
}

#[test]
fn a_key_exchange_of_wrong_length_is_refused() {
    let identity = vector16(&key().identity);
    let share = vector8(&[9; 32]);
    for body in [
        vec![],
        vec![0],
        vec![0, 6, b'c'],
        identity.clone(),
        [&identity[..], &[0]].concat(),
        [&identity[..], &share[..20]].concat(),
        [&identity[..], &share, &[0]].concat(),
    ] {
        refused_exchange(&mut halfway(), &body);
    }
    for body in [
        vec![],
        vec![0],
        vec![0, 6, b'c'],
        [&identity[..], &[0]].concat(),
        [&identity[..], &share].concat(),
    ] {
        let client = profiles::tls12(&key(), &[suite::PSK_CHACHA20]);
        refused_exchange(&mut Pair::halfway(client, &lax_host()), &body);
    }
}

#[test]
fn a_change_cipher_spec_of_another_value_is_refused() {
    for content in [&[0][..], &[2], &[1, 1], &[1, 0]] {
        let mut pair = exchanged();
        let ccs = record(typ::CHANGE_CIPHER_SPEC, TLS12, content);
        pair.must_refuse_with_one_of(
            &ccs,
            &[
                alert::UNEXPECTED_MESSAGE,
                alert::ILLEGAL_PARAMETER,
                alert::DECODE_ERROR,
            ],
        );
    }
}

#[test]
fn a_key_exchange_followed_by_data_in_its_record_is_refused() {
    let mut pair = halfway();
    let exchange = pair.client.client_key_exchange();
    let finished = pair.client.client_finished12();
    for more in [&finished[..1], &finished] {
        let mut pair = halfway();
        let both = [&exchange[..], more].concat();
        let flight = [
            record(typ::HANDSHAKE, TLS12, &both),
            record(typ::CHANGE_CIPHER_SPEC, TLS12, &[1]),
        ];
        pair.must_refuse(&flight.concat(), alert::UNEXPECTED_MESSAGE);
    }
}

#[test]
fn a_wrong_finished_is_refused() {
    for byte in 0..12 {
        let mut pair = changed();
        let mut finished = pair.client.client_finished12();
        finished[4 + byte] ^= 0x80;
        let record = pair.client.channel.record(typ::HANDSHAKE, &finished);
        pair.must_refuse(&record, alert::DECRYPT_ERROR);
    }
}

#[test]
fn a_finished_of_wrong_length_is_refused() {
    for length in [0, 1, 11, 13, 32, 36] {
        let mut pair = changed();
        let mut verify_data = pair.client.client_finished12()[4..].to_vec();
        verify_data.resize(length, 0);
        let finished = message(handshake::FINISHED, &verify_data);
        let record = pair.client.channel.record(typ::HANDSHAKE, &finished);
        pair.must_refuse(&record, alert::DECODE_ERROR);
    }
}

#[test]
fn a_finished_followed_by_data_in_its_record_is_refused() {
    for more in [&[0][..], &message(handshake::HELLO_REQUEST, b"")] {
        let mut pair = changed();
        let finished = pair.client.client_finished12();
        let both = [&finished[..], more].concat();
        let record = pair.client.channel.record(typ::HANDSHAKE, &both);
        pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
    }
}

#[test]
fn a_finished_that_does_not_decrypt_is_refused_as_with_a_wrong_key() {
    for byte in [0, 7, 8, 20, 31] {
        let mut pair = changed();
        let finished = pair.client.client_finished12();
        let mut record = pair.client.channel.record(typ::HANDSHAKE, &finished);
        record[5 + byte] ^= 1;
        pair.must_refuse(&record, alert::DECRYPT_ERROR);
    }
}

#[test]
fn a_finished_without_protection_is_refused() {
    let mut pair = changed();
    let finished = pair.client.client_finished12();
    let record = record(typ::HANDSHAKE, TLS12, &finished);
    pair.must_refuse_with_one_of(&record, &[alert::DECRYPT_ERROR, alert::BAD_RECORD_MAC]);
}

#[test]
fn a_finished_before_the_change_cipher_spec_is_refused() {
    let mut pair = exchanged();
    let finished = pair.client.client_finished12();
    let record = record(typ::HANDSHAKE, TLS12, &finished);
    pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
}

#[test]
fn a_missing_key_exchange_is_refused() {
    let mut pair = halfway();
    let ccs = record(typ::CHANGE_CIPHER_SPEC, TLS12, &[1]);
    pair.must_refuse(&ccs, alert::UNEXPECTED_MESSAGE);
}

#[test]
fn a_client_that_offers_extended_master_secret_and_does_not_use_it_is_refused() {
    // It looks the same as an attacker who removed the extension (RFC 7627 §5.3).
    let mut pair = halfway();
    pair.client.forget_extended_master_secret();
    let flight = pair.client.answer();
    pair.must_refuse(&flight, alert::DECRYPT_ERROR);
}
