//! Records that are refused in either version, before, in and after the handshake.

use crate::server::Pair;
use crate::setup::{host, key};
use tlssrv_testing::raw::bytes::{message, record};
use tlssrv_testing::raw::codes::{TLS12, TLS13, alert, group, handshake, record as typ, suite};
use tlssrv_testing::raw::{Client, profiles};

/// The most plaintext in a record (RFC 8446 §5.1).
const FRAGMENT: usize = 16_384;

fn tls13() -> Client {
    profiles::tls13(&[key()], &[group::X25519])
}

fn tls12() -> Client {
    profiles::tls12(&key(), &[suite::ECDHE_PSK_CHACHA20])
}

/// A client of TLS 1.2 with a suite whose records have explicit nonces.
fn tls12_gcm() -> Client {
    profiles::tls12(&key(), &[suite::ECDHE_PSK_AES_256_GCM])
}

const CLIENTS: [fn() -> Client; 3] = [tls13, tls12, tls12_gcm];

#[test]
fn a_plaintext_record_may_have_16384_bytes_and_no_more() {
    for client in CLIENTS {
        // A hello of 20,000 bytes, in records of the tested size.
        let long = || {
            let mut client = client();
            let extensions = client.hello.extensions.as_mut().unwrap();
            extensions.insert(0, (0x4a4a, vec![0; 20_000]));
            client
        };
        let mut pair = Pair::new(long(), &host());
        let hello = pair.client.client_hello();
        let records = hello.chunks(FRAGMENT);
        let records = records.map(|part| record(typ::HANDSHAKE, 0x0301, part));
        pair.give(&records.collect::<Vec<_>>().concat());
        let answer = pair.client.answer();
        pair.give(&answer);
        pair.must_be_connected();

        let mut pair = Pair::new(long(), &host());
        let hello = pair.client.client_hello();
        let too_long = record(typ::HANDSHAKE, 0x0301, &hello[..=FRAGMENT]);
        pair.must_refuse(&too_long, alert::RECORD_OVERFLOW);
    }
}

#[test]
fn a_record_is_refused_by_its_header_when_it_is_too_long() {
    // RFC 8446 §5.2: 256 bytes more than the plaintext; RFC 5246 §6.2.3: 2,048.
    for (client, limit) in [(CLIENTS[0], 256), (CLIENTS[1], 2_048), (CLIENTS[2], 2_048)] {
        let length = u16::try_from(FRAGMENT + limit + 1).unwrap().to_be_bytes();
        let mut pair = Pair::connected(client(), &host());
        let header = [typ::APPLICATION_DATA, 3, 3, length[0], length[1]];
        // The server may answer to the length alone, but need not.
        let some = [&header[..], &[0; 300]].concat();
        pair.server.give(&some);
        let whole = vec![0; FRAGMENT + 4_096];
        if pair.server.failure.is_none() {
            pair.server.give(&whole);
        }
        assert_eq!(pair.server.alert(), Some(alert::RECORD_OVERFLOW));
    }
}

#[test]
fn the_first_record_is_refused_by_its_header_when_it_is_too_long() {
    let header = [typ::HANDSHAKE, 3, 1, 0x40, 0x01];
    let mut pair = Pair::new(tls13(), &host());
    let bytes = [&header[..], &[1; FRAGMENT + 1]].concat();
    pair.must_refuse(&bytes, alert::RECORD_OVERFLOW);
}

#[test]
fn a_protected_record_may_have_16384_bytes_of_plaintext_and_no_more() {
    for client in CLIENTS {
        let mut pair = Pair::connected(client(), &host());
        let full = pair.client.data(&vec![5; FRAGMENT]);
        pair.give(&full);
        assert_eq!(pair.server.plaintext.len(), FRAGMENT);
        let fuller = pair.client.data(&vec![5; FRAGMENT + 1]);
        pair.must_refuse(&fuller, alert::RECORD_OVERFLOW);
        assert_eq!(pair.server.plaintext.len(), FRAGMENT);
    }
}

