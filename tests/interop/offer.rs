//! What a client offers.

use std::process::Command;

use crate::setup::Key;
use tlssrv_testing::Server;

/// A client program: how it is run to connect to a server with an offer.
pub(crate) type Client = fn(&Server, &Offer) -> Command;

/// One suite, with one key.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) suite: Suite,
    pub(crate) key: Key,
    /// Most preferred first; in TLS 1.3 the only key share is for the first. Empty: the groups of the
    /// client.
    pub(crate) groups: &'static [Group],
    pub(crate) mode: Mode,
    /// `server_name`
    pub(crate) name: Option<&'static str>,
    /// ALPN
    pub(crate) protocol: Option<&'static str>,
}

/// The key exchange modes of TLS 1.3 (RFC 8446 §4.2.9); TLS 1.2 has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    PskDheKe,
    PskKe,
}

/// The suites for pre-shared keys that tlssrv and at least one client here have. No client has
/// `TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384` or the group X25519MLKEM768.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Aes128,
    Aes256,
    ChaCha20,
    EcdhePskAes128,
    EcdhePskChaCha20,
    PskAes128,
    PskAes256,
    PskChaCha20,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Secp256r1,
    Secp384r1,
    /// The server does not have it.
    Secp521r1,
    X25519,
}

impl Offer {
    /// The name and the protocol, as arguments of the clients in this folder.
    pub(crate) fn settings(&self) -> impl Iterator<Item = String> {
        let name = self.name.map(|name| format!("name={name}"));
        let protocol = self.protocol.map(|protocol| format!("protocol={protocol}"));
        name.into_iter().chain(protocol)
    }

    /// An offer of a suite with its usual key; the client decides about everything else.
    pub(crate) fn of(suite: Suite) -> Self {
        Self {
            suite,
            key: Key::for_suite(suite),
            groups: &[],
            mode: Mode::PskDheKe,
            name: None,
            protocol: None,
        }
    }

    /// With another key.
    #[must_use]
    pub(crate) fn key(self, key: Key) -> Self {
        Self { key, ..self }
    }

    /// With these groups.
    #[must_use]
    pub(crate) fn groups(self, groups: &'static [Group]) -> Self {
        Self { groups, ..self }
    }

    /// Without (EC)DHE.
    #[must_use]
    pub(crate) fn psk_ke(self) -> Self {
        Self {
            mode: Mode::PskKe,
            ..self
        }
    }

    /// Asking for a server name, and for the protocol `echo`.
    #[must_use]
    pub(crate) fn with_name_and_protocol(self) -> Self {
        Self {
            name: Some("a.example"),
            protocol: Some("echo"),
            ..self
        }
    }

    /// Whether there is an (EC)DHE key exchange.
    pub(crate) fn has_forward_secrecy(&self) -> bool {
        match self.suite {
            Suite::Aes128 | Suite::Aes256 | Suite::ChaCha20 => self.mode == Mode::PskDheKe,
            Suite::EcdhePskAes128 | Suite::EcdhePskChaCha20 => true,
            Suite::PskAes128 | Suite::PskAes256 | Suite::PskChaCha20 => false,
        }
    }
}

impl Suite {
    /// The name of IANA.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aes128 => "TLS_AES_128_GCM_SHA256",
            Self::Aes256 => "TLS_AES_256_GCM_SHA384",
            Self::ChaCha20 => "TLS_CHACHA20_POLY1305_SHA256",
            Self::EcdhePskAes128 => "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256",
            Self::EcdhePskChaCha20 => "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256",
            Self::PskAes128 => "TLS_PSK_WITH_AES_128_GCM_SHA256",
            Self::PskAes256 => "TLS_PSK_WITH_AES_256_GCM_SHA384",
            Self::PskChaCha20 => "TLS_PSK_WITH_CHACHA20_POLY1305_SHA256",
        }
    }

    /// The name that OpenSSL and wolfSSL use.
    pub(crate) fn openssl_name(self) -> &'static str {
        match self {
            Self::Aes128 | Self::Aes256 | Self::ChaCha20 => self.name(),
            Self::EcdhePskAes128 => "ECDHE-PSK-AES128-GCM-SHA256",
            Self::EcdhePskChaCha20 => "ECDHE-PSK-CHACHA20-POLY1305",
            Self::PskAes128 => "PSK-AES128-GCM-SHA256",
            Self::PskAes256 => "PSK-AES256-GCM-SHA384",
            Self::PskChaCha20 => "PSK-CHACHA20-POLY1305",
        }
    }

    pub(crate) fn version(self) -> Version {
        match self {
            Self::Aes128 | Self::Aes256 | Self::ChaCha20 => Version::Tls13,
            _ => Version::Tls12,
        }
    }
}

impl Version {
    /// The name in the log and in node.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

impl Group {
    /// The name of IANA, which the log uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Secp256r1 => "secp256r1",
            Self::Secp384r1 => "secp384r1",
            Self::Secp521r1 => "secp521r1",
            Self::X25519 => "X25519",
        }
    }

    /// Its `NamedGroup` value.
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::Secp256r1 => 23,
            Self::Secp384r1 => 24,
            Self::Secp521r1 => 25,
            Self::X25519 => 29,
        }
    }
}

/// A list of groups, as OpenSSL and node write it.
pub(crate) fn openssl_groups(groups: &[Group]) -> String {
    let name = |group: &Group| match group {
        Group::Secp256r1 => "P-256",
        Group::Secp384r1 => "P-384",
        Group::Secp521r1 => "P-521",
        Group::X25519 => "X25519",
    };
    groups.iter().map(name).collect::<Vec<_>>().join(":")
}
