//! TLS 1.3 handshakes that succeed.

use crate::server::{Pair, Server};
use crate::setup::{host, host_with_alpn, key, key384, lax_host, long_key};
use tlssrv_testing::raw::codes::{TLS13, alert, extension, group, mode, record, suite};
use tlssrv_testing::raw::hello::Psk;
use tlssrv_testing::raw::{Client, Step, profiles};

const GROUPS: [u16; 4] = [
    group::X25519,
    group::SECP256R1,
    group::SECP384R1,
    group::X25519MLKEM768,
];

/// Each suite of TLS 1.3, and a key that goes with it.
fn suites() -> [(u16, Psk); 3] {
    [
        (suite::AES_128_GCM_SHA256, key()),
        (suite::CHACHA20_POLY1305_SHA256, long_key()),
        (suite::AES_256_GCM_SHA384, key384()),
    ]
}

/// A usual client.
fn client() -> Client {
    profiles::tls13(&[key()], &[group::X25519])
}

#[test]
fn every_suite_works_with_every_group() {
    for (suite, key) in suites() {
        for group in GROUPS {
            let mut client = profiles::tls13(std::slice::from_ref(&key), &[group]);
            client.hello.suites = vec![suite];
            let pair = Pair::connected(client, &host());
            assert_eq!(pair.client.agreed.group, Some(group));
            assert_eq!(pair.client.agreed.retry, None);
            pair.server.assert_agreed(TLS13, suite, group, &key);
        }
    }
}

#[test]
fn every_suite_works_without_a_group_where_allowed() {
    for (suite, key) in suites() {
        let mut client = profiles::mbedtls_psk_ke(&key);
        client.hello.suites = vec![suite];
        let pair = Pair::connected(client, &lax_host());
        assert_eq!(pair.client.agreed.group, None);
        assert_eq!(pair.server.info().group, None);
    }
}

#[test]
fn forward_secrecy_is_preferred_against_the_order_of_the_client() {
    for modes in [
        &[mode::PSK_KE, mode::PSK_DHE_KE][..],
        &[mode::PSK_DHE_KE, mode::PSK_KE],
        &[77, mode::PSK_DHE_KE],
    ] {
        let mut client = client();
        client.hello = client.hello.modes(modes);
        let pair = Pair::connected(client, &lax_host());
        assert_eq!(pair.client.agreed.group, Some(group::X25519));
    }
}

#[test]
fn a_client_without_a_usable_share_gets_a_retry_request() {
    for (suite, key) in suites() {
        for group in GROUPS {
            for compatible in [vec![], vec![7; 32]] {
                let mut client = profiles::tls13(std::slice::from_ref(&key), &[group]);
                client.hello.suites = vec![suite];
                client.hello.session_id = compatible;
                // It has shares of groups that the server does not have, or no share.
                for shares in [vec![], vec![(group::SECP521R1, vec![4; 133])]] {
                    let shares: Vec<_> = shares.iter().map(|(g, s)| (*g, &s[..])).collect();
                    let groups = [&[group::SECP521R1][..], &[group]].concat();
                    let hello = client.hello.clone().groups(&groups).raw_shares(&shares);
                    let client = Client::new(hello, Vec::new(), std::slice::from_ref(&key));
                    let pair = Pair::connected(client, &host());
                    assert_eq!(pair.client.agreed.retry, Some(group));
                    assert_eq!(pair.client.agreed.group, Some(group));
                    assert_eq!(pair.server.info().group, Some(group));
                }
            }
        }
    }
}

#[test]
fn a_usable_share_saves_a_round_trip() {
    let client = profiles::tls13(&[key()], &[group::SECP384R1, group::X25519MLKEM768, 29]);
    let pair = Pair::connected(client, &host());
    assert_eq!(pair.client.agreed.retry, None);
    assert_eq!(pair.client.agreed.group, Some(group::SECP384R1));
}

