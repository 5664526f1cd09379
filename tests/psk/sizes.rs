//! `record_size_limit` (RFC 8449), and the sizes of records.

use crate::server::Pair;
use crate::setup::{host, key};
use tlssrv_testing::raw::codes::{extension, group, record, suite};
use tlssrv_testing::raw::{Client, profiles};

fn limited(mut client: Client, limit: u16) -> Client {
    let body = limit.to_be_bytes();
    client.hello = client.hello.with(extension::RECORD_SIZE_LIMIT, &body);
    client
}

fn tls13() -> Client {
    profiles::tls13(&[key()], &[group::X25519])
}

fn tls12() -> Client {
    profiles::tls12(&key(), &[suite::ECDHE_PSK_AES_128_GCM])
}

#[test]
fn protected_records_are_no_larger_than_the_client_wants() {
    // TLS 1.3 counts the content type, and RFC 8446 allows one byte more.
    for (client, most) in [(tls13 as fn() -> Client, 16_385), (tls12, 16_384)] {
        for limit in [64, 65, 100, 512, 4_096, 16_383, 16_384, 16_385, 65_535] {
            let mut pair = Pair::connected(limited(client(), limit), &host());
            let agreed = pair.client.agreed.record_size_limit;
            assert!(agreed.is_some_and(|limit| usize::from(limit) <= most));
            pair.client.largest = 0;
            let text: Vec<u8> = (0..40_000).map(|i| (i % 251) as u8).collect();
            let records = pair.server.send(&text);
            pair.client.take(&records).unwrap();
            assert_eq!(pair.client.plaintext, text);
            assert_eq!(pair.client.largest, usize::from(limit).min(most));
            pair.client.plaintext.clear();
            pair.must_echo();
        }
    }
}

#[test]
fn record_size_limit_holds_in_the_handshake_too() {
    // EncryptedExtensions and Finished of SHA-384 take more than 64 bytes.
    let client = limited(profiles::tls13(&[crate::setup::key384()], &[24]), 64);
    let mut pair = Pair::new(client, &host());
    let hello = pair.client.start();
    pair.give(&hello);
    // The limit does not apply to unprotected records.
    let protected = pair.client.channel.seen.iter();
    let protected = protected.filter(|(typ, _)| *typ == record::APPLICATION_DATA);
    let largest = protected.map(|(_, length)| length - 16).max();
    assert!(largest.unwrap() <= 64, "{largest:?}");
    let flight = pair.client.answer();
    pair.give(&flight);
    pair.must_be_connected();
}

#[test]
fn record_size_limit_is_not_sent_unless_offered() {
    for client in [tls13(), tls12()] {
        let mut pair = Pair::connected(client, &host());
        assert_eq!(pair.client.agreed.record_size_limit, None);
        let records = pair.server.send(&[1; 50_000]);
        pair.client.take(&records).unwrap();
        assert_eq!(pair.client.plaintext.len(), 50_000);
    }
}

#[test]
fn an_empty_write_makes_no_record() {
    for client in [tls13(), tls12()] {
        let mut pair = Pair::connected(client, &host());
        assert_eq!(pair.server.send(b""), b"");
        pair.must_echo();
    }
}

#[test]
fn a_mebibyte_goes_both_ways() {
    for client in [tls13(), tls12()] {
        let mut pair = Pair::connected(client, &host());
        let text: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 253) as u8).collect();
        for part in text.chunks(10_000) {
            let record = pair.client.data(part);
            pair.give(&record);
            let records = pair.server.send(part);
            pair.client.take(&records).unwrap();
        }
        assert!(pair.server.plaintext == text);
        assert!(pair.client.plaintext == text);
    }
}
