//! A lot of data both ways at once, and one side that ends before the other.

use std::process::Command;

use crate::gnutls::{GNUTLS, gnutls};
use crate::mbedtls::{MBEDTLS, mbedtls};
use crate::node::node;
use crate::offer::{Client, Offer, Suite};
use crate::setup::serve;
use crate::wolfssl::{WOLFSSL, wolfssl};
use tlssrv_testing::programs::{missing, run_with};

#[test]
fn wolfssl_sends_16_mib_and_gets_them_back() {
    if WOLFSSL.missing() {
        return;
    }
    for suite in [Suite::Aes128, Suite::Aes256, Suite::ChaCha20] {
        echoes(wolfssl, suite);
    }
    echoes(wolfssl, Suite::EcdhePskAes128);
}

#[test]
fn gnutls_sends_16_mib_and_gets_them_back() {
    if GNUTLS.missing() {
        return;
    }
    for suite in [Suite::ChaCha20, Suite::EcdhePskChaCha20, Suite::PskAes256] {
        echoes(gnutls, suite);
    }
}

#[test]
fn mbedtls_sends_16_mib_and_gets_them_back() {
    if MBEDTLS.missing() {
        return;
    }
    for suite in [Suite::EcdhePskChaCha20, Suite::PskAes128] {
        echoes(mbedtls, suite);
    }
}

#[test]
fn node_sends_16_mib_and_gets_them_back() {
    if missing(&["node"]) {
        return;
    }
    for suite in [Suite::Aes128, Suite::EcdhePskChaCha20] {
        echoes(node, suite);
    }
}

#[test]
fn wolfssl_renews_its_keys_between_16_mib() {
    if WOLFSSL.missing() {
        return;
    }
    echoes(
        |server, offer| renewing(wolfssl(server, offer)),
        Suite::Aes128,
    );
}

#[test]
fn gnutls_renews_its_keys_between_16_mib() {
    if GNUTLS.missing() {
        return;
    }
    echoes(
        |server, offer| renewing(gnutls(server, offer)),
        Suite::ChaCha20,
    );
}

#[test]
fn wolfssl_ends_its_side_and_still_gets_the_rest() {
    if WOLFSSL.missing() {
        return;
    }
    gets_the_rest(wolfssl, Suite::Aes128);
    gets_the_rest(wolfssl, Suite::EcdhePskChaCha20);
}

#[test]
fn gnutls_ends_its_side_and_still_gets_the_rest() {
    if GNUTLS.missing() {
        return;
    }
    gets_the_rest(gnutls, Suite::Aes128);
    gets_the_rest(gnutls, Suite::EcdhePskChaCha20);
}

#[test]
fn mbedtls_ends_its_side_and_still_gets_the_rest() {
    if MBEDTLS.missing() {
        return;
    }
    gets_the_rest(mbedtls, Suite::PskChaCha20);
    gets_the_rest(mbedtls, Suite::EcdhePskChaCha20);
}

#[test]
fn node_ends_its_side_and_still_gets_the_rest() {
    if missing(&["node"]) {
        return;
    }
    gets_the_rest(node, Suite::Aes128);
    gets_the_rest(node, Suite::PskAes256);
}

/// Everything that the client sends comes back, and both sides end in an orderly way.
fn echoes(client: Client, suite: Suite) {
    let server = serve(&["cat"]);
    let data = data();
    let ran = run_with(&mut client(&server, &Offer::of(suite)), &data).succeeded();
    assert!(ran.stdout == data, "{suite:?}: {} bytes", ran.stdout.len());
    let line = server.wait_for_connection();
    let size = data.len().to_string();
    assert_eq!((line.value("in"), line.value("out")), (&*size, &*size));
    assert_eq!((line.value("exit"), line.value("end")), ("0", "closed"));
}

/// The answer of a command that answers after end-of-file reaches the client.
fn gets_the_rest(client: Client, suite: Suite) {
    let server = serve(&["sh", "-c", "wc -c; head -c 300000 /dev/zero; echo the rest"]);
    let ran = run_with(&mut client(&server, &Offer::of(suite)), &[7; 100_000]).succeeded();
    let zeros = [0; 300_000];
    let expected = [b"100000\n", &zeros[..], b"the rest\n"].concat();
    assert!(
        ran.stdout == expected,
        "{suite:?}: {} bytes",
        ran.stdout.len()
    );
    let line = server.wait_for_connection();
    assert_eq!((line.value("exit"), line.value("end")), ("0", "closed"));
}

/// 16 MiB that do not repeat at the size of a record.
fn data() -> Vec<u8> {
    let words = (0..(16_u32 << 20) / 4).map(|n| n.wrapping_mul(0x9e37_79b1));
    words.flat_map(u32::to_be_bytes).collect()
}

/// New keys after each 4 MiB: GnuTLS takes no more than 8 updates in a second.
fn renewing(mut client: Command) -> Command {
    client.arg("update=4194304");
    client
}