#[test]
fn the_first_identity_that_is_known_is_taken() {
    let unknown = |name: &str| Psk {
        identity: name.as_bytes().to_vec(),
        ..key384()
    };
    for (keys, index) in [
        (vec![key(), long_key()], 0),
        (vec![unknown("a"), key(), unknown("b")], 1),
        (vec![unknown("a"), unknown("b"), long_key(), key()], 2),
        (vec![key384(), key()], 0),
    ] {
        for groups in [&[group::X25519][..], &[group::SECP521R1, group::X25519]] {
            let mut client = profiles::tls13(&keys, &[group::X25519]);
            client.hello = client.hello.groups(groups);
            if groups.len() == 2 {
                client.hello = client.hello.shares(&[]);
                client.shares.clear();
            }
            let pair = Pair::connected(client, &host());
            assert_eq!(pair.client.agreed.identity, Some(index));
            let identity = pair.server.info().psk_identity.map(Vec::from);
            assert_eq!(identity.as_ref(), Some(&keys[index].identity));
        }
    }
}

#[test]
fn a_key_without_a_suite_for_its_hash_is_skipped() {
    let mut client = profiles::tls13(&[key384(), key()], &[group::X25519]);
    client.hello.suites = vec![suite::CHACHA20_POLY1305_SHA256];
    let pair = Pair::connected(client, &host());
    assert_eq!(pair.client.agreed.identity, Some(1));
    let mut client = profiles::tls13(&[key(), key384()], &[group::X25519]);
    client.hello.suites = vec![suite::AES_256_GCM_SHA384];
    let pair = Pair::connected(client, &host());
    assert_eq!(pair.client.agreed.identity, Some(1));
}

#[test]
fn a_second_hello_may_drop_incompatible_keys() {
    let keys = [key384(), key()];
    let mut client = profiles::tls13(&keys, &[group::X25519]);
    client.hello.suites = vec![suite::CHACHA20_POLY1305_SHA256];
    client.hello = client.hello.shares(&[]);
    client.shares.clear();
    let mut pair = Pair::greeted(client, &host());
    pair.client.keys = vec![key()];
    let retry = pair.client.retry_with(|hello| hello.keys(&[key()]));
    pair.give(&retry);
    let answer = pair.client.answer();
    pair.give(&answer);
    pair.must_be_connected();
}

#[test]
fn a_protocol_is_agreed_on_by_the_order_of_the_server() {
    let config = host_with_alpn(&["h2", "http/1.1"]);
    for (offered, taken) in [
        (&["http/1.1", "h2"][..], Some("h2")),
        (&["x", "http/1.1"], Some("http/1.1")),
    ] {
        let mut client = client();
        client.hello = client.hello.alpn(offered);
        let pair = Pair::connected(client, &config);
        assert_eq!(pair.server.info().alpn.as_deref(), taken);
        let alpn = pair.client.agreed.alpn;
        assert_eq!(alpn.as_deref(), taken.map(str::as_bytes));
    }
    let pair = Pair::connected(client(), &config);
    assert_eq!(pair.server.info().alpn, None);
    let mut indifferent = client();
    indifferent.hello = indifferent.hello.alpn(&["h2"]);
    let pair = Pair::connected(indifferent, &host());
    assert_eq!(pair.client.agreed.alpn, None);
}

#[test]
fn a_handshake_arrives_byte_by_byte() {
    let clients = [
        client(),
        profiles::openssl(&key()),
        profiles::tls13(&[key()], &[group::X25519MLKEM768]),
    ];
    for client in clients {
        let mut pair = Pair::new(client, &host());
        let mut bytes = pair.client.start();
        while pair.client.step != Step::Traffic {
            for byte in &bytes {
                pair.give(&[*byte]);
            }
            bytes = pair.client.answer();
        }
        for byte in &bytes {
            pair.give(&[*byte]);
        }
        pair.must_be_connected();
    }
}

