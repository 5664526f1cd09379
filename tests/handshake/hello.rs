//! A ClientHello that can be altered.

use tlssrv_testing::raw;
use tlssrv_testing::raw::bytes::{list16, vector16};
use tlssrv_testing::raw::codes::{extension, group, record as typ};
use tlssrv_testing::raw::transcript::Transcript;

/// A ClientHello that tests alter.
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) name: &'static [u8],
    pub(crate) suites: &'static [u16],
    /// `supported_versions`; empty: the extension is absent.
    pub(crate) versions: &'static [u16],
    pub(crate) padding: usize,
}

impl Hello {
    /// A good hello, which a server answers with HelloRetryRequest, because it has no key share.
    pub(crate) const GOOD: Self = Self {
        version: 0x0303,
        name: b"a.example",
        suites: &[0x1301],
        versions: &[0x0304],
        padding: 0,
    };

    /// The handshake message.
    fn message(&self) -> Vec<u8> {
        let name = [&[0][..], &vector16(self.name)].concat();
        let mut hello = raw::hello::Hello::new(self.suites)
            .but(|hello| hello.version = self.version)
            .with(extension::SERVER_NAME, &vector16(&name))
            .groups(&[group::SECP256R1, group::X25519])
            .with(extension::SIGNATURE_ALGORITHMS, &list16(&[0x0403, 0x0804]));
        if !self.versions.is_empty() {
            hello = hello.versions(self.versions).raw_shares(&[]);
        }
        if self.padding > 0 {
            hello = hello.with(extension::PADDING, &vec![0; self.padding]);
        }
        hello.message(&Transcript::default())
    }

    /// In records of this many bytes.
    pub(crate) fn in_records(&self, size: usize) -> Vec<u8> {
        let message = self.message();
        message.chunks(size).flat_map(record).collect()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.in_records(1 << 14)
    }
}

/// A record of type `handshake`.
pub(crate) fn record(fragment: &[u8]) -> Vec<u8> {
    raw::bytes::record(typ::HANDSHAKE, 0x0301, fragment)
}
