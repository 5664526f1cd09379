//! TLS parameters of a host: versions, suites, groups, and the length of its records.
#![forbid(unsafe_code)]

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{SupportedProtocolVersion, version};

/// TLS parameters of a host; by default everything that tlssrv supports. The client's order decides what a
/// connection uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The lowest version.
    pub min_version: Version,
    /// `CipherSuite` values, for certificates and for pre-shared keys; `None`: all.
    pub suites: Option<Vec<u16>>,
    /// `NamedGroup` values; `None`: all.
    pub groups: Option<Vec<u16>>,
    /// Bytes of plaintext in a record, 64 (RFC 8449 §4) to [`MAX_FRAGMENT`].
    pub max_fragment: usize,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            min_version: Version::default(),
            suites: None,
            groups: None,
            max_fragment: MAX_FRAGMENT,
        }
    }
}

/// A version that tlssrv supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Profile {
    /// Whether the host allows this suite.
    pub fn has_suite(&self, id: u16) -> bool {
        has(self.suites.as_ref(), id)
    }

    /// The provider without the suites and groups that the host does not allow.
    pub fn restrict(&self, provider: &Arc<CryptoProvider>) -> Arc<CryptoProvider> {
        if self.suites.is_none() && self.groups.is_none() {
            return Arc::clone(provider);
        }
        let mut restricted = CryptoProvider::clone(provider);
        let suites = &mut restricted.cipher_suites;
        suites.retain(|suite| self.has_suite(suite.suite().into()));
        let groups = &mut restricted.kx_groups;
        groups.retain(|group| has(self.groups.as_ref(), group.name().into()));
        Arc::new(restricted)
    }

    /// The versions that the host speaks, lowest first: those that it has a suite of.
    pub fn spoken(&self) -> Vec<Version> {
        let has_suite = |version: &Version| {
            let mut suites = self.suites.iter().flatten();
            // The suites of TLS 1.3 are {0x13, x} (RFC 8446 §B.4).
            let of_tls13 = *version == Version::Tls13;
            self.suites.is_none() || suites.any(|id| (id >> 8 == 0x13) == of_tls13)
        };
        let versions = [Version::Tls12, Version::Tls13].into_iter();
        let versions = versions.filter(|version| *version >= self.min_version);
        versions.filter(has_suite).collect()
    }

    /// The versions for rustls.
    pub fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        static VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match self.min_version {
            Version::Tls12 => &VERSIONS,
            Version::Tls13 => VERSIONS.split_at(1).0,
        }
    }

    /// The length of records for rustls, which counts their headers.
    pub fn max_fragment_size(&self) -> Option<usize> {
        Some(self.max_fragment + RECORD_HEADER)
    }
}

fn has(list: Option<&Vec<u16>>, id: u16) -> bool {
    list.is_none_or(|list| list.contains(&id))
}

/// "The length MUST NOT exceed 2^14 bytes." (RFC 8446 §5.1)
pub const MAX_FRAGMENT: usize = 1 << 14;

/// `ContentType`, `ProtocolVersion` and length (RFC 8446 §5.1).
const RECORD_HEADER: usize = 5;
