//! Clients without the right key: they learn neither which identities exist nor what was wrong.

use crate::server::{Pair, Server};
use crate::setup::{host, key, key384, lax_host};
use tlssrv_testing::raw::codes::{alert, group, record, suite};
use tlssrv_testing::raw::hash::Hash;
use tlssrv_testing::raw::hello::{Binder, Offer, Psk};
use tlssrv_testing::raw::{Client, profiles};

/// A key with an identity that the server does not know.
fn stranger() -> Psk {
    Psk {
        identity: b"nobody".to_vec(),
        ..key()
    }
}

/// A wrong key with an identity that the server knows.
fn liar() -> Psk {
    Psk {
        secret: vec![9; 32],
        ..key()
    }
}

#[test]
fn an_unknown_identity_and_a_wrong_key_look_the_same_in_tls13() {
    let mut answers = Vec::new();
    for psk in [stranger(), liar()] {
        let mut pair = Pair::new(profiles::tls13(&[psk], &[group::X25519]), &host());
        let hello = pair.client.start();
        answers.push(pair.server.give(&hello));
        assert_eq!(pair.server.alert(), Some(alert::DECRYPT_ERROR));
        assert_eq!(pair.server.info().psk_identity, None);
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn an_unknown_identity_and_a_wrong_key_look_the_same_after_a_retry() {
    let mut answers = Vec::new();
    for psk in [stranger(), liar()] {
        let mut client = profiles::tls13(&[psk], &[group::X25519]);
        client.hello = client.hello.shares(&[]);
        client.shares.clear();
        let mut server = Server::new(&host());
        let first = server.give(&client.start());
        let second = match server.failure {
            None => {
                client.take(&first).unwrap();
                server.give(&client.answer())
            }
            Some(_) => Vec::new(),
        };
        assert_eq!(server.alert(), Some(alert::DECRYPT_ERROR));
        answers.push((first, second));
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn an_unknown_identity_and_a_wrong_key_look_the_same_in_tls12() {
    for suite in [
        suite::ECDHE_PSK_CHACHA20,
        suite::ECDHE_PSK_AES_256_GCM,
        suite::PSK_CHACHA20,
        suite::PSK_AES_128_GCM,
    ] {
        let mut answers = Vec::new();
        for psk in [stranger(), liar()] {
            let client = profiles::tls12(&psk, &[suite]);
            let mut pair = Pair::halfway(client, &lax_host());
            let exchange = pair.client.client_key_exchange();
            let exchange = pair.client.channel.plain(record::HANDSHAKE, &exchange);
            // The client learns nothing before Finished (RFC 4279 §2, RFC 5246 §7.4.7.1).
            pair.give(&exchange);
            let ccs = pair.client.change_cipher_spec12();
            pair.give(&ccs);
            let finished = pair.client.client_finished12();
            let finished = pair.client.channel.record(record::HANDSHAKE, &finished);
            let answer = pair.server.give(&finished);
            assert_eq!(pair.server.alert(), Some(alert::DECRYPT_ERROR));
            assert_eq!(pair.server.info().psk_identity, None);
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0], [21, 3, 3, 0, 2, 2, alert::DECRYPT_ERROR]);
    }
}

#[test]
fn identities_that_no_table_can_have_are_unknown() {
    for identity in [
        vec![b'x'; 257],
        vec![b'x'; 20_000],
        vec![0],
        vec![0xff; 256],
    ] {
        let psk = Psk { identity, ..key() };
        let mut pair = Pair::new(
            profiles::tls13(std::slice::from_ref(&psk), &[group::X25519]),
            &host(),
        );
        // More than fits into one record.
        let hello = pair.client.client_hello();
        let records = hello.chunks(16_384);
        let records = records.map(|part| pair.client.channel.plain(record::HANDSHAKE, part));
        let records = records.collect::<Vec<_>>().concat();
        pair.must_refuse(&records, alert::DECRYPT_ERROR);
        unknown_in_tls12(&psk);
    }
    unknown_in_tls12(&Psk {
        identity: Vec::new(),
        ..key()
    });
}

/// Fails unless the server cannot decrypt Finished.
#[track_caller]
fn unknown_in_tls12(psk: &Psk) {
    let client = profiles::tls12(psk, &[suite::ECDHE_PSK_CHACHA20]);
    let mut pair = Pair::halfway(client, &host());
    let mut flight = Vec::new();
    let exchange = pair.client.client_key_exchange();
    for part in exchange.chunks(16_384) {
        flight.extend(pair.client.channel.plain(record::HANDSHAKE, part));
    }
    flight.extend(pair.client.change_cipher_spec12());
    let finished = pair.client.client_finished12();
    flight.extend(pair.client.channel.record(record::HANDSHAKE, &finished));
    pair.must_refuse(&flight, alert::DECRYPT_ERROR);
}

#[test]
fn the_binder_of_the_identity_that_is_taken_must_be_right() {
    // "servers … SHOULD select a single PSK and validate solely the binder that corresponds to that
    // PSK" (RFC 8446 §4.2.11).
    let keys = [stranger(), key(), key384()];
    for wrong in 0..3 {
        let mut client = profiles::tls13(&keys, &[group::X25519]);
        let offer = client.hello.offer.as_mut().unwrap();
        offer.binders[wrong] = Binder::Bytes(vec![3; offer_length(&keys[wrong])]);
        let mut pair = Pair::new(client, &host());
        let hello = pair.client.start();
        if wrong == 1 {
            pair.must_refuse(&hello, alert::DECRYPT_ERROR);
        } else {
            pair.give(&hello);
            let answer = pair.client.answer();
            pair.give(&answer);
            pair.must_be_connected();
        }
    }
}

fn offer_length(key: &Psk) -> usize {
    match key.hash {
        Hash::Sha256 => 32,
        Hash::Sha384 => 48,
    }
}

#[test]
fn a_binder_of_another_length_than_that_of_the_hash_is_refused() {
    for length in [33, 48, 64, 255] {
        for psk in [key(), stranger()] {
            let mut client = profiles::tls13(std::slice::from_ref(&psk), &[group::X25519]);
            client.hello.offer = Some(Offer {
                identities: vec![(psk.identity, 0)],
                binders: vec![Binder::Bytes(vec![3; length])],
            });
            let mut pair = Pair::new(client, &host());
            let hello = pair.client.start();
            pair.must_refuse(&hello, alert::DECRYPT_ERROR);
        }
    }
}

#[test]
fn a_key_with_the_other_hash_is_a_wrong_key() {
    let mut psk = key();
    psk.hash = Hash::Sha384;
    let mut pair = Pair::new(profiles::tls13(&[psk], &[group::X25519]), &host());
    let hello = pair.client.start();
    pair.must_refuse(&hello, alert::DECRYPT_ERROR);
}

#[test]
fn a_binder_of_another_hello_is_refused() {
    let mut other = profiles::tls13(&[key()], &[group::X25519]);
    let message = other.client_hello();
    let binder = message[message.len() - 32..].to_vec();
    let mut client: Client = profiles::tls13(&[key()], &[group::X25519]);
    client.hello.offer.as_mut().unwrap().binders = vec![Binder::Bytes(binder)];
    let mut pair = Pair::new(client, &host());
    let hello = pair.client.start();
    pair.must_refuse(&hello, alert::DECRYPT_ERROR);
}

#[test]
fn the_binder_of_the_first_hello_is_refused_in_the_second() {
    let mut client = profiles::tls13(&[key()], &[group::X25519]);
    client.hello = client.hello.shares(&[]);
    client.shares.clear();
    let mut pair = Pair::new(client, &host());
    let hello = pair.client.start();
    let binder = hello[hello.len() - 32..].to_vec();
    pair.give(&hello);
    let retry = pair.client.retry_with(|hello| {
        hello.but(|hello| hello.offer.as_mut().unwrap().binders = vec![Binder::Bytes(binder)])
    });
    pair.must_refuse(&retry, alert::DECRYPT_ERROR);
}

#[test]
fn a_second_binder_that_leaves_out_the_first_hello_is_refused() {
    let mut client = profiles::tls13(&[key()], &[group::X25519]);
    client.hello = client.hello.shares(&[]);
    client.shares.clear();
    let mut pair = Pair::greeted(client, &host());
    pair.client.transcript = Default::default();
    let retry = pair.client.answer();
    pair.must_refuse(&retry, alert::DECRYPT_ERROR);
}

#[test]
fn of_two_offers_of_one_identity_the_server_takes_the_first() {
    for (keys, good) in [([key(), liar()], true), ([liar(), key()], false)] {
        let mut pair = Pair::new(profiles::tls13(&keys, &[group::X25519]), &host());
        let hello = pair.client.start();
        if good {
            pair.give(&hello);
            let answer = pair.client.answer();
            pair.give(&answer);
            pair.must_be_connected();
        } else {
            pair.must_refuse(&hello, alert::DECRYPT_ERROR);
        }
    }
}
