//! Messages that a client may send now and then, but not without end.

use crate::server::Pair;
use crate::setup::{host, key};
use tlssrv_testing::raw::codes::{WARNING, alert, extension, group, handshake, record, suite};
use tlssrv_testing::raw::{Client, profiles};

/// Maximum number of records without data in a row.
const LIMIT: usize = 32;

fn tls13() -> Client {
    profiles::tls13(&[key()], &[group::X25519])
}

fn tls12() -> Client {
    profiles::tls12(&key(), &[suite::ECDHE_PSK_AES_256_GCM])
}

type NewClient = fn() -> Client;

/// A record that carries no data.
type Idle = fn(&mut Client) -> Vec<u8>;

const EMPTY: Idle = |client| client.data(b"");
const KEY_UPDATE: Idle = |client| client.key_update(0);
const KEY_UPDATE_REQUEST: Idle = |client| client.key_update(1);
/// The one warning that TLS 1.3 has (RFC 8446 §6.1).
const CANCELED: Idle = |client| client.alert(WARNING, alert::USER_CANCELED);
const NO_RENEGOTIATION: Idle = |client| client.alert(WARNING, alert::NO_RENEGOTIATION);
/// A ClientHello, which gets a warning.
const RENEGOTIATION: Idle = |client| {
    let hello = client.hello.message(&client.transcript);
    client.channel.record(record::HANDSHAKE, &hello)
};

/// `Idle` records of each version.
const IDLE: [(NewClient, &[Idle]); 2] = [
    (tls13, &[EMPTY, KEY_UPDATE, KEY_UPDATE_REQUEST, CANCELED]),
    (tls12, &[EMPTY, CANCELED, NO_RENEGOTIATION]),
];

#[test]
fn the_33rd_message_without_data_in_a_row_is_refused() {
    for (client, idle) in IDLE {
        for idle in idle {
            let mut pair = Pair::connected(client(), &host());
            for _ in 0..LIMIT {
                let record = idle(&mut pair.client);
                pair.give(&record);
            }
            let record = idle(&mut pair.client);
            pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
        }
    }
}

#[test]
fn the_33rd_message_without_data_is_refused_when_all_arrive_at_once() {
    for (client, idle) in IDLE {
        for idle in idle {
            let mut pair = Pair::connected(client(), &host());
            let records: Vec<_> = (0..=LIMIT).map(|_| idle(&mut pair.client)).collect();
            pair.must_refuse(&records.concat(), alert::UNEXPECTED_MESSAGE);
        }
    }
}

#[test]
fn data_resets_the_count_of_messages_without_data() {
    for (client, idle) in IDLE {
        for idle in idle {
            let mut pair = Pair::connected(client(), &host());
            for _ in 0..3 {
                for _ in 0..LIMIT {
                    let record = idle(&mut pair.client);
                    pair.give(&record);
                }
                pair.must_echo();
            }
        }
    }
}

#[test]
fn all_kinds_of_messages_without_data_count_together() {
    for (client, idle) in IDLE {
        let mut pair = Pair::connected(client(), &host());
        let mut kinds = idle.iter().cycle();
        let mut records = 0;
        while pair.server.failure.is_none() {
            let record = kinds.next().unwrap()(&mut pair.client);
            let answer = pair.server.give(&record);
            pair.client.take(&answer).unwrap();
            records += 1;
            assert!(records <= idle.len() * (LIMIT + 1), "for ever");
        }
        assert_eq!(pair.server.alert(), Some(alert::UNEXPECTED_MESSAGE));
    }
}

#[test]
fn too_many_warnings_in_the_handshake_are_refused() {
    for client in [tls13(), tls12()] {
        let mut pair = Pair::halfway(client, &host());
        let mut records = 0;
        while pair.server.failure.is_none() {
            let record = CANCELED(&mut pair.client);
            pair.server.give(&record);
            records += 1;
            assert!(records <= LIMIT + 1, "for ever");
        }
        assert!(!pair.server.is_complete());
    }
}

#[test]
fn too_many_change_cipher_specs_in_the_handshake_are_refused() {
    let mut pair = Pair::halfway(tls13(), &host());
    let mut records = 0;
    while pair.server.failure.is_none() {
        let record = pair.client.channel.plain(record::CHANGE_CIPHER_SPEC, &[1]);
        pair.server.give(&record);
        records += 1;
        assert!(records <= LIMIT + 1, "for ever");
    }
    assert_eq!(pair.server.alert(), Some(alert::UNEXPECTED_MESSAGE));
}

#[test]
fn too_many_renegotiations_are_refused() {
    let mut pair = Pair::connected(tls12(), &host());
    let mut hellos = 0;
    while pair.server.failure.is_none() {
        let record = RENEGOTIATION(&mut pair.client);
        let answer = pair.server.give(&record);
        pair.client.take(&answer).unwrap();
        hellos += 1;
        assert!(hellos <= LIMIT + 1, "for ever");
    }
    assert_eq!(pair.server.alert(), Some(alert::UNEXPECTED_MESSAGE));
    let warning = (WARNING, alert::NO_RENEGOTIATION);
    assert!(pair.client.alerts.starts_with(&[warning, warning]));
}

#[test]
fn renegotiation_is_declined_and_the_session_goes_on() {
    // RFC 5746 §4.4; also with a hello that is right for a renegotiation (RFC 5746 §3.5).
    for verify_data in [&[][..], &[12; 13]] {
        let mut pair = Pair::connected(tls12(), &host());
        let info = match verify_data {
            [] => &[0][..],
            data => data,
        };
        pair.client.hello = pair
            .client
            .hello
            .clone()
            .with(extension::RENEGOTIATION_INFO, info);
        let record = RENEGOTIATION(&mut pair.client);
        pair.give(&record);
        let alerts = std::mem::take(&mut pair.client.alerts);
        assert_eq!(alerts, [(WARNING, alert::NO_RENEGOTIATION)]);
        pair.must_echo();
    }
}

#[test]
fn a_renegotiation_in_pieces_is_declined_once() {
    let mut pair = Pair::connected(tls12(), &host());
    let hello = pair.client.hello.message(&pair.client.transcript);
    assert_eq!(hello[0], handshake::CLIENT_HELLO);
    for part in hello.chunks(20) {
        pair.give_handshake(part);
    }
    let alerts = std::mem::take(&mut pair.client.alerts);
    assert_eq!(alerts, [(WARNING, alert::NO_RENEGOTIATION)]);
    pair.must_echo();
}
