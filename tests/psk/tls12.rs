//! TLS 1.2 handshakes that succeed.

use crate::server::Pair;
use crate::setup::{host, host_with_alpn, key, key384, lax_host, long_key};
use tlssrv_testing::raw::codes::{
    TLS12, TLS13, WARNING, alert, extension, group, handshake, record, suite,
};
use tlssrv_testing::raw::hello::Psk;
use tlssrv_testing::raw::{Client, Step, profiles};

const ECDHE: [u16; 3] = [
    suite::ECDHE_PSK_AES_128_GCM,
    suite::ECDHE_PSK_AES_256_GCM,
    suite::ECDHE_PSK_CHACHA20,
];
const PLAIN: [u16; 3] = [
    suite::PSK_AES_128_GCM,
    suite::PSK_AES_256_GCM,
    suite::PSK_CHACHA20,
];

/// A usual client.
fn client() -> Client {
    profiles::tls12(&key(), &[suite::ECDHE_PSK_CHACHA20])
}

#[test]
fn every_suite_works_with_every_group() {
    for suite in ECDHE {
        for group in [group::X25519, group::SECP256R1, group::SECP384R1] {
            for key in [key(), long_key(), key384()] {
                let mut client = profiles::tls12(&key, &[suite]);
                client.hello = client.hello.groups(&[0x4a4a, group]);
                let pair = Pair::connected(client, &host());
                assert_eq!(pair.client.agreed.group, Some(group));
                pair.server.assert_agreed(TLS12, suite, group, &key);
            }
        }
    }
}

#[test]
fn every_suite_works_without_a_group_where_allowed() {
    for suite in PLAIN {
        for key in [key(), long_key(), key384()] {
            let mut client = profiles::tls12(&key, &[suite]);
            client.hello = client.hello.without(extension::SUPPORTED_GROUPS);
            let pair = Pair::connected(client, &lax_host());
            assert_eq!(pair.server.info().suite, Some(suite));
            assert_eq!(pair.server.info().group, None);
        }
    }
}

#[test]
fn a_key_for_another_hash_works_with_every_suite() {
    // "Prior to TLS 1.3, the hash was that of the PRF": the key has none of its own (RFC 4279).
    for suite in ECDHE.into_iter().chain(PLAIN) {
        Pair::connected(profiles::tls12(&key384(), &[suite]), &lax_host());
    }
}

#[test]
fn forward_secrecy_is_preferred_against_the_order_of_the_client() {
    let suites = [&PLAIN[..], &ECDHE].concat();
    let pair = Pair::connected(profiles::tls12(&key(), &suites), &lax_host());
    assert!(ECDHE.contains(&pair.server.info().suite.unwrap()));
    let pair = Pair::connected(profiles::tls12(&key(), &suites), &host());
    assert!(ECDHE.contains(&pair.server.info().suite.unwrap()));
}

#[test]
fn a_group_of_tls13_only_is_skipped() {
    let mut client = client();
    let groups = [group::X25519MLKEM768, group::SECP521R1, group::SECP384R1];
    client.hello = client.hello.groups(&groups);
    let pair = Pair::connected(client, &host());
    assert_eq!(pair.client.agreed.group, Some(group::SECP384R1));
}

#[test]
fn a_client_that_offers_both_versions_gets_tls13() {
    let pair = Pair::connected(profiles::openssl(&key()), &lax_host());
    assert_eq!(pair.server.info().version, Some(TLS13));
}

#[test]
fn the_random_has_the_downgrade_sentinel() {
    // RFC 8446 §4.1.3
    let pair = Pair::connected(client(), &host());
    assert!(pair.client.agreed.random.ends_with(b"DOWNGRD\x01"));
    let other = Pair::connected(client(), &host());
    let randoms = [pair, other].map(|pair| pair.client.agreed.random);
    assert_ne!(randoms[0][..24], randoms[1][..24]);
}

#[test]
fn the_extended_master_secret_is_used_when_offered() {
    for suite in ECDHE.into_iter().chain(PLAIN) {
        let client = profiles::tls12(&key(), &[suite]);
        let pair = Pair::connected(client, &lax_host());
        let extensions = &pair.client.agreed.hello_extensions;
        assert!(extensions.contains(&extension::EXTENDED_MASTER_SECRET));
        let mut client = profiles::tls12(&key(), &[suite]);
        client.hello = client.hello.without(extension::EXTENDED_MASTER_SECRET);
        Pair::connected(client, &lax_host());
    }
}

#[test]
fn renegotiation_info_answers_the_extension_and_the_suite_that_stands_for_it() {
    let says = |client| {
        let pair = Pair::connected(client, &host());
        let extensions = pair.client.agreed.hello_extensions;
        extensions.contains(&extension::RENEGOTIATION_INFO)
    };
    assert!(says(client()));
    let mut both = client();
    both.hello.suites.push(suite::RENEGOTIATION_SCSV);
    assert!(says(both));
    let mut signal = client();
    signal.hello = signal.hello.without(extension::RENEGOTIATION_INFO);
    signal.hello.suites.push(suite::RENEGOTIATION_SCSV);
    assert!(says(signal));
    let mut neither = client();
    neither.hello = neither.hello.without(extension::RENEGOTIATION_INFO);
    assert!(!says(neither));
}

