//! The ends of sessions, orderly and not.

use tlssrv::tls::session::Stage;

use crate::server::Pair;
use crate::setup::{host, key};
use tlssrv_testing::raw::bytes::record as raw;
use tlssrv_testing::raw::codes::{FATAL, TLS12, WARNING, alert, group, record, suite};
use tlssrv_testing::raw::{Client, Step, profiles};

fn tls13() -> Client {
    profiles::tls13(&[key()], &[group::X25519])
}

fn tls12() -> Client {
    profiles::tls12(&key(), &[suite::ECDHE_PSK_AES_256_GCM])
}

const CLIENTS: [fn() -> Client; 2] = [tls13, tls12];

#[test]
fn each_side_closes_its_own_direction() {
    for client in CLIENTS {
        let mut pair = Pair::connected(client(), &host());
        let close = pair.client.alert(WARNING, alert::CLOSE_NOTIFY);
        pair.give(&close);
        assert_eq!(pair.server.stage, Stage::PeerClosed);
        let records = pair.server.send(b"the rest");
        pair.client.take(&records).unwrap();
        assert_eq!(pair.client.plaintext, b"the rest");
        let close = pair.server.close();
        pair.client.take(&close).unwrap();
        assert_eq!(pair.client.alerts, [(WARNING, alert::CLOSE_NOTIFY)]);
        assert_eq!(pair.client.step, Step::Closed);
    }
}

#[test]
fn the_client_may_send_on_after_the_server_has_closed() {
    for client in CLIENTS {
        let mut pair = Pair::connected(client(), &host());
        let close = pair.server.close();
        pair.client.take(&close).unwrap();
        assert_eq!(pair.client.step, Step::Closed);
        let data = pair.client.data(b"the rest");
        pair.give(&data);
        assert_eq!(pair.server.plaintext, b"the rest");
        let close = pair.client.alert(WARNING, alert::CLOSE_NOTIFY);
        pair.give(&close);
        assert_eq!(pair.server.stage, Stage::PeerClosed);
    }
}

#[test]
fn no_alert_follows_the_servers_close_notify() {
    for client in CLIENTS {
        let mut pair = Pair::connected(client(), &host());
        let close = pair.server.close();
        pair.client.take(&close).unwrap();
        let mut broken = pair.client.data(b"broken");
        *broken.last_mut().unwrap() ^= 1;
        pair.must_end_silently(&broken);
    }
}

#[test]
fn what_follows_the_clients_close_notify_is_ignored() {
    // RFC 8446 §6.1
    for client in CLIENTS {
        let mut pair = Pair::connected(client(), &host());
        let mut flight = pair.client.data(b"before");
        flight.extend(pair.client.alert(WARNING, alert::CLOSE_NOTIFY));
        flight.extend(pair.client.data(b"after"));
        flight.extend(pair.client.alert(FATAL, alert::ACCESS_DENIED));
        flight.extend([0xff; 100]);
        pair.give(&flight);
        must_only_send(&mut pair);
    }
}

#[test]
fn what_follows_the_clients_close_notify_later_is_ignored() {
    for client in CLIENTS {
        let late: [fn(&mut Client) -> Vec<u8>; 5] = [
            |client| client.data(b"after"),
            |client| client.alert(FATAL, alert::ACCESS_DENIED),
            |client| client.channel.record(record::HANDSHAKE, &[24, 0, 0, 1, 1]),
            |_| vec![0xff; 100],
            |_| b"GET / HTTP/1.0\r\n".to_vec(),
        ];
        for late in late {
            let mut pair = Pair::connected(client(), &host());
            let mut flight = pair.client.data(b"before");
            flight.extend(pair.client.alert(WARNING, alert::CLOSE_NOTIFY));
            pair.give(&flight);
            let late = late(&mut pair.client);
            pair.give(&late);
            must_only_send(&mut pair);
        }
    }
}

/// Fails unless the server has read "before" and the close, nothing after that, and can still send.
fn must_only_send(pair: &mut Pair) {
    assert_eq!(pair.server.stage, Stage::PeerClosed);
    assert_eq!(pair.server.plaintext, b"before");
    let records = pair.server.send(b"the rest");
    pair.client.take(&records).unwrap();
    assert_eq!(pair.client.plaintext, b"the rest");
}

