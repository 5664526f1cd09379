//! Every connection that fails ends with the right alert, which the client can read.

use std::io::Write;

use proptest::prelude::*;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, Error, InvalidMessage, PeerMisbehaved, SupportedProtocolVersion};

use tlssrv_testing::raw::codes::record::{ALERT, APPLICATION_DATA, HANDSHAKE};
use tlssrv_testing::raw::{bytes, codes};

use crate::session::{Peers, all_suites, suites};

#[test]
fn too_many_key_updates_get_unexpected_message_under_the_new_keys() {
    for suite in suites(&TLS13) {
        let mut peers = Peers::connected(suite);
        for _ in 0..32 {
            peers.client.refresh_traffic_keys().unwrap();
        }
        peers.deliver();
        assert_eq!(peers.error, None);
        peers.client.refresh_traffic_keys().unwrap();
        peers.client.writer().write_all(b"never read").unwrap();
        peers.ends(PeerMisbehaved::TooManyKeyUpdateRequests, UNEXPECTED_MESSAGE);
        // The answer to the first KeyUpdate, then the alert.
        assert_eq!(
            peers.records_to_client,
            [RECORD_OF_A_KEY_UPDATE, RECORD_OF_AN_ALERT]
        );
        assert!(peers.plaintext.is_empty());
    }
}

#[test]
fn too_many_empty_records_get_unexpected_message() {
    for suite in all_suites() {
        let mut peers = Peers::connected(suite);
        peers.send((0..33).map(|_| (APPLICATION_DATA, Vec::new())));
        peers.ends(PeerMisbehaved::TooManyEmptyFragments, UNEXPECTED_MESSAGE);
    }
}

#[test]
fn too_many_warnings_get_unexpected_message() {
    for suite in suites(&TLS12) {
        let mut peers = Peers::connected(suite);
        peers.send((0..5).map(|_| (ALERT, vec![1, 90])));
        peers.ends(
            PeerMisbehaved::TooManyWarningAlertsReceived,
            UNEXPECTED_MESSAGE,
        );
    }
}

#[test]
fn a_second_renegotiation_gets_unexpected_message() {
    for suite in suites(&TLS12) {
        let mut peers = Peers::connected(suite);
        let hello = client_hello(&TLS12)[5..].to_vec();
        // Three in one record: the third is still complete in rustls when it has given up.
        peers.send([(HANDSHAKE, hello.repeat(3))]);
        peers.ends(
            PeerMisbehaved::TooManyRenegotiationRequests,
            UNEXPECTED_MESSAGE,
        );
    }
}

#[test]
fn a_handshake_message_over_64_kib_is_refused_by_its_header() {
    for suite in all_suites() {
        let mut peers = Peers::connected(suite);
        peers.send([
            (HANDSHAKE, vec![24, 1]),
            (HANDSHAKE, vec![0, 0, 9, 9]),
            (HANDSHAKE, vec![9]),
        ]);
        peers.ends(
            InvalidMessage::HandshakePayloadTooLarge,
            AlertDescription::DecodeError,
        );
    }
}

#[test]
fn other_records_inside_a_handshake_message_get_unexpected_message() {
    for suite in all_suites() {
        for inside in [(APPLICATION_DATA, vec![1]), (ALERT, vec![1, 90])] {
            let mut peers = Peers::connected(suite);
            peers.send([(HANDSHAKE, vec![24, 0]), inside, (HANDSHAKE, vec![0, 1, 0])]);
            peers.ends(
                PeerMisbehaved::MessageInterleavedWithHandshakeMessage,
                UNEXPECTED_MESSAGE,
            );
        }
    }
}

#[test]
fn a_record_of_nothing_but_padding_gets_unexpected_message() {
    for suite in suites(&TLS13) {
        let mut peers = Peers::connected(suite);
        peers.send([(0, vec![0; 20])]);
        peers.ends(PeerMisbehaved::IllegalTlsInnerPlaintext, UNEXPECTED_MESSAGE);
    }
}

