//! An attacker who changes a bit or removes bytes between client and server: no handshake completes.

use std::sync::Arc;

use tlssrv::tls::psk::Config;
use tlssrv::tls::session::Stage;

use crate::server::Pair;
use crate::setup::{host, host_with_alpn, key, key384, lax_host, long_key};
use tlssrv_testing::raw::bytes::message;
use tlssrv_testing::raw::codes::{TLS13, alert, extension, group, record, suite};
use tlssrv_testing::raw::hello::Psk;
use tlssrv_testing::raw::{Client, Step, profiles};

/// A number of flights that no handshake reaches.
const MOST_FLIGHTS: usize = 6;

/// A handshake that would succeed.
struct Handshake {
    name: &'static str,
    client: fn() -> Client,
    config: Arc<Config>,
}

/// Handshakes of every kind.
fn handshakes() -> Vec<Handshake> {
    let handshake = |name, client, config| Handshake {
        name,
        client,
        config,
    };
    vec![
        handshake("TLS 1.3", tls13, host()),
        handshake("TLS 1.3, many keys", many_keys, host()),
        handshake("TLS 1.3, retry", retrying, host()),
        handshake(
            "TLS 1.3, psk_ke",
            || profiles::mbedtls_psk_ke(&key()),
            lax_host(),
        ),
        handshake("OpenSSL", || profiles::openssl(&key()), lax_host()),
        handshake("GnuTLS", || profiles::gnutls(&key()), host()),
        handshake("TLS 1.2", tls12, host_with_alpn(&["h2", "http/1.1"])),
        handshake("TLS 1.2 without EMS", tls12_without_ems, host()),
        handshake("Plan 9", || profiles::plan9(&long_key()), lax_host()),
    ]
}

fn tls13() -> Client {
    profiles::tls13(&[key()], &[group::X25519])
}

fn many_keys() -> Client {
    let stranger = Psk {
        identity: b"nobody".to_vec(),
        ..key()
    };
    profiles::tls13(&[stranger, key384(), key()], &[group::X25519])
}

fn retrying() -> Client {
    let mut client = profiles::openssl(&key());
    client.hello = client
        .hello
        .versions(&[TLS13])
        .groups(&[group::SECP521R1, group::X25519])
        .raw_shares(&[]);
    client.shares.clear();
    client
}

fn tls12() -> Client {
    let mut client = profiles::tls12(
        &key(),
        &[suite::ECDHE_PSK_AES_128_GCM, suite::ECDHE_PSK_AES_256_GCM],
    );
    client.hello = client.hello.alpn(&["http/1.1", "h2"]);
    client
}

fn tls12_without_ems() -> Client {
    let mut client = profiles::tls12(&key(), &[suite::ECDHE_PSK_CHACHA20]);
    client.hello = client.hello.without(extension::EXTENDED_MASTER_SECRET);
    client
}

impl Handshake {
    /// Lets client and server talk to their end, through a function that may change each flight.
    fn run(&self, mut between: impl FnMut(usize, &mut Vec<u8>)) -> Pair {
        let mut pair = Pair::new((self.client)(), &self.config);
        let mut flight = pair.client.start();
        for number in 0..MOST_FLIGHTS {
            between(number, &mut flight);
            let answer = pair.server.give(&flight);
            if pair.server.failure.is_some() || pair.client.take(&answer).is_err() {
                break;
            }
            flight = pair.client.answer();
            if flight.is_empty() {
                break;
            }
        }
        pair
    }

    /// Whether it agrees on TLS 1.3.
    fn is_tls13(&self) -> bool {
        self.run(|_, _| {}).client.agreed.version == TLS13
    }

    /// The flights of the client when nothing is changed.
    fn flights(&self) -> Vec<Vec<u8>> {
        let mut flights = Vec::new();
        let pair = self.run(|_, flight| flights.push(flight.clone()));
        assert_eq!(pair.server.stage, Stage::Traffic, "{}", self.name);
        assert_eq!(pair.client.step, Step::Traffic, "{}", self.name);
        flights
    }
}