#[test]
fn handshake_messages_arrive_in_records_of_any_size() {
    for size in [1, 2, 3, 4, 5, 50, 200] {
        let mut pair = Pair::new(client(), &host());
        let hello = pair.client.client_hello();
        let records = hello.chunks(size);
        let records = records.map(|part| pair.client.channel.plain(record::HANDSHAKE, part));
        pair.give(&records.collect::<Vec<_>>().concat());
        let finished = pair.client.client_finished13();
        for part in finished.chunks(size) {
            pair.give_handshake(part);
        }
        pair.client.traffic13();
        pair.must_be_connected();
    }
}

#[test]
fn finished_and_data_and_a_key_update_and_the_end_arrive_at_once() {
    let mut pair = Pair::halfway(profiles::openssl(&key()), &host());
    let mut flight = pair.client.answer();
    flight.extend(pair.client.data(b"one"));
    flight.extend(pair.client.data(b""));
    flight.extend(pair.client.key_update(0));
    flight.extend(pair.client.data(b"two"));
    flight.extend(pair.client.alert(1, 0));
    pair.give(&flight);
    assert_eq!(pair.server.plaintext, b"onetwo");
    assert_eq!(pair.server.stage, tlssrv::tls::session::Stage::PeerClosed);
    let records = pair.server.send(b"still here");
    pair.client.take(&records).unwrap();
    assert_eq!(pair.client.plaintext, b"still here");
}

#[test]
fn the_server_sends_no_ticket() {
    let mut pair = Pair::halfway(client(), &host());
    let answer = pair.client.answer();
    assert_eq!(pair.server.give(&answer), b"");
}

#[test]
fn a_change_cipher_spec_may_come_even_without_a_session_id() {
    let mut pair = Pair::halfway(client(), &host());
    let ccs = pair.client.channel.plain(record::CHANGE_CIPHER_SPEC, &[1]);
    let finished = pair.client.answer();
    pair.give(&[ccs, finished].concat());
    pair.must_be_connected();
}

#[test]
fn unknown_suites_groups_and_extensions_are_ignored() {
    let mut client = profiles::tls13(&[key()], &[group::X25519]);
    client.hello.suites.splice(0..0, [0x0a0a, 0x1399]);
    client.hello = client
        .hello
        .versions(&[0x7f1c, 0x0305, 0x2a2a, TLS13])
        .groups(&[0x3a3a, 0x0100, group::X25519])
        .modes(&[0x0b, mode::PSK_DHE_KE])
        .with(0x4a4a, &[1, 2, 3])
        .with(extension::SESSION_TICKET, &[9; 100])
        .with(extension::PADDING, &[0; 300])
        .server_name("some.name.example");
    let share = client.shares[0].public.clone();
    client.hello = client
        .hello
        .raw_shares(&[(0x3a3a, &[1]), (group::X25519, &share)]);
    // "Servers MUST ignore" the age of an external key (RFC 8446 §4.2.11).
    client.hello.offer.as_mut().unwrap().identities[0].1 = 0xdead_beef;
    Pair::connected(client, &host());
}

#[test]
fn the_legacy_version_is_ignored_beside_supported_versions() {
    for legacy in [0x0301, 0x0302, 0x0304, 0x0399] {
        let mut client = client();
        client.hello.version = legacy;
        Pair::connected(client, &host());
    }
}

#[test]
fn the_first_record_may_be_of_any_version_of_tls() {
    for version in [0x0301, 0x0302, 0x0303, 0x0304] {
        Pair::connected(client().record_version(version), &host());
    }
}

#[test]
fn an_identity_with_every_byte_value_is_looked_up() {
    let mut server = Server::new(&host());
    let stranger = Psk {
        identity: (0..=255).collect(),
        ..key()
    };
    let mut client = profiles::tls13(&[stranger], &[group::X25519]);
    server.give(&client.start());
    assert_eq!(server.alert(), Some(alert::DECRYPT_ERROR));
}