#[test]
fn an_alert_of_rustls_is_not_replaced_and_is_reported() {
    for suite in all_suites() {
        let mut peers = Peers::connected(suite);
        peers.send([(HANDSHAKE, vec![20, 0, 0, 1, 0])]);
        let error = peers.fails();
        let unexpected = matches!(
            error,
            Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. }
        );
        assert!(unexpected, "{error:?}");
        assert_eq!(peers.sent, Some(UNEXPECTED_MESSAGE));

        let mut peers = Peers::connected(suite);
        peers.deliver_to_server(
            vec![23, 3, 3, 0, 30, 1, 2, 3]
                .into_iter()
                .chain([0; 27])
                .collect(),
        );
        peers.ends(Error::DecryptError, AlertDescription::BadRecordMac);
    }
}

#[test]
fn an_alert_is_not_answered() {
    for suite in all_suites() {
        let mut peers = Peers::connected(suite);
        peers.send([(ALERT, vec![2, 49])]);
        peers.deliver();
        assert_eq!(
            peers.error,
            Some(Error::AlertReceived(AlertDescription::AccessDenied))
        );
        assert_eq!(peers.sent, None);
        assert_eq!(peers.records_to_client, []);
    }
}

#[test]
fn a_third_change_cipher_spec_in_the_handshake_gets_unexpected_message() {
    for suite in suites(&TLS13) {
        let mut peers = Peers::new(suite);
        let mut flight = peers.flight();
        flight.extend_from_slice(&CHANGE_CIPHER_SPEC.repeat(3));
        peers.deliver_to_server(flight);
        peers.ends(
            PeerMisbehaved::IllegalMiddleboxChangeCipherSpec,
            UNEXPECTED_MESSAGE,
        );
    }
}

#[test]
fn a_change_cipher_spec_before_the_hello_gets_unexpected_message() {
    for version in rustls::ALL_VERSIONS {
        let mut peers = Peers::new(suites(version)[0]);
        let flight = [&CHANGE_CIPHER_SPEC[..], &peers.flight()].concat();
        peers.deliver_to_server(flight);
        let error = peers.fails();
        assert!(
            matches!(error, Error::InappropriateMessage { .. }),
            "{error:?}"
        );
        assert_eq!(peers.sent, Some(UNEXPECTED_MESSAGE));
    }
}

#[test]
fn a_change_cipher_spec_inside_the_hello_gets_unexpected_message() {
    for version in rustls::ALL_VERSIONS {
        let mut peers = Peers::new(suites(version)[0]);
        let hello = peers.flight();
        let (one, two) = hello[5..].split_at(50);
        let flight = [
            &record(HANDSHAKE, one)[..],
            &CHANGE_CIPHER_SPEC,
            &record(HANDSHAKE, two),
        ]
        .concat();
        peers.deliver_to_server(flight);
        peers.ends(
            PeerMisbehaved::MessageInterleavedWithHandshakeMessage,
            UNEXPECTED_MESSAGE,
        );
    }
}

#[test]
fn a_change_cipher_spec_inside_the_key_exchange_gets_unexpected_message() {
    let mut peers = Peers::new(suites(&TLS12)[0]);
    let hello = peers.flight();
    peers.deliver_to_server(hello);
    peers.deliver_to_client();
    let flight = [&record(HANDSHAKE, &[16, 0])[..], &CHANGE_CIPHER_SPEC].concat();
    peers.deliver_to_server(flight);
    peers.ends(
        PeerMisbehaved::MessageInterleavedWithHandshakeMessage,
        UNEXPECTED_MESSAGE,
    );
}

#[test]
fn a_hello_over_64_kib_is_refused_by_its_header() {
    let mut peers = Peers::new(suites(&TLS13)[0]);
    peers.deliver_to_server(record(HANDSHAKE, &[1, 1, 0, 0, 3, 3]));
    peers.ends(
        InvalidMessage::HandshakePayloadTooLarge,
        AlertDescription::DecodeError,
    );
}

