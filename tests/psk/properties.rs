//! Arbitrary input: the session ends in an orderly way or with an alert, and never completes a handshake that
//! was not one.

use proptest::prelude::*;

use crate::server::Pair;
use crate::setup::{key, lax_host};
use tlssrv_testing::raw::bytes::record as raw;
use tlssrv_testing::raw::codes::{FATAL, TLS12, group, record, suite};
use tlssrv_testing::raw::{Client, profiles};

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_complete_a_handshake(records in any_records(), cut in 0..40usize) {
        let client = profiles::tls13(&[key()], &[group::X25519]);
        let pair = Pair::new(client, &lax_host());
        check(pair, &records, cut)?;
    }

    #[test]
    fn arbitrary_records_after_the_hello_never_complete_a_handshake(
        client in any_client(),
        records in any_records(),
        cut in 0..40usize,
    ) {
        check(Pair::greeted(client(), &lax_host()), &records, cut)?;
    }

    #[test]
    fn arbitrary_records_after_the_handshake_get_an_alert_or_none(
        client in any_client(),
        records in any_records(),
        cut in 0..40usize,
    ) {
        check(Pair::connected(client(), &lax_host()), &records, cut)?;
    }

    #[test]
    fn a_mutated_hello_never_completes_a_handshake(
        client in any_client(),
        start in 0..600usize,
        bytes in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let mut pair = Pair::new(client(), &lax_host());
        let mut hello = pair.client.start();
        let whole = hello.clone();
        let start = 5 + start % (hello.len() - 5);
        let end = (start + bytes.len()).min(hello.len());
        hello.splice(start..end, bytes);
        prop_assume!(hello != whole);
        let answer = pair.server.give(&hello);
        if pair.server.failure.is_none() && pair.client.take(&answer).is_ok() {
            let flight = pair.client.answer();
            pair.server.give(&flight);
        }
        // After a retry request another flight would be needed; otherwise the session is over.
        prop_assert!(!pair.server.is_complete());
    }
}

/// Sends these records, protected or not, without some bytes at the end.
fn check(
    mut pair: Pair,
    records: &[(Protection, u8, Vec<u8>)],
    cut: usize,
) -> Result<(), TestCaseError> {
    let was_complete = pair.server.is_complete();
    let mut flight = Vec::new();
    for (protection, typ, content) in records {
        flight.extend(match protection {
            Protection::Current => pair.client.channel.record(*typ, content),
            Protection::None => raw(*typ, TLS12, content),
        });
    }
    flight.truncate(flight.len().saturating_sub(cut));
    let answer = pair.server.give(&flight);
    prop_assert!(was_complete || pair.server.stage != tlssrv::tls::session::Stage::Traffic);
    let taken = pair.client.take(&answer);
    prop_assert_eq!(taken, Ok(()));
    if let Some(alert) = pair.server.alert() {
        prop_assert_eq!(pair.client.alerts.last(), Some(&(FATAL, alert)));
    } else {
        let fatal = pair.client.alerts.iter().any(|(level, _)| *level == FATAL);
        prop_assert!(!fatal, "an alert that the server does not know of");
    }
    Ok(())
}

/// The protection of a record.
#[derive(Clone, Copy, Debug)]
enum Protection {
    /// The current keys of the client.
    Current,
    None,
}

/// Clients of every kind.
fn any_client() -> impl Strategy<Value = fn() -> Client> {
    let clients: Vec<fn() -> Client> = vec![
        || profiles::tls13(&[key()], &[group::X25519]),
        || profiles::mbedtls_psk_ke(&key()),
        || profiles::openssl(&key()),
        || profiles::tls12(&key(), &[suite::ECDHE_PSK_CHACHA20]),
        || profiles::tls12(&key(), &[suite::PSK_AES_128_GCM]),
    ];
    prop::sample::select(clients)
}

/// Types and contents that a server may accept or not.
fn any_records() -> impl Strategy<Value = Vec<(Protection, u8, Vec<u8>)>> {
    let messages = vec![
        vec![0; 4],
        vec![24, 0, 0, 1, 0],
        vec![24, 0, 0, 1, 1],
        vec![24, 0],
        vec![16, 0, 0, 1],
        vec![16, 0, 0, 8, 0, 6, b'c', b'l', b'i', b'e', b'n', b't'],
        vec![20, 0, 0, 32],
    ];
    let typ = prop_oneof![
        4 => Just(record::HANDSHAKE),
        2 => Just(record::ALERT),
        2 => Just(record::APPLICATION_DATA),
        1 => Just(record::CHANGE_CIPHER_SPEC),
        1 => any::<u8>(),
    ];
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        prop::collection::vec(0..3u8, 0..12),
        prop::collection::vec(prop::sample::select(messages), 0..300)
            .prop_map(|messages| messages.concat()),
    ];
    let protection = prop_oneof![3 => Just(Protection::Current), 1 => Just(Protection::None)];
    prop::collection::vec((protection, typ, content), 1..8)
}
