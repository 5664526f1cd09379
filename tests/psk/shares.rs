//! Key shares that are wrong or no points: they are refused in both versions.

use crate::server::Pair;
use crate::setup::{host, key, lax_host};
use tlssrv_testing::raw::bytes::{vector8, vector16};
use tlssrv_testing::raw::codes::{alert, group, mode, record, suite};
use tlssrv_testing::raw::groups::Share;
use tlssrv_testing::raw::profiles;
use tlssrv_testing::vectors::bytes_of;

#[test]
fn bad_shares_are_refused_in_tls13() {
    for (group, share) in bad_shares() {
        let mut client = profiles::tls13(&[key()], &[group]);
        client.hello = client.hello.raw_shares(&[(group, &share)]);
        let mut pair = Pair::new(client, &host());
        let hello = pair.client.start();
        pair.must_refuse(&hello, alert::ILLEGAL_PARAMETER);
    }
}

#[test]
fn bad_shares_are_refused_even_where_psk_ke_is_allowed() {
    for (group, share) in bad_shares() {
        let mut client = profiles::tls13(&[key()], &[group]);
        client.hello = client.hello.raw_shares(&[(group, &share)]);
        client.hello = client.hello.modes(&[mode::PSK_KE, mode::PSK_DHE_KE]);
        let mut pair = Pair::new(client, &lax_host());
        let hello = pair.client.start();
        pair.must_refuse(&hello, alert::ILLEGAL_PARAMETER);
    }
}

#[test]
fn bad_shares_are_refused_after_a_retry() {
    for (group, share) in bad_shares() {
        let mut client = profiles::tls13(&[key()], &[group]);
        client.hello = client.hello.raw_shares(&[]);
        client.shares.clear();
        let mut pair = Pair::greeted(client, &host());
        let retry = pair
            .client
            .retry_with(|hello| hello.raw_shares(&[(group, &share)]));
        pair.must_refuse(&retry, alert::ILLEGAL_PARAMETER);
    }
}

#[test]
fn bad_shares_are_refused_in_tls12() {
    let shares = bad_shares().into_iter();
    for (group, share) in shares.filter(|(group, _)| *group != group::X25519MLKEM768) {
        let mut client = profiles::tls12(&key(), &[suite::ECDHE_PSK_AES_128_GCM]);
        client.hello = client.hello.groups(&[group]);
        let mut pair = Pair::halfway(client, &host());
        let body = [vector16(&key().identity), vector8(&share)].concat();
        let exchange = pair.client.client_key_exchange_of(&body);
        let exchange = pair.client.channel.plain(record::HANDSHAKE, &exchange);
        pair.must_refuse(&exchange, alert::ILLEGAL_PARAMETER);
    }
}

/// Invalid shares.
fn bad_shares() -> Vec<(u16, Vec<u8>)> {
    let mut bad: Vec<(u16, Vec<u8>)> = Vec::new();
    for group in [
        group::X25519,
        group::SECP256R1,
        group::SECP384R1,
        group::X25519MLKEM768,
    ] {
        let good = Share::new(group).public;
        let length = good.len();
        bad.push((group, good[..length - 1].to_vec()));
        bad.push((group, good[1..].to_vec()));
        bad.push((group, [&good[..], &[0]].concat()));
        bad.push((group, vec![0]));
        bad.push((group, vec![0; length]));
    }
    for group in [group::SECP256R1, group::SECP384R1] {
        let good = Share::new(group).public;
        let (x, y) = good[1..].split_at(good.len() / 2);
        // Not on the curve; compressed; hybrid; coordinates that are no field elements.
        let mut off = good.clone();
        *off.last_mut().unwrap() ^= 1;
        bad.push((group, off));
        bad.push((group, [&[2 + (y[y.len() - 1] & 1)], x].concat()));
        bad.push((group, [&[6 + (y[y.len() - 1] & 1)], x, y].concat()));
        bad.push((group, [&[4][..], &vec![0xff; 2 * x.len()]].concat()));
    }
    for point in low_order_points() {
        bad.push((group::X25519, point.clone()));
        let hybrid = Share::new(group::X25519MLKEM768).public;
        let kem = &hybrid[..hybrid.len() - 32];
        bad.push((group::X25519MLKEM768, [kem, &point].concat()));
    }
    // Coefficients of an encapsulation key are less than 3329 (FIPS 203 §7.2).
    let mut hybrid = Share::new(group::X25519MLKEM768).public;
    hybrid[..3].fill(0xff);
    bad.push((group::X25519MLKEM768, hybrid));
    bad
}

/// Points of Curve25519 with which every secret is zero (RFC 7748 §6.1): 0, 1, those of order 8, and p - 1,
/// p and p + 1.
fn low_order_points() -> Vec<Vec<u8>> {
    let near_p = |low: u8| {
        let mut bytes = [0xff; 32];
        bytes[0] = low;
        bytes[31] = 0x7f;
        bytes.to_vec()
    };
    let mut one = vec![0; 32];
    one[0] = 1;
    vec![
        vec![0; 32],
        one,
        bytes_of("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        bytes_of("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        near_p(0xec),
        near_p(0xed),
        near_p(0xee),
    ]
}
