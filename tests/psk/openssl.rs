//! The test client against OpenSSL, so that it is not checked by the engine alone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;

use crate::setup::{key, key384, long_key};
use tlssrv_testing::Socket;
use tlssrv_testing::programs::{Daemon, missing, program};
use tlssrv_testing::raw::codes::{TLS12, TLS13, extension, group, mode, suite};
use tlssrv_testing::raw::hash::Hash;
use tlssrv_testing::raw::hello::Psk;
use tlssrv_testing::raw::{Client, Step, profiles};
use tlssrv_testing::vectors::digits_of;

#[test]
fn the_test_client_speaks_tls13_to_openssl_in_every_suite_and_group() {
    let Some(openssl) = OpenSsl::start(&key(), &[]) else {
        return;
    };
    for group in [group::X25519, group::SECP256R1, group::SECP384R1] {
        for suite in [suite::AES_128_GCM_SHA256, suite::CHACHA20_POLY1305_SHA256] {
            let mut client = profiles::tls13(&[key()], &[group]);
            client.hello.suites = vec![suite];
            let client = openssl.chat(client);
            assert_eq!(client.agreed.suite.unwrap().code, suite);
            assert_eq!(client.agreed.group, Some(group));
        }
    }
}

#[test]
fn the_test_client_speaks_tls13_to_openssl_with_sha384() {
    let directory = tempfile::tempdir().unwrap();
    let session = directory.path().join("session.pem");
    std::fs::write(&session, session_pem(&key384().secret)).unwrap();
    let session = session.to_str().unwrap();
    let Some(openssl) = OpenSsl::start(&key384(), &["-psk_session", session]) else {
        return;
    };
    for group in [group::X25519, group::SECP384R1] {
        let mut client = profiles::tls13(&[key384()], &[group]);
        client.hello.suites = vec![suite::AES_256_GCM_SHA384];
        let client = openssl.chat(client);
        assert_eq!(client.agreed.suite.unwrap().hash, Hash::Sha384);
    }
}

#[test]
fn the_test_client_answers_a_retry_request_of_openssl() {
    let Some(openssl) = OpenSsl::start(&key(), &["-groups", "P-384"]) else {
        return;
    };
    let client = profiles::tls13(&[key()], &[group::X25519, group::SECP384R1]);
    let client = openssl.chat(client);
    assert_eq!(client.agreed.retry, Some(group::SECP384R1));
    let client = openssl.chat(profiles::openssl(&key()));
    assert_eq!(client.agreed.retry, Some(group::SECP384R1));
}

#[test]
fn the_test_client_offers_many_keys_to_openssl() {
    let Some(openssl) = OpenSsl::start(&key(), &["-groups", "P-384"]) else {
        return;
    };
    let mut other = key();
    other.identity = b"nobody".to_vec();
    let keys = [other, key384(), key()];
    let client = openssl.chat(profiles::tls13(&keys, &[group::SECP384R1]));
    assert_eq!(client.agreed.identity, Some(2));
    let client = openssl.chat(profiles::tls13(&keys, &[group::X25519, group::SECP384R1]));
    assert_eq!(client.agreed.identity, Some(2));
}

#[test]
fn the_test_client_speaks_tls13_to_openssl_without_a_group() {
    let Some(openssl) = OpenSsl::start(&key(), &["-allow_no_dhe_kex"]) else {
        return;
    };
    let mut client = profiles::tls13(&[key()], &[group::X25519]);
    client.hello = client.hello.modes(&[mode::PSK_KE]);
    let client = openssl.chat(client);
    assert_eq!(client.agreed.group, None);
}

#[test]
fn the_test_client_speaks_tls12_to_openssl_in_every_suite() {
    let Some(openssl) = OpenSsl::start(&long_key(), &["-tls1_2"]) else {
        return;
    };
    for suite in [
        suite::PSK_AES_128_GCM,
        suite::PSK_AES_256_GCM,
        suite::PSK_CHACHA20,
        suite::ECDHE_PSK_CHACHA20,
    ] {
        let client = openssl.chat(profiles::tls12(&long_key(), &[suite]));
        assert_eq!(client.agreed.version, TLS12);
        // Without `extended_master_secret`; OpenSSL needs `supported_groups`.
        let mut client = profiles::tls12(&long_key(), &[suite]);
        client.hello = client.hello.without(extension::EXTENDED_MASTER_SECRET);
        openssl.chat(client);
    }
}

#[test]
fn openssl_accepts_the_hellos_of_the_test_client() {
    let Some(openssl) = OpenSsl::start(&key(), &["-allow_no_dhe_kex"]) else {
        return;
    };
    for client in [
        profiles::openssl(&key()),
        profiles::gnutls(&key()),
        profiles::mbedtls(&key()),
        profiles::mbedtls_psk_ke(&key()),
        profiles::wolfssl(&key()),
    ] {
        assert_eq!(openssl.chat(client).agreed.version, TLS13);
    }
    for client in [profiles::botan(&key()), profiles::plan9(&key())] {
        let client = openssl.chat(client);
        assert_eq!(client.agreed.version, TLS12);
        assert!(client.agreed.random.ends_with(b"DOWNGRD\x01"));
    }
}