#[test]
fn every_bit_of_a_handshake_matters() {
    for handshake in handshakes() {
        let flights = handshake.flights();
        for (number, flight) in flights.iter().enumerate() {
            let mut versions = record_versions(flight);
            // The last record is protected. In TLS 1.3 its whole header is authenticated; in TLS 1.2 the
            // version that was agreed on is, whatever the header says (RFC 5246 §6.2.3.3).
            if number + 1 == flights.len() && handshake.is_tls13() {
                versions.truncate(versions.len() - 2);
            }
            for bit in 0..8 * flight.len() {
                let pair = handshake.run(|n, flight| {
                    if n == number {
                        flight[bit / 8] ^= 1 << (bit % 8);
                    }
                });
                // "MUST be ignored for all purposes" (RFC 8446 §5.1): the version of an unprotected record is
                // not authenticated, and nothing depends on it.
                if versions.contains(&(bit / 8)) {
                    continue;
                }
                assert!(
                    !pair.server.is_complete(),
                    "{}: flight {number}, bit {bit}",
                    handshake.name
                );
            }
        }
    }
}

/// The places of the record versions in a flight.
fn record_versions(flight: &[u8]) -> Vec<usize> {
    let mut versions = Vec::new();
    let mut start = 0;
    while start < flight.len() {
        versions.extend([start + 1, start + 2]);
        let length = u16::from_be_bytes([flight[start + 3], flight[start + 4]]);
        start += 5 + usize::from(length);
    }
    versions
}

#[test]
fn every_bit_of_a_hello_is_in_its_binder() {
    // A hello with another random can still be read, so the alert is decrypt_error.
    let handshake = &handshakes()[0];
    let hello = &handshake.flights()[0];
    let random = 5 + 4 + 2;
    for bit in 8 * random..8 * (random + 32) {
        let pair = handshake.run(|_, flight| flight[bit / 8] ^= 1 << (bit % 8));
        assert_eq!(pair.server.alert(), Some(alert::DECRYPT_ERROR));
    }
    for bit in 8 * (hello.len() - 32)..8 * hello.len() {
        let pair = handshake.run(|_, flight| flight[bit / 8] ^= 1 << (bit % 8));
        assert_eq!(pair.server.alert(), Some(alert::DECRYPT_ERROR));
    }
}

#[test]
fn a_handshake_without_its_last_byte_does_not_complete() {
    for handshake in handshakes() {
        let flights = handshake.flights();
        let mut pair = Pair::new((handshake.client)(), &handshake.config);
        let mut flight = pair.client.start();
        for number in 0..flights.len() {
            for (i, byte) in flight.iter().enumerate() {
                assert!(!pair.server.is_complete(), "{}: byte {i}", handshake.name);
                pair.give(&[*byte]);
            }
            assert_eq!(pair.server.is_complete(), number == flights.len() - 1);
            flight = pair.client.answer();
        }
    }
}

#[test]
fn every_byte_of_a_handshake_matters() {
    for handshake in handshakes() {
        let flights = handshake.flights();
        for (number, flight) in flights.iter().enumerate() {
            for byte in 0..flight.len() {
                let changed = |change: fn(&mut Vec<u8>, usize)| {
                    let mut only_longer = false;
                    let pair = handshake.run(|n, flight| {
                        if n == number {
                            let whole = flight.clone();
                            change(flight, byte);
                            only_longer = flight.starts_with(&whole);
                        }
                    });
                    // A byte after the end belongs to the data after the handshake.
                    let is_data = only_longer && number + 1 == flights.len();
                    let name = handshake.name;
                    let is_complete = pair.server.is_complete();
                    assert!(!is_complete || is_data, "{name}: {number}, byte {byte}");
                };
                changed(|flight, byte| drop(flight.drain(byte..=byte)));
                changed(|flight, byte| flight.insert(byte, flight[byte]));
            }
        }
    }
}

