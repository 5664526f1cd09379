//! Every message in every state: a message out of turn ends the session with the right alert.

use crate::server::Pair;
use crate::setup::{host, key, lax_host};
use tlssrv_testing::raw::bytes::{message, record};
use tlssrv_testing::raw::codes::{
    FATAL, TLS12, WARNING, alert, group, handshake, record as typ, suite,
};
use tlssrv_testing::raw::profiles;

/// What the server waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The ClientHello, of either version.
    Hello,
    /// The second ClientHello.
    SecondHello,
    /// Finished of TLS 1.3.
    Finished13,
    /// Application data, or messages after the handshake.
    Traffic13,
    /// ClientKeyExchange of `ECDHE_PSK`.
    Exchange,
    /// ClientKeyExchange of `PSK`.
    PlainExchange,
    ChangeCipherSpec,
    /// Finished of TLS 1.2.
    Finished12,
    /// Application data, or messages after the handshake.
    Traffic12,
}

use State::{
    ChangeCipherSpec, Exchange, Finished12, Finished13, Hello, PlainExchange, SecondHello,
    Traffic12, Traffic13,
};

const STATES: [State; 9] = [
    Hello,
    SecondHello,
    Finished13,
    Traffic13,
    Exchange,
    PlainExchange,
    ChangeCipherSpec,
    Finished12,
    Traffic12,
];

impl State {
    /// A session in this state.
    fn reach(self) -> Pair {
        let tls13 = || profiles::tls13(&[key()], &[group::X25519]);
        let tls12 = || profiles::tls12(&key(), &[suite::ECDHE_PSK_CHACHA20]);
        match self {
            Hello => Pair::new(tls13(), &host()),
            SecondHello => {
                let mut client = tls13();
                client.hello = client.hello.shares(&[]);
                client.shares.clear();
                Pair::greeted(client, &host())
            }
            Finished13 => Pair::halfway(tls13(), &host()),
            Traffic13 => Pair::connected(tls13(), &host()),
            Exchange => Pair::halfway(tls12(), &host()),
            PlainExchange => {
                let client = profiles::tls12(&key(), &[suite::PSK_CHACHA20]);
                Pair::halfway(client, &lax_host())
            }
            ChangeCipherSpec => {
                let mut pair = Exchange.reach();
                let exchange = pair.client.client_key_exchange();
                pair.give_handshake(&exchange);
                pair
            }
            Finished12 => {
                let mut pair = ChangeCipherSpec.reach();
                let ccs = pair.client.change_cipher_spec12();
                pair.give(&ccs);
                pair
            }
            Traffic12 => Pair::connected(tls12(), &host()),
        }
    }

    /// The type of the expected handshake message.
    fn awaited(self) -> Option<u8> {
        match self {
            Hello | SecondHello => Some(handshake::CLIENT_HELLO),
            Finished13 | Finished12 => Some(handshake::FINISHED),
            Traffic13 => Some(handshake::KEY_UPDATE),
            Exchange | PlainExchange => Some(handshake::CLIENT_KEY_EXCHANGE),
            ChangeCipherSpec => None,
            // It is declined, not refused.
            Traffic12 => Some(handshake::CLIENT_HELLO),
        }
    }

    /// Whether the client's records are protected.
    fn is_protected(self) -> bool {
        matches!(self, Finished13 | Traffic13 | Finished12 | Traffic12)
    }

    fn is_traffic(self) -> bool {
        matches!(self, Traffic13 | Traffic12)
    }

    /// The alert for a record that should be protected and is not.
    fn unprotected(self) -> &'static [u8] {
        match self {
            // RFC 8446 §5: "If an implementation … receives an unexpected record type, it MUST
            // terminate the connection with an "unexpected_message" alert."
            Finished13 | Traffic13 => &[alert::UNEXPECTED_MESSAGE],
            // The type is not protected in TLS 1.2, so the server may check it first. A record too
            // short to be decrypted counts as one under a wrong key.
            Finished12 => &[
                alert::DECRYPT_ERROR,
                alert::UNEXPECTED_MESSAGE,
                alert::DECODE_ERROR,
            ],
            Traffic12 => &[
                alert::BAD_RECORD_MAC,
                alert::UNEXPECTED_MESSAGE,
                alert::DECODE_ERROR,
            ],
            _ => &[alert::UNEXPECTED_MESSAGE],
        }
    }
}

/// Bodies for messages of any type.
fn bodies() -> [Vec<u8>; 4] {
    [vec![], vec![0], vec![0; 12], vec![7; 300]]
}