#[test]
fn the_test_client_renews_its_keys_with_openssl() {
    let Some(openssl) = OpenSsl::start(&key(), &["-record_padding", "512"]) else {
        return;
    };
    let client = profiles::tls13(&[key()], &[group::X25519]);
    let mut connection = openssl.connect(client);
    for _ in 0..3 {
        for value in [0, 1] {
            let update = connection.client.key_update(value);
            connection.socket.write_all(&update).unwrap();
            connection.echoes();
        }
    }
    assert_eq!(connection.client.agreed.key_updates, 3);
    assert_eq!(connection.client.largest % 512, 0);
}

/// `openssl s_server`, which sends back each line reversed.
struct OpenSsl {
    _daemon: Daemon,
    address: SocketAddr,
}

impl OpenSsl {
    /// With this key. `None`: it is not installed.
    fn start(key: &Psk, arguments: &[&str]) -> Option<Self> {
        if missing(&["openssl"]) {
            return None;
        }
        let digits = digits_of(&key.secret);
        let identity = std::str::from_utf8(&key.identity).unwrap();
        let mut daemon = Daemon::start(
            program("openssl")
                .args(["s_server", "-accept", "127.0.0.1:0", "-nocert", "-rev"])
                .args(["-psk_identity", identity, "-psk", &digits])
                .args(["-cipher", "ALL:PSK:@SECLEVEL=0"])
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null()),
        );
        // It stays open, so that the server can write.
        let stdout = daemon.0.stdout.as_mut().unwrap();
        let mut lines = BufReader::new(stdout).lines();
        let address = lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ")?.parse().ok());
        Some(Self {
            _daemon: daemon,
            address: address.unwrap(),
        })
    }

    /// A connection whose handshake is complete.
    fn connect(&self, client: Client) -> Connection {
        let socket = Socket::connect(self.address);
        let mut connection = Connection { client, socket };
        let hello = connection.client.start();
        connection.socket.write_all(&hello).unwrap();
        while connection.client.step != Step::Traffic {
            let answer = connection.client.answer();
            if answer.is_empty() {
                connection.read();
            } else {
                connection.socket.write_all(&answer).unwrap();
            }
        }
        connection
    }

    /// A handshake, some lines, and an orderly end.
    fn chat(&self, client: Client) -> Client {
        let mut connection = self.connect(client);
        for _ in 0..3 {
            connection.echoes();
        }
        let close = connection.client.alert(1, 0);
        connection.socket.write_all(&close).unwrap();
        let (rest, _) = connection.socket.read_to_end();
        connection.client.take(&rest).unwrap();
        connection.client
    }
}

struct Connection {
    client: Client,
    socket: Socket,
}

impl Connection {
    fn read(&mut self) {
        let mut room = [0; 4096];
        let length = self.socket.read(&mut room).unwrap();
        self.client.take(&room[..length]).unwrap();
        assert_ne!(length, 0, "{:?}", self.client.alerts);
    }

    fn echoes(&mut self) {
        let line = self.client.data(b"hello, world\n");
        self.socket.write_all(&line).unwrap();
        self.client.plaintext.clear();
        while self.client.plaintext != b"dlrow ,olleh\n" {
            self.read();
        }
    }
}

/// An `SSL_SESSION` of TLS 1.3, `TLS_AES_256_GCM_SHA384` and this secret, because that is how OpenSSL takes
/// a key for another hash than SHA-256.
fn session_pem(secret: &[u8]) -> String {
    let field = |typ: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[typ, length][..], bytes].concat()
    };
    const INTEGER: u8 = 2;
    const OCTET_STRING: u8 = 4;
    const SEQUENCE: u8 = 0x30;
    let fields = [
        field(INTEGER, &[1]),
        field(INTEGER, &TLS13.to_be_bytes()),
        field(OCTET_STRING, &suite::AES_256_GCM_SHA384.to_be_bytes()),
        field(OCTET_STRING, &[7; 32]),
        field(OCTET_STRING, secret),
    ];
    let session = field(SEQUENCE, &fields.concat());
    format!(
        "-----BEGIN SSL SESSION PARAMETERS-----\n{}\n-----END SSL SESSION PARAMETERS-----\n",
        base64(&session)
    )
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            text.push(match digit <= chunk.len() {
                true => DIGITS[bits >> (18 - 6 * digit) & 63].into(),
                false => '=',
            });
            if text.len() % 65 == 64 {
                text.push('\n');
            }
        }
    }
    text
}
