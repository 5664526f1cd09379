//! Wrong Finished messages of the client in TLS 1.3.

use crate::server::Pair;
use crate::setup::{host, key};
use tlssrv_testing::raw::bytes::message;
use tlssrv_testing::raw::codes::{alert, group, handshake, record};
use tlssrv_testing::raw::profiles;

/// A session in which the server waits for Finished.
fn halfway() -> Pair {
    Pair::halfway(profiles::tls13(&[key()], &[group::X25519]), &host())
}

#[test]
fn a_finished_followed_by_data_in_its_record_is_refused() {
    for more in [&[0][..], &[24], &[24, 0, 0, 1, 0]] {
        let mut pair = halfway();
        let finished = [&pair.client.client_finished13()[..], more].concat();
        let record = pair.client.channel.record(record::HANDSHAKE, &finished);
        pair.must_refuse(&record, alert::UNEXPECTED_MESSAGE);
        assert!(!pair.server.is_complete());
    }
}

#[test]
fn a_wrong_finished_is_refused() {
    for byte in 0..32 {
        let mut pair = halfway();
        let mut finished = pair.client.client_finished13();
        finished[4 + byte] ^= 1;
        let record = pair.client.channel.record(record::HANDSHAKE, &finished);
        pair.must_refuse(&record, alert::DECRYPT_ERROR);
    }
}

#[test]
fn a_finished_of_wrong_length_is_refused() {
    for length in [0, 1, 31, 33, 48] {
        let mut pair = halfway();
        let mut verify_data = pair.client.client_finished13()[4..].to_vec();
        verify_data.resize(length, 0);
        let finished = message(handshake::FINISHED, &verify_data);
        let record = pair.client.channel.record(record::HANDSHAKE, &finished);
        pair.must_refuse(&record, alert::DECODE_ERROR);
    }
}