#[test]
fn the_server_sends_no_identity_hint() {
    // "In the absence of an application profile … servers SHOULD NOT provide an identity hint"
    // (RFC 4279 §5.2), so there is none.
    let client = profiles::tls12(&key(), &[suite::PSK_AES_128_GCM]);
    let mut pair = Pair::new(client, &lax_host());
    let hello = pair.client.start();
    let answer = pair.server.give(&hello);
    let sent = |typ| answer.windows(3).any(|w| w == [typ, 0, 0]);
    assert!(sent(handshake::SERVER_HELLO_DONE));
    assert!(!sent(handshake::SERVER_KEY_EXCHANGE));
    let pair = Pair::greeted(self::client(), &host());
    assert_eq!(pair.client.hint(), Some(&b""[..]));
}

#[test]
fn a_hello_without_extensions_is_answered_without() {
    let mut client = profiles::tls12(&key(), &[suite::PSK_CHACHA20]);
    for extensions in [None, Some(Vec::new())] {
        client.hello.extensions = extensions;
        let client = Client::new(client.hello.clone(), Vec::new(), &[key()]);
        let pair = Pair::connected(client, &lax_host());
        assert!(pair.client.agreed.hello_extensions.is_empty());
    }
}

#[test]
fn a_protocol_is_agreed_on() {
    let mut client = client();
    client.hello = client.hello.alpn(&["http/1.1", "h2"]);
    let pair = Pair::connected(client, &host_with_alpn(&["h2", "http/1.1"]));
    assert_eq!(pair.client.agreed.alpn.as_deref(), Some(&b"h2"[..]));
    assert_eq!(pair.server.info().alpn.as_deref(), Some("h2"));
}

#[test]
fn a_handshake_arrives_byte_by_byte() {
    let plain = profiles::tls12(&key(), &[suite::PSK_AES_256_GCM]);
    for client in [client(), plain] {
        let mut pair = Pair::new(client, &lax_host());
        let mut bytes = pair.client.start();
        while pair.client.step != Step::Traffic {
            for byte in &bytes {
                pair.give(&[*byte]);
            }
            bytes = pair.client.answer();
        }
        pair.must_be_connected();
    }
}

#[test]
fn handshake_messages_arrive_in_records_of_any_size() {
    for size in [1, 2, 3, 4, 5, 50, 200] {
        let mut pair = Pair::new(client(), &host());
        let hello = pair.client.client_hello();
        for part in hello.chunks(size) {
            pair.give_handshake(part);
        }
        let exchange = pair.client.client_key_exchange();
        for part in exchange.chunks(size) {
            pair.give_handshake(part);
        }
        let ccs = pair.client.change_cipher_spec12();
        pair.give(&ccs);
        let finished = pair.client.client_finished12();
        for part in finished.chunks(size) {
            pair.give_handshake(part);
        }
        pair.must_be_connected();
    }
}

#[test]
fn finished_and_data_and_the_end_arrive_at_once() {
    let mut pair = Pair::halfway(client(), &host());
    let mut flight = pair.client.answer();
    flight.extend(pair.client.data(b"one"));
    flight.extend(pair.client.data(b""));
    flight.extend(pair.client.data(b"two"));
    flight.extend(pair.client.alert(WARNING, alert::CLOSE_NOTIFY));
    pair.give(&flight);
    assert_eq!(pair.server.plaintext, b"onetwo");
    assert_eq!(pair.server.stage, tlssrv::tls::session::Stage::PeerClosed);
}

#[test]
fn supported_versions_may_list_tls12_only() {
    let mut client = client();
    client.hello = client.hello.versions(&[0x2a2a, TLS12, 0x0302]);
    let pair = Pair::connected(client, &host());
    assert_eq!(pair.server.info().version, Some(TLS12));
}

#[test]
fn a_fallback_is_accepted_where_tls12_is_the_highest_version() {
    // RFC 7507: a client that offers the highest version of the server has not fallen back.
    let mut client = profiles::openssl(&key());
    client.hello.suites.push(suite::FALLBACK_SCSV);
    Pair::connected(client, &host());
}

#[test]
fn the_identity_is_the_one_of_the_key_exchange() {
    for key in [key(), long_key()] {
        let key: Psk = key;
        let pair = Pair::connected(profiles::tls12(&key, &ECDHE), &host());
        let identity = pair.server.info().psk_identity.map(Vec::from);
        assert_eq!(identity, Some(key.identity));
    }
}

#[test]
fn a_session_id_is_not_echoed() {
    // An echo would mean that a session is resumed (RFC 5246 §7.4.1.3); the client checks that.
    let mut client = client();
    client.hello = client.hello.compatible();
    let mut pair = Pair::halfway(client, &host());
    let answer = pair.client.answer();
    assert_eq!(answer[0], record::HANDSHAKE);
    pair.give(&answer);
    pair.must_be_connected();
}
