//! GnuTLS, as Debian has it (3.7.9): gnutls-cli, and a client in C. In TLS 1.3 it has keys for SHA-256
//! only. With the `ECDHE_PSK` of TLS 1.2, gnutls-cli crashes after the handshake, whoever the server is.

use std::process::Command;
use std::sync::OnceLock;

use crate::check::{
    HANDSHAKE_FAILURE, accepted, accepted_with_name_and_protocol, only, refused, refused_by,
};
use crate::compiled::Compiled;
use crate::offer::{Group, Mode, Offer, Suite, Version};
use crate::setup::{ANSWER, serve_with};
use tlssrv_testing::Server;
use tlssrv_testing::programs::{missing, program};

pub(crate) static GNUTLS: Compiled = Compiled {
    name: "gnutls",
    header: "/usr/include/gnutls/gnutls.h",
    libraries: &["-lgnutls"],
    executable: OnceLock::new(),
};

/// The client in C.
pub(crate) fn gnutls(server: &Server, offer: &Offer) -> Command {
    GNUTLS.command(server, offer, &priority(offer))
}

/// gnutls-cli
pub(crate) fn gnutls_cli(server: &Server, offer: &Offer) -> Command {
    let address = server.address();
    let mut command = program("gnutls-cli");
    command
        .args(["--single-key-share", "--priority", &priority(offer)])
        .args(["--pskusername", &offer.key.identity])
        .args(["--pskkey", &offer.key.digits])
        .args(offer.name.map(|name| format!("--sni-hostname={name}")))
        .args(offer.protocol.map(|protocol| format!("--alpn={protocol}")))
        .arg(format!("--port={}", address.port()))
        .arg(address.ip().to_string());
    command
}

/// The offer in the words of GnuTLS.
fn priority(offer: &Offer) -> String {
    let (exchange, cipher) = match offer.suite {
        Suite::EcdhePskAes128 => ("ECDHE-PSK", "AES-128-GCM"),
        Suite::EcdhePskChaCha20 => ("ECDHE-PSK", "CHACHA20-POLY1305"),
        Suite::PskAes128 => ("PSK", "AES-128-GCM"),
        Suite::PskAes256 => ("PSK", "AES-256-GCM"),
        Suite::PskChaCha20 => ("PSK", "CHACHA20-POLY1305"),
        tls13 => {
            let exchange = match offer.mode {
                Mode::PskDheKe => "ECDHE-PSK",
                Mode::PskKe => "PSK",
            };
            let cipher = match tls13 {
                Suite::Aes128 => "AES-128-GCM",
                Suite::Aes256 => "AES-256-GCM",
                _ => "CHACHA20-POLY1305",
            };
            (exchange, cipher)
        }
    };
    let version = match offer.suite.version() {
        Version::Tls12 => "1.2",
        Version::Tls13 => "1.3",
    };
    let mut priority = format!(
        "NORMAL:-VERS-ALL:+VERS-TLS{version}:-KX-ALL:+{exchange}:-CIPHER-ALL:+{cipher}:-GROUP-ALL"
    );
    let any = [Group::X25519, Group::Secp256r1];
    let groups = if offer.groups.is_empty() {
        &any
    } else {
        offer.groups
    };
    for group in groups {
        priority += &format!(":+GROUP-{}", group.name().to_uppercase());
    }
    priority
}

#[test]
fn gnutls_cli_speaks_tls13_in_every_suite_and_both_modes() {
    if missing(&["gnutls-cli"]) {
        return;
    }
    accepted(gnutls_cli, &only(Version::Tls13, offers()));
}

#[test]
fn gnutls_cli_speaks_tls12_without_ecdhe_in_every_suite() {
    if missing(&["gnutls-cli"]) {
        return;
    }
    accepted(gnutls_cli, &cli(only(Version::Tls12, offers())));
}

#[test]
fn gnutls_speaks_tls12_in_every_suite() {
    if GNUTLS.missing() {
        return;
    }
    accepted(gnutls, &only(Version::Tls12, offers()));
}

#[test]
fn gnutls_cli_retries_with_another_group() {
    if missing(&["gnutls-cli"]) {
        return;
    }
    let offer = |suite, groups| Offer::of(suite).groups(groups);
    accepted(
        gnutls_cli,
        &[
            offer(Suite::Aes128, &[Group::Secp521r1, Group::X25519]),
            offer(Suite::ChaCha20, &[Group::Secp521r1, Group::Secp384r1]),
        ],
    );
}

#[test]
fn gnutls_cli_asks_for_a_name_and_a_protocol() {
    if missing(&["gnutls-cli"]) {
        return;
    }
    accepted_with_name_and_protocol(gnutls_cli, cli(offers()));
}

#[test]
fn gnutls_cli_with_a_wrong_key_is_refused_as_with_an_unknown_identity() {
    if missing(&["gnutls-cli"]) {
        return;
    }
    refused(gnutls_cli, &cli(offers()));
}

#[test]
fn gnutls_with_a_wrong_key_is_refused_as_with_an_unknown_identity() {
    if GNUTLS.missing() {
        return;
    }
    refused(gnutls, &offers());
}

#[test]
fn gnutls_cli_is_refused_without_forward_secrecy_unless_the_host_allows_it() {
    if missing(&["gnutls-cli"]) {
        return;
    }
    let server = serve_with("", &ANSWER);
    for offer in [
        Offer::of(Suite::Aes128).psk_ke(),
        Offer::of(Suite::PskAes128),
    ] {
        let (alert, end) = refused_by(&server, gnutls_cli, &offer);
        assert_eq!(alert, HANDSHAKE_FAILURE, "{end}");
    }
    let server = serve_with("psk-only-ke = true", &ANSWER);
    let (alert, end) = refused_by(&server, gnutls_cli, &Offer::of(Suite::PskAes128));
    assert_eq!(alert, HANDSHAKE_FAILURE, "{end}");
    let server = serve_with("psk-plain = true", &ANSWER);
    let (alert, end) = refused_by(&server, gnutls_cli, &Offer::of(Suite::Aes128).psk_ke());
    assert_eq!(alert, HANDSHAKE_FAILURE, "{end}");
}

/// What GnuTLS can do.
fn offers() -> Vec<Offer> {
    let mut offers = Vec::new();
    let groups: [&[Group]; 4] = [
        &[],
        &[Group::X25519],
        &[Group::Secp256r1],
        &[Group::Secp384r1],
    ];
    for suite in [Suite::Aes128, Suite::ChaCha20, Suite::EcdhePskChaCha20] {
        offers.extend(groups.map(|groups| Offer::of(suite).groups(groups)));
    }
    offers.extend([Suite::Aes128, Suite::ChaCha20].map(|suite| Offer::of(suite).psk_ke()));
    offers.extend([Suite::PskAes128, Suite::PskAes256, Suite::PskChaCha20].map(Offer::of));
    offers
}

/// The offers that do not crash gnutls-cli.
fn cli(mut offers: Vec<Offer>) -> Vec<Offer> {
    offers.retain(|offer| offer.suite != Suite::EcdhePskChaCha20);
    offers
}
