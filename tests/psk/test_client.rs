//! The primitives of the test client, against published values and against rustls.

use tlssrv_testing::raw::codes::group;
use tlssrv_testing::raw::groups::Share;
use tlssrv_testing::raw::hash::Hash;
use tlssrv_testing::vectors::tls12_illustrated;

#[test]
fn the_prf_of_the_test_client_agrees_with_published_values() {
    let value = tls12_illustrated;
    let randoms = [value("client_random"), value("server_random")].concat();
    let master = Hash::Sha256.prf(&value("pre_master_secret"), "master secret", &randoms, 48);
    assert_eq!(master, value("master_secret"));
}

#[test]
fn the_shares_of_the_test_client_agree_with_those_of_rustls() {
    let groups = rustls::crypto::aws_lc_rs::default_provider().kx_groups;
    for code in [
        group::X25519,
        group::SECP256R1,
        group::SECP384R1,
        group::X25519MLKEM768,
    ] {
        let ours = Share::new(code);
        let theirs = groups.iter().find(|g| u16::from(g.name()) == code).unwrap();
        let theirs = theirs.start_and_complete(&ours.public).unwrap();
        let secret = ours.agree(&theirs.pub_key).unwrap();
        assert_eq!(secret, theirs.secret.secret_bytes());
    }
}