#[test]
fn every_record_of_a_handshake_matters() {
    for handshake in handshakes() {
        for (number, flight) in handshake.flights().iter().enumerate() {
            let count = records(flight).len();
            for left_out in 0..count {
                // A change_cipher_spec for middleboxes means nothing (RFC 8446 §D.4).
                let typ = records(flight)[left_out][0];
                if typ == record::CHANGE_CIPHER_SPEC && handshake.is_tls13() {
                    continue;
                }
                let pair = handshake.run(|n, flight| {
                    if n == number {
                        let mut rest = records(flight);
                        rest.remove(left_out);
                        *flight = rest.concat();
                    }
                });
                let name = handshake.name;
                assert!(!pair.server.is_complete(), "{name}: {number}, {left_out}");
            }
        }
    }
}

/// The records of a flight.
fn records(flight: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut rest = flight;
    while !rest.is_empty() {
        let length = 5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
        let (record, after) = rest.split_at(length);
        records.push(record.to_vec());
        rest = after;
    }
    records
}

#[test]
fn a_truncated_hello_is_refused() {
    for handshake in handshakes() {
        let mut client = (handshake.client)();
        let whole = client.client_hello();
        for length in 0..whole.len() - 4 {
            let mut pair = Pair::new((handshake.client)(), &handshake.config);
            let short = message(whole[0], &whole[4..4 + length]);
            let short = pair.client.channel.plain(record::HANDSHAKE, &short);
            pair.server.give(&short);
            assert!(!pair.server.is_complete());
            // A hello of TLS 1.2 may end where its extensions would begin.
            let end = length
                == 2 + 32
                    + 1
                    + client.hello.session_id.len()
                    + 2
                    + 2
                    + 2 * client.hello.suites.len();
            if !end {
                let sent = pair.server.alert();
                assert_eq!(sent, Some(alert::DECODE_ERROR), "{}", handshake.name);
            }
        }
    }
}

#[test]
fn truncated_messages_after_the_hello_are_refused() {
    for length in 0..32 {
        let mut pair = Pair::halfway(tls13(), &host());
        let finished = pair.client.client_finished13();
        let short = message(finished[0], &finished[4..4 + length]);
        let short = pair.client.channel.record(record::HANDSHAKE, &short);
        pair.must_refuse(&short, alert::DECODE_ERROR);
    }
    for length in 0..2 + 6 + 1 + 32 {
        let mut client = tls12_without_ems();
        client.hello = client.hello.groups(&[group::X25519]);
        let mut pair = Pair::halfway(client, &host());
        let exchange = pair.client.client_key_exchange();
        let short = message(exchange[0], &exchange[4..4 + length]);
        let short = pair.client.channel.plain(record::HANDSHAKE, &short);
        pair.must_refuse(&short, alert::DECODE_ERROR);
    }
}

#[test]
fn every_bit_of_finished_matters_even_under_the_right_keys() {
    for bit in 0..8 * 36 {
        let mut pair = Pair::halfway(tls13(), &host());
        let mut finished = pair.client.client_finished13();
        finished[bit / 8] ^= 1 << (bit % 8);
        let record = pair.client.channel.record(record::HANDSHAKE, &finished);
        pair.server.give(&record);
        assert!(!pair.server.is_complete());
        if bit >= 8 * 4 {
            assert_eq!(pair.server.alert(), Some(alert::DECRYPT_ERROR));
        }
    }
    for bit in 0..8 * 16 {
        let mut pair = Pair::halfway(tls12(), &host());
        let exchange = pair.client.client_key_exchange();
        pair.give_handshake(&exchange);
        let ccs = pair.client.change_cipher_spec12();
        pair.give(&ccs);
        let mut finished = pair.client.client_finished12();
        finished[bit / 8] ^= 1 << (bit % 8);
        let record = pair.client.channel.record(record::HANDSHAKE, &finished);
        pair.server.give(&record);
        assert!(!pair.server.is_complete());
        if bit >= 8 * 4 {
            assert_eq!(pair.server.alert(), Some(alert::DECRYPT_ERROR));
        }
    }
}
