//! Short and long keys, and long identities: the server takes keys of 16 to 1024 bytes, and identities
//! of up to 256 bytes; each client has limits of its own.

use crate::check::accepted;
use crate::gnutls::{GNUTLS, gnutls, gnutls_cli};
use crate::mbedtls::{MBEDTLS, mbedtls};
use crate::node::node;
use crate::offer::{Client, Offer, Suite};
use crate::openssl::openssl;
use crate::setup::Key;
use crate::wolfssl::{WOLFSSL, wolfssl};
use tlssrv_testing::programs::missing;

#[test]
fn openssl_has_keys_of_16_to_512_bytes_and_identities_of_up_to_256() {
    if missing(&["openssl"]) {
        return;
    }
    fit(openssl, Suite::Aes128, &[16, 256, 512], &[128, 256]);
    // With TLS 1.2, s_client adds a NUL, which must fit, too.
    for suite in [Suite::EcdhePskChaCha20, Suite::PskAes256] {
        fit(openssl, suite, &[16, 256, 512], &[128, 255]);
    }
}

#[test]
fn gnutls_has_keys_of_16_to_1024_bytes_and_identities_of_up_to_256() {
    if GNUTLS.missing() {
        return;
    }
    for suite in [Suite::Aes128, Suite::EcdhePskChaCha20, Suite::PskAes256] {
        fit(gnutls, suite, &[16, 256, 1024], &[128, 256]);
    }
}

#[test]
fn gnutls_cli_has_keys_of_16_to_1024_bytes() {
    if missing(&["gnutls-cli"]) {
        return;
    }
    for suite in [Suite::ChaCha20, Suite::PskChaCha20] {
        fit(gnutls_cli, suite, &[16, 1024], &[128]);
    }
}

#[test]
fn wolfssl_has_keys_of_16_to_64_bytes_and_identities_of_up_to_256() {
    if WOLFSSL.missing() {
        return;
    }
    for suite in [Suite::Aes128, Suite::EcdhePskChaCha20, Suite::PskChaCha20] {
        fit(wolfssl, suite, &[16, 64], &[128, 256]);
    }
}

#[test]
fn mbedtls_has_keys_of_16_to_32_bytes_and_identities_of_up_to_256() {
    if MBEDTLS.missing() {
        return;
    }
    for suite in [Suite::EcdhePskChaCha20, Suite::PskAes128] {
        fit(mbedtls, suite, &[16], &[128, 256]);
    }
}

#[test]
fn node_has_keys_of_16_to_512_bytes() {
    if missing(&["node"]) {
        return;
    }
    for suite in [Suite::Aes128, Suite::EcdhePskChaCha20] {
        fit(node, suite, &[16, 512], &[128]);
    }
}

/// Keys of these lengths are accepted, and identities of these.
fn fit(client: Client, suite: Suite, keys: &[usize], identities: &[usize]) {
    let keys = keys.iter().copied().map(Key::of_length);
    let identities = identities.iter().copied();
    let offer = |key| Offer::of(suite).key(key);
    let keys = keys.chain(identities.map(Key::with_identity_of_length));
    accepted(client, &keys.map(offer).collect::<Vec<_>>());
}