#[test]
fn an_alert_ends_the_session_and_is_not_answered() {
    for client in CLIENTS {
        for description in [alert::ACCESS_DENIED, alert::BAD_RECORD_MAC, 80, 255] {
            let mut pair = Pair::connected(client(), &host());
            let alert = pair.client.alert(FATAL, description);
            pair.must_end_silently(&alert);
            let mut pair = Pair::halfway(client(), &host());
            let alert = pair.client.alert(FATAL, description);
            pair.must_end_silently(&alert);
            let mut pair = Pair::new(client(), &host());
            let alert = pair.client.alert(FATAL, description);
            pair.must_end_silently(&alert);
        }
    }
}

#[test]
fn a_client_without_keys_may_send_an_alert() {
    // It did not understand the ServerHello, for example; its alert is in plaintext.
    let mut pair = Pair::halfway(tls13(), &host());
    let alert = raw(record::ALERT, TLS12, &[FATAL, alert::ILLEGAL_PARAMETER]);
    pair.server.give(&alert);
    assert!(pair.server.failure.is_some());
    let sent = pair.server.alert();
    assert!([None, Some(alert::UNEXPECTED_MESSAGE)].contains(&sent));
}

#[test]
fn the_level_of_an_alert_is_ignored_in_tls13() {
    // "all the alerts listed in Section 6.2 … MUST be treated as error alerts … regardless of the
    // AlertLevel in the message" (RFC 8446 §6).
    let mut pair = Pair::connected(tls13(), &host());
    let alert = pair.client.alert(WARNING, alert::ACCESS_DENIED);
    pair.must_end_silently(&alert);
    let mut pair = Pair::connected(tls13(), &host());
    let close = pair.client.alert(FATAL, alert::CLOSE_NOTIFY);
    pair.give(&close);
    assert_eq!(pair.server.stage, Stage::PeerClosed);
}

#[test]
fn a_warning_does_not_end_a_tls12_session() {
    for description in [alert::USER_CANCELED, alert::NO_RENEGOTIATION, 112] {
        let mut pair = Pair::connected(tls12(), &host());
        let alert = pair.client.alert(WARNING, description);
        pair.give(&alert);
        pair.must_echo();
    }
}

#[test]
fn user_canceled_is_followed_by_close_notify() {
    for client in CLIENTS {
        let mut pair = Pair::connected(client(), &host());
        let canceled = pair.client.alert(WARNING, alert::USER_CANCELED);
        pair.give(&canceled);
        let close = pair.client.alert(WARNING, alert::CLOSE_NOTIFY);
        pair.give(&close);
        assert_eq!(pair.server.stage, Stage::PeerClosed);
    }
}

#[test]
fn a_close_notify_in_the_handshake_ends_it() {
    for client in CLIENTS {
        for mut pair in [
            Pair::new(client(), &host()),
            Pair::halfway(client(), &host()),
        ] {
            let close = pair.client.alert(WARNING, alert::CLOSE_NOTIFY);
            pair.server.give(&close);
            assert_eq!(pair.server.alert(), None);
            assert_ne!(pair.server.stage, Stage::Traffic);
            let flight = pair.client.answer();
            pair.server.give(&flight);
            assert_ne!(pair.server.stage, Stage::Traffic);
        }
    }
}

#[test]
fn alerts_of_wrong_length_are_refused() {
    // "Alert messages MUST NOT be fragmented … and multiple alert messages MUST NOT be coalesced"
    // (RFC 8446 §5.1).
    for client in CLIENTS {
        for content in [&[1][..], &[2], &[1, 0, 1], &[1, 0, 1, 0], &[1, 90, 1, 0]] {
            let mut pair = Pair::connected(client(), &host());
            let record = pair.client.channel.record(record::ALERT, content);
            pair.must_refuse_with_one_of(
                &record,
                &[alert::DECODE_ERROR, alert::UNEXPECTED_MESSAGE],
            );
        }
    }
}

#[test]
fn an_ended_session_sends_nothing_more() {
    for client in CLIENTS {
        let mut pair = Pair::connected(client(), &host());
        let mut broken = pair.client.data(b"broken");
        *broken.last_mut().unwrap() ^= 1;
        pair.must_refuse(&broken, alert::BAD_RECORD_MAC);
        assert_eq!(pair.client.alerts, [(FATAL, alert::BAD_RECORD_MAC)]);
    }
}
