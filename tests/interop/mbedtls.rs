//! mbedTLS, as Debian has it (2.28): TLS 1.2 only, and keys of up to 32 bytes.

use std::process::Command;
use std::sync::OnceLock;

use crate::check::{accepted, accepted_with_name_and_protocol, refused};
use crate::compiled::Compiled;
use crate::offer::{Group, Offer, Suite};
use tlssrv_testing::Server;

pub(crate) static MBEDTLS: Compiled = Compiled {
    name: "mbedtls",
    // A later version has no such file.
    header: "/usr/include/mbedtls/config.h",
    libraries: &["-lmbedtls", "-lmbedx509", "-lmbedcrypto"],
    executable: OnceLock::new(),
};

/// The client with mbedTLS.
pub(crate) fn mbedtls(server: &Server, offer: &Offer) -> Command {
    let suite = offer.suite.name().replace('_', "-");
    MBEDTLS.command(server, offer, &suite)
}

#[test]
fn mbedtls_speaks_tls12_in_every_suite() {
    if MBEDTLS.missing() {
        return;
    }
    accepted(mbedtls, &offers());
}

#[test]
fn mbedtls_asks_for_a_name_and_a_protocol() {
    if MBEDTLS.missing() {
        return;
    }
    accepted_with_name_and_protocol(mbedtls, offers());
}

#[test]
fn mbedtls_with_a_wrong_key_is_refused_as_with_an_unknown_identity() {
    if MBEDTLS.missing() {
        return;
    }
    refused(mbedtls, &offers());
}

/// What mbedTLS can do.
fn offers() -> Vec<Offer> {
    let ecdhe = Offer::of(Suite::EcdhePskChaCha20);
    let groups: [&[Group]; 5] = [
        &[],
        &[Group::X25519],
        &[Group::Secp256r1],
        &[Group::Secp384r1],
        &[Group::Secp521r1, Group::Secp384r1],
    ];
    let mut offers: Vec<Offer> = groups.map(|groups| ecdhe.clone().groups(groups)).into();
    offers.extend([Suite::PskAes128, Suite::PskAes256, Suite::PskChaCha20].map(Offer::of));
    offers
}
