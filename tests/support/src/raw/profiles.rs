//! Hellos as the libraries of well-known clients send them.

use super::Client;
use super::codes::{TLS12, TLS13, extension, group, mode, suite};
use super::groups::Share;
use super::hash::Hash;
use super::hello::{Hello, Psk};

/// The smallest hello of TLS 1.3 with `psk_dhe_ke`, with a share for the first of these groups.
pub fn tls13(keys: &[Psk], groups: &[u16]) -> Client {
    let shares = vec![Share::new(groups[0])];
    let suites = match keys.iter().any(|key| key.hash == Hash::Sha384) {
        true => TLS13_SUITES.to_vec(),
        false => vec![suite::AES_128_GCM_SHA256, suite::CHACHA20_POLY1305_SHA256],
    };
    let hello = Hello::new(&suites)
        .versions(&[TLS13])
        .groups(groups)
        .shares(&shares)
        .modes(&[mode::PSK_DHE_KE])
        .keys(keys);
    Client::new(hello, shares, keys)
}

/// The smallest hello of TLS 1.2 with these suites.
pub fn tls12(key: &Psk, suites: &[u16]) -> Client {
    let hello = Hello::new(suites)
        .groups(&[group::X25519, group::SECP256R1, group::SECP384R1])
        .with(extension::EC_POINT_FORMATS, &[1, 0])
        .with(extension::EXTENDED_MASTER_SECRET, &[])
        .with(extension::RENEGOTIATION_INFO, &[0]);
    Client::new(hello, Vec::new(), std::slice::from_ref(key))
}

/// OpenSSL's `s_client`: both versions, middlebox compatibility, a list of everything.
pub fn openssl(key: &Psk) -> Client {
    let shares = vec![Share::new(group::X25519)];
    let suites = [
        &TLS13_SUITES[..],
        &[0xc02c, 0xc02b, 0xcca9, suite::ECDHE_PSK_CHACHA20, 0xccad],
        &[suite::PSK_AES_256_GCM, suite::PSK_CHACHA20],
        &[suite::PSK_AES_128_GCM, suite::RENEGOTIATION_SCSV],
    ];
    let hello = Hello::new(&suites.concat())
        .compatible()
        .server_name("localhost")
        .with(extension::EC_POINT_FORMATS, &[3, 0, 1, 2])
        .groups(&[29, 23, 30, 25, 24, 0x100, 0x101])
        .with(extension::SESSION_TICKET, &[])
        .with(extension::ENCRYPT_THEN_MAC, &[])
        .with(extension::EXTENDED_MASTER_SECRET, &[])
        .with(extension::SIGNATURE_ALGORITHMS, SIGNATURES)
        .versions(&[TLS13, TLS12])
        .modes(&[mode::PSK_DHE_KE])
        .shares(&shares)
        .keys(std::slice::from_ref(key));
    Client::new(hello, shares, std::slice::from_ref(key))
}

/// GnuTLS with `NORMAL:+PSK:+ECDHE-PSK`: two shares, both modes, `psk_key_exchange_modes` early.
pub fn gnutls(key: &Psk) -> Client {
    let shares = vec![Share::new(group::SECP256R1), Share::new(group::X25519)];
    let suites = [
        &[0x1302, 0x1303, 0x1301, 0x1304, 0xc02c, 0xcca9][..],
        &[suite::ECDHE_PSK_CHACHA20, suite::PSK_AES_256_GCM],
        &[suite::PSK_CHACHA20, suite::PSK_AES_128_GCM, 0x00ff],
    ];
    let hello = Hello::new(&suites.concat())
        .compatible()
        .with(extension::STATUS_REQUEST, &[1, 0, 0, 0, 0])
        .modes(&[mode::PSK_DHE_KE, mode::PSK_KE])
        .with(extension::EXTENDED_MASTER_SECRET, &[])
        .with(extension::ENCRYPT_THEN_MAC, &[])
        .with(extension::RECORD_SIZE_LIMIT, &[0x40, 0x01])
        .with(extension::SIGNATURE_ALGORITHMS, SIGNATURES)
        .groups(&[23, 24, 25, 29, 30, 0x100])
        .with(extension::EC_POINT_FORMATS, &[1, 0])
        .shares(&shares)
        .versions(&[TLS13, TLS12])
        .server_name("localhost")
        .with(extension::RENEGOTIATION_INFO, &[0])
        .keys(std::slice::from_ref(key));
    Client::new(hello, shares, std::slice::from_ref(key))
}