#[test]
fn every_handshake_message_out_of_turn_is_refused() {
    for state in STATES {
        for typ in 0..=255 {
            if state.awaited() == Some(typ) {
                continue;
            }
            for body in bodies() {
                let mut pair = state.reach();
                let message = message(typ, &body);
                let record = pair.client.channel.record(typ::HANDSHAKE, &message);
                pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
                assert_eq!(pair.server.is_complete(), state.is_traffic());
            }
        }
    }
}

#[test]
fn every_handshake_message_out_of_turn_is_refused_by_its_header() {
    // The server need not keep the message to refuse it. A byte is less than a header.
    for state in STATES {
        for typ in [
            handshake::SERVER_HELLO,
            handshake::CERTIFICATE,
            handshake::CERTIFICATE_VERIFY,
            handshake::MESSAGE_HASH,
        ] {
            let mut pair = state.reach();
            let header = [typ, 0, 0x40, 0];
            let record = pair.client.channel.record(typ::HANDSHAKE, &header);
            pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
        }
    }
}

#[test]
fn real_messages_at_the_wrong_time_are_refused() {
    let tls13 = Finished13.reach().client.client_finished13();
    let tls12 = ChangeCipherSpec.reach().client.client_finished12();
    let hello = Hello.reach().client.client_hello();
    let exchange = Exchange.reach().client.client_key_exchange();
    for message in [tls13, tls12, hello, exchange] {
        for state in STATES {
            if state.awaited() == Some(message[0]) {
                continue;
            }
            let mut pair = state.reach();
            let record = pair.client.channel.record(typ::HANDSHAKE, &message);
            pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
        }
    }
}

#[test]
fn messages_of_servers_and_of_extensions_not_agreed_are_refused() {
    for typ in [
        handshake::HELLO_REQUEST,
        handshake::NEW_SESSION_TICKET,
        handshake::END_OF_EARLY_DATA,
        handshake::ENCRYPTED_EXTENSIONS,
        handshake::SERVER_KEY_EXCHANGE,
        handshake::CERTIFICATE_REQUEST,
        handshake::SERVER_HELLO_DONE,
        handshake::CERTIFICATE_STATUS,
        handshake::COMPRESSED_CERTIFICATE,
    ] {
        for state in STATES {
            let mut pair = state.reach();
            // Its bytes arrive one by one, each in a record of its own.
            let message = message(typ, &[]);
            let records = message.iter().map(|byte| {
                let channel = &mut pair.client.channel;
                channel.record(typ::HANDSHAKE, &[*byte])
            });
            let records = records.collect::<Vec<_>>().concat();
            pair.must_refuse(&records, alert::UNEXPECTED_MESSAGE);
        }
    }
}

#[test]
fn handshake_messages_without_protection_are_refused() {
    for state in STATES.into_iter().filter(|state| state.is_protected()) {
        for typ in 0..=255 {
            for body in bodies() {
                let mut pair = state.reach();
                let record = record(typ::HANDSHAKE, TLS12, &message(typ, &body));
                pair.must_refuse_with_one_of(&record, state.unprotected());
                assert_eq!(pair.server.is_complete(), state.is_traffic());
            }
        }
    }
}

#[test]
fn a_change_cipher_spec_out_of_turn_is_refused() {
    let ccs = record(typ::CHANGE_CIPHER_SPEC, TLS12, &[1]);
    for state in STATES {
        let mut pair = state.reach();
        match state {
            // "at any time after the first ClientHello … and before the peer's Finished … MUST simply
            // drop the record without further processing" (RFC 8446 §5).
            SecondHello | Finished13 => {
                pair.give(&ccs);
                let flight = pair.client.answer();
                pair.give(&flight);
                let flight = pair.client.answer();
                pair.give(&flight);
                pair.must_be_connected();
            }
            ChangeCipherSpec => pair.give(&ccs),
            _ => pair.must_refuse_with_one_of(&ccs, state.unprotected()),
        }
    }
}

#[test]
fn a_change_cipher_spec_of_another_value_is_refused_in_every_state() {
    for state in STATES {
        for content in [&[][..], &[0], &[2], &[1, 1], &[1, 0, 0]] {
            let mut pair = state.reach();
            let ccs = record(typ::CHANGE_CIPHER_SPEC, TLS12, content);
            let mut alerts = state.unprotected().to_vec();
            if state == ChangeCipherSpec {
                alerts.extend([alert::ILLEGAL_PARAMETER, alert::DECODE_ERROR]);
            }
            pair.must_refuse_with_one_of(&ccs, &alerts);
        }
    }
}