#[test]
fn padding_counts_as_plaintext() {
    // RFC 8446 §5.4: "the full encoded TLSInnerPlaintext MUST NOT exceed 2^14 + 1 octets".
    let mut pair = Pair::connected(tls13(), &host());
    let keys = pair.client.channel.keys();
    let full = keys.seal_padded(typ::APPLICATION_DATA, b"abc", FRAGMENT - 3);
    pair.give(&full);
    assert_eq!(pair.server.plaintext, b"abc");
    let keys = pair.client.channel.keys();
    let fuller = keys.seal_padded(typ::APPLICATION_DATA, b"abc", FRAGMENT - 2);
    pair.must_refuse(&fuller, alert::RECORD_OVERFLOW);
}

#[test]
fn padding_is_removed() {
    for padding in [0, 1, 15, 16, 17, 255, 16_000] {
        let mut pair = Pair::halfway(tls13(), &host());
        let finished = pair.client.client_finished13();
        let keys = pair.client.channel.keys();
        let record = keys.seal_padded(typ::HANDSHAKE, &finished, padding);
        pair.give(&record);
        pair.client.traffic13();
        let keys = pair.client.channel.keys();
        // Zeros at the end of the content are not padding.
        let record = keys.seal_padded(typ::APPLICATION_DATA, b"abc\0\0", padding);
        pair.give(&record);
        assert_eq!(std::mem::take(&mut pair.server.plaintext), b"abc\0\0");
        let keys = pair.client.channel.keys();
        let update = message(handshake::KEY_UPDATE, &[0]);
        let record = keys.seal_padded(typ::HANDSHAKE, &update, padding);
        pair.give(&record);
        pair.client.renew_write_keys();
        pair.must_echo();
    }
}

#[test]
fn a_record_of_nothing_but_padding_is_refused() {
    // RFC 8446 §5.4
    for length in [0, 1, 2, 16, 1_000] {
        for mut pair in [
            Pair::connected(tls13(), &host()),
            Pair::halfway(tls13(), &host()),
        ] {
            let record = pair.client.channel.keys().seal_inner(&vec![0; length]);
            pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
        }
    }
}

#[test]
fn a_protected_record_that_does_not_decrypt_is_refused() {
    for client in CLIENTS {
        let length = {
            let mut pair = Pair::connected(client(), &host());
            pair.client.data(b"hello").len()
        };
        for byte in 5..length {
            let mut pair = Pair::connected(client(), &host());
            let mut record = pair.client.data(b"hello");
            record[byte] ^= 4;
            pair.must_refuse(&record, alert::BAD_RECORD_MAC);
            assert_eq!(pair.server.plaintext, b"");
        }
    }
    let mut pair = Pair::halfway(tls13(), &host());
    let mut flight = pair.client.answer();
    *flight.last_mut().unwrap() ^= 4;
    pair.must_refuse(&flight, alert::BAD_RECORD_MAC);
}

#[test]
fn a_protected_record_too_short_for_its_tag_is_refused() {
    for client in CLIENTS {
        for length in [0, 1, 7, 8, 15, 16, 23] {
            let mut pair = Pair::connected(client(), &host());
            let version = pair.client.agreed.version;
            let short = record(typ::APPLICATION_DATA, TLS12, &vec![7; length]);
            // A record shorter than a tag may also get decode_error.
            let mut alerts = vec![alert::BAD_RECORD_MAC];
            if length < 24 {
                alerts.push(alert::DECODE_ERROR);
            }
            if version == TLS13 && length < 17 {
                alerts.push(alert::UNEXPECTED_MESSAGE);
            }
            pair.must_refuse_with_one_of(&short, &alerts);
        }
    }
}

#[test]
fn a_record_that_is_repeated_or_left_out_or_swapped_is_refused() {
    for client in CLIENTS {
        let records = |pair: &mut Pair| [&b"one"[..], b"two"].map(|data| pair.client.data(data));
        let mut pair = Pair::connected(client(), &host());
        let [one, _] = records(&mut pair);
        pair.give(&one);
        pair.must_refuse(&one, alert::BAD_RECORD_MAC);
        assert_eq!(pair.server.plaintext, b"one");
        let mut pair = Pair::connected(client(), &host());
        let [_, two] = records(&mut pair);
        pair.must_refuse(&two, alert::BAD_RECORD_MAC);
    }
}