/// Mbed TLS with PSK and (EC)DHE: no `signature_algorithms`.
pub fn mbedtls(key: &Psk) -> Client {
    let shares = vec![Share::new(group::X25519)];
    let hello = Hello::new(&[0x1302, 0x1301, 0x1303, 0x1304, 0x1305])
        .compatible()
        .server_name("localhost")
        .versions(&[TLS13])
        .shares(&shares)
        .groups(&[29, 23, 24, 30, 25])
        .modes(&[mode::PSK_DHE_KE])
        .keys(std::slice::from_ref(key));
    Client::new(hello, shares, std::slice::from_ref(key))
}

/// Mbed TLS with PSK alone: nothing about groups either.
pub fn mbedtls_psk_ke(key: &Psk) -> Client {
    let hello = Hello::new(&[0x1301, 0x1302, 0x1303])
        .compatible()
        .server_name("localhost")
        .versions(&[TLS13])
        .modes(&[mode::PSK_KE])
        .keys(std::slice::from_ref(key));
    Client::new(hello, Vec::new(), std::slice::from_ref(key))
}

/// wolfSSL: `psk_ke` first, a P-256 share, and records of version 0x0303 from the start.
pub fn wolfssl(key: &Psk) -> Client {
    let shares = vec![Share::new(group::SECP256R1)];
    let hello = Hello::new(&[0x1301, 0x1302, 0x1303])
        .compatible()
        .versions(&[TLS13])
        .with(extension::SIGNATURE_ALGORITHMS, SIGNATURES)
        .groups(&[23, 24, 25, 29])
        .shares(&shares)
        .modes(&[mode::PSK_KE, mode::PSK_DHE_KE])
        .keys(std::slice::from_ref(key));
    Client::new(hello, shares, std::slice::from_ref(key)).record_version(TLS12)
}

/// Botan with TLS 1.2 only: `supported_versions` lists that version alone.
pub fn botan(key: &Psk) -> Client {
    let suites = [
        suite::ECDHE_PSK_CHACHA20,
        suite::ECDHE_PSK_AES_256_GCM,
        suite::ECDHE_PSK_AES_128_GCM,
        suite::PSK_CHACHA20,
        suite::RENEGOTIATION_SCSV,
    ];
    let hello = Hello::new(&suites)
        .server_name("localhost")
        .versions(&[TLS12])
        .groups(&[29, 23, 24])
        .with(extension::EC_POINT_FORMATS, &[1, 0])
        .with(extension::RENEGOTIATION_INFO, &[0])
        .with(extension::EXTENDED_MASTER_SECRET, &[])
        .with(extension::ENCRYPT_THEN_MAC, &[])
        .with(extension::SIGNATURE_ALGORITHMS, SIGNATURES);
    Client::new(hello, Vec::new(), std::slice::from_ref(key))
}

/// devtls and libsec of Plan 9: TLS 1.2, plain PSK, nothing newer than RFC 5246.
pub fn plan9(key: &Psk) -> Client {
    let suites = [
        suite::PSK_CHACHA20,
        suite::PSK_AES_128_CBC_SHA256,
        suite::PSK_AES_128_CBC_SHA,
    ];
    let hello = Hello::new(&suites)
        .groups(&[group::X25519, group::SECP256R1, group::SECP384R1])
        .with(extension::EC_POINT_FORMATS, &[1, 0])
        .with(extension::SIGNATURE_ALGORITHMS, SIGNATURES);
    Client::new(hello, Vec::new(), std::slice::from_ref(key)).record_version(TLS12)
}

const TLS13_SUITES: [u16; 3] = [
    suite::AES_256_GCM_SHA384,
    suite::CHACHA20_POLY1305_SHA256,
    suite::AES_128_GCM_SHA256,
];

/// `signature_algorithms`: P-256, RSA-PSS and PKCS #1 with SHA-256.
const SIGNATURES: &[u8] = &[0, 6, 4, 3, 8, 4, 4, 1];