#[test]
fn a_change_cipher_spec_under_protection_is_refused() {
    // RFC 8446 §5; in TLS 1.2 it would belong to a renegotiation.
    for state in STATES.into_iter().filter(|state| state.is_protected()) {
        let mut pair = state.reach();
        let ccs = pair.client.channel.record(typ::CHANGE_CIPHER_SPEC, &[1]);
        pair.server.give(&ccs);
        let sent = pair.server.alert();
        assert_eq!(sent, Some(alert::UNEXPECTED_MESSAGE), "{state:?}");
    }
}

#[test]
fn data_before_the_end_of_the_handshake_is_refused() {
    for state in STATES.into_iter().filter(|state| !state.is_traffic()) {
        for data in [&b""[..], b"GET / HTTP/1.0\r\n\r\n"] {
            let mut pair = state.reach();
            let record = pair.client.data(data);
            pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
            assert_eq!(pair.server.plaintext, b"");
        }
    }
}

#[test]
fn data_under_the_next_keys_is_refused() {
    // The client's Finished is left out.
    let mut pair = Finished13.reach();
    let _ = pair.client.client_finished13();
    pair.client.traffic13();
    let data = pair.client.data(b"hello");
    pair.must_refuse(&data, alert::BAD_RECORD_MAC);
    assert_eq!(pair.server.plaintext, b"");
}

#[test]
fn data_without_protection_is_refused() {
    for state in STATES {
        let mut pair = state.reach();
        let record = record(typ::APPLICATION_DATA, TLS12, &[b'x'; 100]);
        let alerts: &[u8] = match state {
            // Protected records have this type.
            Finished13 | Traffic13 | Traffic12 => &[alert::BAD_RECORD_MAC],
            Finished12 => &[alert::DECRYPT_ERROR, alert::UNEXPECTED_MESSAGE],
            _ => &[alert::UNEXPECTED_MESSAGE],
        };
        pair.must_refuse_with_one_of(&record, alerts);
        assert_eq!(pair.server.plaintext, b"");
    }
}

#[test]
fn a_fatal_alert_ends_the_session_in_every_state() {
    for state in STATES {
        let mut pair = state.reach();
        let alert = pair.client.alert(FATAL, alert::HANDSHAKE_FAILURE);
        pair.must_end_silently(&alert);
        assert_eq!(pair.server.is_complete(), state.is_traffic());
    }
}

#[test]
fn a_warning_is_understood_in_every_state() {
    for state in STATES {
        let mut pair = state.reach();
        let canceled = pair.client.alert(WARNING, alert::USER_CANCELED);
        pair.server.give(&canceled);
        // In a handshake it may end the session, because it cancels the handshake (RFC 8446 §6.1).
        let over = pair.server.failure.is_some();
        assert!(!over || !state.is_traffic(), "{state:?}");
        let close = pair.client.alert(WARNING, alert::CLOSE_NOTIFY);
        pair.server.give(&close);
        assert_eq!(pair.server.alert(), None);
        assert_ne!(pair.server.stage, tlssrv::tls::session::Stage::Traffic);
    }
}

#[test]
fn an_alert_without_protection_does_not_end_a_session() {
    // An attacker could send it.
    for state in [Traffic13, Finished12, Traffic12] {
        for content in [
            &[WARNING, alert::CLOSE_NOTIFY][..],
            &[FATAL, 40],
            &[WARNING, 90],
        ] {
            let mut pair = state.reach();
            let record = record(typ::ALERT, TLS12, content);
            pair.must_refuse_with_one_of(&record, state.unprotected());
        }
    }
}

#[test]
fn records_of_unknown_types_are_refused_in_every_state() {
    for state in STATES {
        for typ in [0, 1, 19, typ::HEARTBEAT, 25, 26, 64, 127, 128, 255] {
            let mut pair = state.reach();
            let sealed = pair.client.channel.record(typ, b"hello");
            pair.must_refuse(&sealed, alert::UNEXPECTED_MESSAGE);
            let mut pair = state.reach();
            let plain = record(typ, TLS12, b"hello");
            pair.must_refuse_with_one_of(&plain, state.unprotected());
        }
    }
}

#[test]
fn bytes_that_are_not_tls_are_refused() {
    for start in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        &[0x80, 46, 1, 3, 1, 0, 5, 0, 0, 0, 16],
        &[0; 64],
        &[0xff; 64],
    ] {
        let mut pair = Hello.reach();
        // Enough for any length that the header can have.
        let answer = pair.server.give(&[start, &[0; 70_000]].concat());
        assert!(pair.server.alert().is_some(), "{start:02x?}");
        assert_eq!(answer.len(), 7);
        assert_eq!(answer[..6], [21, 3, 3, 0, 2, FATAL]);
    }
}
