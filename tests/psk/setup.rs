//! The keys that client and server share in these tests, and the hosts that have them.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use tlssrv::tls::provider::provider;
use tlssrv::tls::psk::{Config, Key, Keys, Modes};
use tlssrv::types::PskIdentity;

use tlssrv_testing::raw::hash::Hash;
use tlssrv_testing::raw::hello::Psk;

/// The usual key.
pub(crate) fn key() -> Psk {
    Psk {
        identity: b"client".to_vec(),
        secret: (1..=32).collect(),
        hash: Hash::Sha256,
    }
}

/// A key for SHA-384.
pub(crate) fn key384() -> Psk {
    Psk {
        identity: b"client384".to_vec(),
        secret: (101..=148).collect(),
        hash: Hash::Sha384,
    }
}

/// A key as long as those of Plan 9.
pub(crate) fn long_key() -> Psk {
    Psk {
        identity: b"plan9".to_vec(),
        secret: (0..=255).collect(),
        hash: Hash::Sha256,
    }
}

/// A host with all these keys, which requires (EC)DHE.
pub(crate) fn host() -> Arc<Config> {
    Host::default().config()
}

/// A host that also allows keys without (EC)DHE.
pub(crate) fn lax_host() -> Arc<Config> {
    let modes = Modes {
        psk_ke: true,
        plain_psk: true,
    };
    Host {
        modes,
        ..Host::default()
    }
    .config()
}

/// A host that speaks these protocols.
pub(crate) fn host_with_alpn(alpn: &'static [&'static str]) -> Arc<Config> {
    Host {
        alpn,
        ..Host::default()
    }
    .config()
}

/// A host in the making.
pub(crate) struct Host {
    pub(crate) alpn: &'static [&'static str],
    pub(crate) modes: Modes,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            alpn: &[],
            modes: Modes::default(),
            provider: provider(),
        }
    }
}

impl Host {
    /// The configuration of its sessions.
    pub(crate) fn config(self) -> Arc<Config> {
        let mut keys = Keys::new();
        for psk in [key(), key384(), long_key()] {
            let hash = match psk.hash {
                Hash::Sha256 => tlssrv::tls::psk::Hash::Sha256,
                Hash::Sha384 => tlssrv::tls::psk::Hash::Sha384,
            };
            let identity = PskIdentity::try_from(psk.identity).unwrap();
            keys.insert(identity, Key::new(psk.secret.into(), hash).unwrap());
        }
        let alpn = self.alpn.iter().map(|name| name.as_bytes().to_vec());
        let config = Config::new(Arc::new(keys), alpn.collect(), self.modes, self.provider);
        Arc::new(config.unwrap())
    }
}
