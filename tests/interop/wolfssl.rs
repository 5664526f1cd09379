//! wolfSSL, as Debian has it (5.5.4). It lacks `TLS_PSK_WITH_AES_…_GCM_…`, and in TLS 1.2 it fails with
//! X25519. It offers `psk_ke` before `psk_dhe_ke`, its share is for secp256r1 unless told otherwise, and its
//! second hello has its extensions in another order.

use std::process::Command;
use std::sync::OnceLock;

use crate::check::{accepted, accepted_with_name_and_protocol, only, refused};
use crate::compiled::Compiled;
use crate::offer::{Group, Offer, Suite, Version};
use tlssrv_testing::Server;

pub(crate) static WOLFSSL: Compiled = Compiled {
    name: "wolfssl",
    header: "/usr/include/wolfssl/ssl.h",
    libraries: &["-lwolfssl"],
    executable: OnceLock::new(),
};

/// The client with wolfSSL.
pub(crate) fn wolfssl(server: &Server, offer: &Offer) -> Command {
    let suite = match offer.suite {
        Suite::Aes128 => "TLS13-AES128-GCM-SHA256",
        Suite::Aes256 => "TLS13-AES256-GCM-SHA384",
        Suite::ChaCha20 => "TLS13-CHACHA20-POLY1305-SHA256",
        _ => offer.suite.openssl_name(),
    };
    let mut offer = offer.clone();
    if offer.suite.version() == Version::Tls12 && offer.groups.is_empty() {
        offer.groups = &[Group::Secp256r1];
    }
    WOLFSSL.command(server, &offer, suite)
}

#[test]
fn wolfssl_speaks_tls13_in_every_suite_and_both_modes() {
    if WOLFSSL.missing() {
        return;
    }
    accepted(wolfssl, &only(Version::Tls13, offers()));
}

#[test]
fn wolfssl_gets_forward_secrecy_without_asking_for_groups() {
    if WOLFSSL.missing() {
        return;
    }
    let lines = accepted(wolfssl, &[Offer::of(Suite::Aes128)]);
    assert_eq!(lines[0].value("group"), "secp256r1");
}

#[test]
fn wolfssl_speaks_tls12_in_every_suite() {
    if WOLFSSL.missing() {
        return;
    }
    accepted(wolfssl, &only(Version::Tls12, offers()));
}

#[test]
fn wolfssl_retries_with_another_group() {
    if WOLFSSL.missing() {
        return;
    }
    let offer = |suite, groups| Offer::of(suite).groups(groups);
    accepted(
        wolfssl,
        &[
            offer(Suite::Aes128, &[Group::Secp521r1, Group::X25519]),
            offer(Suite::Aes256, &[Group::Secp521r1, Group::Secp384r1]),
            offer(Suite::ChaCha20, &[Group::Secp521r1, Group::Secp256r1]),
        ],
    );
}

#[test]
fn wolfssl_asks_for_a_name_and_a_protocol() {
    if WOLFSSL.missing() {
        return;
    }
    accepted_with_name_and_protocol(wolfssl, offers());
}

#[test]
fn wolfssl_with_a_wrong_key_is_refused_as_with_an_unknown_identity() {
    if WOLFSSL.missing() {
        return;
    }
    refused(wolfssl, &offers());
}

/// What wolfSSL can do.
fn offers() -> Vec<Offer> {
    let mut offers = Vec::new();
    for suite in [Suite::Aes128, Suite::Aes256, Suite::ChaCha20] {
        offers.push(Offer::of(suite).psk_ke());
        for group in [&[Group::X25519], &[Group::Secp256r1], &[Group::Secp384r1]] {
            offers.push(Offer::of(suite).groups(group));
        }
    }
    for suite in [Suite::EcdhePskAes128, Suite::EcdhePskChaCha20] {
        for group in [&[Group::Secp256r1], &[Group::Secp384r1]] {
            offers.push(Offer::of(suite).groups(group));
        }
    }
    offers.push(Offer::of(Suite::PskChaCha20));
    offers
}