#[test]
fn a_fatal_alert_can_be_sent_at_any_time() {
    for suite in all_suites() {
        let internal_error = |mut peers: Peers| {
            peers.send_fatal(AlertDescription::InternalError);
            peers.client_reads(AlertDescription::InternalError);
            assert_eq!(
                peers.records_to_client.last().unwrap().0,
                peers.type_of_alerts()
            );
        };

        internal_error(Peers::connected(suite));

        let mut has_keys = Peers::new(suite);
        let hello = has_keys.flight();
        has_keys.deliver_to_server(hello);
        internal_error(has_keys);

        let mut in_a_message = Peers::connected(suite);
        in_a_message.send([(HANDSHAKE, vec![24, 0]), (HANDSHAKE, vec![0, 9])]);
        in_a_message.deliver();
        internal_error(in_a_message);

        let mut peer_closed = Peers::connected(suite);
        peer_closed.client.send_close_notify();
        peer_closed.deliver();
        internal_error(peer_closed);

        let mut fresh = Peers::new(suite);
        fresh.flight();
        fresh.send_fatal(AlertDescription::InternalError);
        assert_eq!(fresh.to_client, [21, 3, 3, 0, 2, 2, 80]);
        fresh.client_reads(AlertDescription::InternalError);

        let mut half_a_record = Peers::connected(suite);
        half_a_record.deliver_to_server(vec![23, 3, 3, 0, 30, 1]);
        internal_error(half_a_record);
    }
}

#[test]
fn the_alert_of_another_connection_is_not_taken_for_this_one() {
    let mut other = Peers::connected(suites(&TLS13)[0]);
    other.send_fatal(AlertDescription::InternalError);
    let mut peers = Peers::new(suites(&TLS12)[0]);
    peers.deliver_to_server(vec![99; 5]);
    assert_eq!(peers.sent, Some(AlertDescription::DecodeError));
    assert_eq!(peers.to_client, [21, 3, 3, 0, 2, 2, 50]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_records_after_the_handshake_get_a_readable_alert(
        suite in prop::sample::select(all_suites()),
        records in any_records(),
        cut in 0..40usize,
    ) {
        let mut peers = Peers::connected(suite);
        peers.send(records);
        let mut flight = peers.flight();
        flight.truncate(flight.len().saturating_sub(cut));
        check_end(peers, flight)?;
    }

    #[test]
    fn arbitrary_records_in_the_handshake_get_a_readable_alert(
        suite in prop::sample::select(all_suites()),
        records in any_records(),
        cut in 0..40usize,
    ) {
        let mut peers = Peers::new(suite);
        let hello = peers.flight();
        peers.deliver_to_server(hello);
        let mut flight: Vec<u8> =
            records.into_iter().flat_map(|(typ, fragment)| record(typ, &fragment)).collect();
        flight.truncate(flight.len().saturating_sub(cut));
        check_end(peers, flight)?;
    }
}

/// Types and contents that rustls may accept or not.
fn any_records() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let messages = vec![
        vec![0; 4],
        vec![24, 0, 0, 1, 0],
        vec![24, 0],
        vec![16, 0, 0, 1],
    ];
    let typ = prop_oneof![
        4 => Just(HANDSHAKE),
        2 => Just(ALERT),
        2 => Just(APPLICATION_DATA),
        1 => any::<u8>(),
    ];
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        prop::collection::vec(0..3u8, 0..12),
        prop::collection::vec(prop::sample::select(messages), 0..300)
            .prop_map(|messages| messages.concat()),
    ];
    prop::collection::vec((typ, content), 1..8)
}

/// Fails unless the server has sent an alert, or can send one now, and the client can read it.
fn check_end(mut peers: Peers, flight: Vec<u8>) -> Result<(), TestCaseError> {
    peers.deliver_to_server(flight);
    let expected = match (&peers.error, peers.sent) {
        (None, _) => {
            peers.send_fatal(AlertDescription::InternalError);
            Some(AlertDescription::InternalError)
        }
        (Some(Error::AlertReceived(_)), sent) => sent,
        (Some(error), None) => return Err(TestCaseError::fail(error.to_string())),
        (Some(_), sent) => sent,
    };
    prop_assert_eq!(
        peers.deliver_to_client(),
        expected.map(Error::AlertReceived)
    );
    Ok(())
}

const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];
const UNEXPECTED_MESSAGE: AlertDescription = AlertDescription::UnexpectedMessage;

// Type and length of records of TLS 1.3.
const RECORD_OF_A_KEY_UPDATE: (u8, usize) = (APPLICATION_DATA, 5 + 1 + 16);
const RECORD_OF_AN_ALERT: (u8, usize) = (APPLICATION_DATA, 2 + 1 + 16);

fn client_hello(version: &'static SupportedProtocolVersion) -> Vec<u8> {
    Peers::new(suites(version)[0]).flight()
}

fn record(typ: u8, fragment: &[u8]) -> Vec<u8> {
    bytes::record(typ, codes::TLS12, fragment)
}