#[test]
fn a_record_of_another_type_than_it_was_sealed_with_is_refused() {
    let mut pair = Pair::connected(tls12(), &host());
    let mut record = pair.client.alert(1, 0);
    record[0] = typ::APPLICATION_DATA;
    pair.must_refuse(&record, alert::BAD_RECORD_MAC);
}

#[test]
fn empty_records_of_anything_but_data_are_refused() {
    // RFC 8446 §5.1, §5.4
    for empty in [typ::HANDSHAKE, typ::ALERT] {
        for client in CLIENTS {
            let mut pair = Pair::new(client(), &host());
            let record = pair.client.channel.plain(empty, b"");
            pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
            let mut pair = Pair::connected(client(), &host());
            let record = pair.client.channel.record(empty, b"");
            pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
        }
        let mut pair = Pair::halfway(tls13(), &host());
        let record = pair.client.channel.record(empty, b"");
        pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
        let mut pair = Pair::halfway(tls12(), &host());
        let record = pair.client.channel.record(empty, b"");
        pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
    }
}

#[test]
fn an_empty_record_inside_a_handshake_message_is_refused() {
    let mut pair = Pair::new(tls13(), &host());
    let hello = pair.client.client_hello();
    let records = [&hello[..50], &[], &hello[50..]];
    let records = records.map(|part| pair.client.channel.plain(typ::HANDSHAKE, part));
    pair.must_refuse(&records.concat(), alert::UNEXPECTED_MESSAGE);
}

#[test]
fn other_records_inside_a_handshake_message_are_refused() {
    // "there MUST NOT be any other records between" its records (RFC 8446 §5.1).
    for client in CLIENTS {
        for inside in [typ::CHANGE_CIPHER_SPEC, typ::APPLICATION_DATA] {
            let mut pair = Pair::new(client(), &host());
            let hello = pair.client.client_hello();
            let records = [
                record(typ::HANDSHAKE, 0x0301, &hello[..50]),
                record(inside, 0x0301, &[1]),
            ];
            pair.must_refuse(&records.concat(), alert::UNEXPECTED_MESSAGE);
        }
    }
    let mut pair = Pair::halfway(tls13(), &host());
    let finished = pair.client.client_finished13();
    pair.give_handshake(&finished[..9]);
    let ccs = record(typ::CHANGE_CIPHER_SPEC, TLS12, &[1]);
    pair.must_refuse(&ccs, alert::UNEXPECTED_MESSAGE);

    let mut pair = Pair::connected(tls13(), &host());
    let update = message(handshake::KEY_UPDATE, &[0]);
    pair.give_handshake(&update[..2]);
    let data = pair.client.data(b"inside");
    pair.must_refuse(&data, alert::UNEXPECTED_MESSAGE);
    assert_eq!(pair.server.plaintext, b"");
}

#[test]
fn a_warning_inside_a_handshake_message_is_refused() {
    for client in CLIENTS {
        let mut pair = Pair::connected(client(), &host());
        let start = match pair.client.agreed.version {
            TLS13 => message(handshake::KEY_UPDATE, &[0]),
            _ => pair.client.hello.message(&pair.client.transcript),
        };
        pair.give_handshake(&start[..2]);
        let warning = pair.client.alert(1, alert::USER_CANCELED);
        pair.must_refuse(&warning, alert::UNEXPECTED_MESSAGE);
    }
}

#[test]
fn records_of_no_known_type_are_refused() {
    for typ in [0, 19, typ::HEARTBEAT, 25, 128, 255] {
        for client in CLIENTS {
            let mut pair = Pair::connected(client(), &host());
            let record = pair.client.channel.record(typ, b"what?");
            pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
        }
        let mut pair = Pair::halfway(tls12(), &host());
        let record = pair.client.channel.plain(typ, b"what?");
        pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
    }
}

#[test]
fn a_message_over_64_kib_is_refused_by_its_header() {
    for client in CLIENTS {
        let header = [handshake::CLIENT_HELLO, 1, 0, 0];
        let mut pair = Pair::new(client(), &host());
        let record = pair.client.channel.plain(typ::HANDSHAKE, &header);
        pair.must_refuse(&record, alert::DECODE_ERROR);
    }
}
