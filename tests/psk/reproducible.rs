//! All randomness of a session comes from its provider.

use std::sync::Arc;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::{Error, NamedGroup};
use tlssrv::tls::provider::provider;
use tlssrv::tls::psk::{Config, Keys, Modes};

use crate::server::Server;
use crate::setup::{Host, host, key, lax_host};
use tlssrv_testing::raw::codes::{group, suite};
use tlssrv_testing::raw::{Client, profiles};

/// A provider with predictable randomness.
fn fixed() -> Arc<Config> {
    let provider = CryptoProvider {
        secure_random: &Fixed,
        kx_groups: vec![&Fixed],
        ..provider().as_ref().clone()
    };
    Host {
        provider: Arc::new(provider),
        modes: Modes {
            psk_ke: true,
            plain_psk: true,
        },
        ..Host::default()
    }
    .config()
}

/// Predictable randomness, and key exchanges that use it.
#[derive(Debug)]
struct Fixed;

impl SecureRandom for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        bytes.fill(4);
        Ok(())
    }
}

impl SupportedKxGroup for Fixed {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let key = PrivateKey::from_private_key(&X25519, &[0x44; 32]).unwrap();
        let public = key.compute_public_key().unwrap().as_ref().to_vec();
        Ok(Box::new(FixedExchange { key, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct FixedExchange {
    key: PrivateKey,
    public: Vec<u8>,
}

impl ActiveKeyExchange for FixedExchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = UnparsedPublicKey::new(&X25519, peer);
        let bad = Error::General("no point".into());
        agree(&self.key, peer, bad, |secret| Ok(secret.into()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// The answers of two servers to the same client.
fn twice(mut client: Client, config: &Arc<Config>) -> [Vec<u8>; 2] {
    let mut servers = [Server::new(config), Server::new(config)];
    let mut said = [Vec::new(), Vec::new()];
    let mut flight = client.start();
    while !flight.is_empty() {
        let [one, two] = &mut servers;
        let answers = [one.give(&flight), two.give(&flight)];
        // The exchange ends where the answers differ.
        let same = answers[0] == answers[1];
        client.take(&answers[0]).unwrap();
        for (said, answer) in said.iter_mut().zip(answers) {
            said.extend(answer);
        }
        flight = match same {
            true => client.answer(),
            false => Vec::new(),
        };
    }
    for (said, server) in said.iter_mut().zip(&mut servers) {
        if server.is_complete() {
            said.extend(server.send(b"hello"));
            said.extend(server.close());
        }
    }
    said
}

/// Clients of every kind of handshake.
fn clients() -> [fn() -> Client; 5] {
    [
        || profiles::tls13(&[key()], &[group::X25519]),
        || profiles::mbedtls_psk_ke(&key()),
        || {
            let mut client = profiles::tls13(&[key()], &[group::X25519]);
            client.hello = client.hello.shares(&[]);
            client.shares.clear();
            client
        },
        || profiles::tls12(&key(), &[suite::ECDHE_PSK_AES_128_GCM]),
        || profiles::tls12(&key(), &[suite::PSK_AES_256_GCM]),
    ]
}

#[test]
fn two_handshakes_with_the_same_randomness_are_the_same() {
    for client in clients() {
        let config = fixed();
        let [one, two] = twice(client(), &config);
        assert!(one.len() > 150);
        assert_eq!(one, two);
    }
}

#[test]
fn two_handshakes_are_never_the_same() {
    for client in clients() {
        let [one, two] = twice(client(), &lax_host());
        assert_ne!(one, two);
    }
}

#[test]
fn a_wrong_key_looks_the_same_with_every_randomness() {
    for config in [fixed(), host()] {
        let mut stranger = key();
        stranger.identity = b"nobody".to_vec();
        let client = profiles::tls13(&[stranger], &[group::X25519]);
        let [one, two] = twice_refused(client, &config);
        assert_eq!(one, two);
    }
}

fn twice_refused(mut client: Client, config: &Arc<Config>) -> [Vec<u8>; 2] {
    let hello = client.start();
    [(); 2].map(|()| Server::new(config).give(&hello))
}

#[test]
fn without_randomness_there_is_no_host_and_no_handshake() {
    #[derive(Debug)]
    struct Nothing;
    impl SecureRandom for Nothing {
        fn fill(&self, _: &mut [u8]) -> Result<(), GetRandomFailed> {
            Err(GetRandomFailed)
        }
    }
    let provider = CryptoProvider {
        secure_random: &Nothing,
        ..provider().as_ref().clone()
    };
    let keys = Arc::new(Keys::new());
    let config = Config::new(keys, Vec::new(), Modes::default(), Arc::new(provider));
    assert!(config.is_err());
}

#[test]
fn a_key_exchange_that_fails_on_the_server_is_an_internal_error() {
    #[derive(Debug)]
    struct Broken;
    impl SupportedKxGroup for Broken {
        fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
            Err(Error::FailedToGetRandomBytes)
        }

        fn name(&self) -> NamedGroup {
            NamedGroup::X25519
        }
    }
    let provider = CryptoProvider {
        kx_groups: vec![&Broken],
        ..provider().as_ref().clone()
    };
    let config = Host {
        provider: Arc::new(provider),
        ..Host::default()
    }
    .config();
    let tls12 = profiles::tls12(&key(), &[suite::ECDHE_PSK_CHACHA20]);
    for mut client in [profiles::tls13(&[key()], &[group::X25519]), tls12] {
        let mut server = Server::new(&config);
        server.give(&client.start());
        // internal_error
        assert_eq!(server.alert(), Some(80));
    }
}
