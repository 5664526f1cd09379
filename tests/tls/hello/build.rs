//! ClientHello messages as well-known clients send them.

use tlssrv_testing::raw;
use tlssrv_testing::raw::bytes::{list8, list16, message, vector8, vector16};
use tlssrv_testing::raw::codes::{handshake, record as typ};
use tlssrv_testing::raw::transcript::Transcript;

/// A ClientHello in the making.
#[derive(Clone)]
pub(crate) struct Hello(raw::hello::Hello);

impl Hello {
    /// One with no extensions.
    pub(crate) fn new(version: u16, suites: &[u16]) -> Self {
        let hello = raw::hello::Hello::new(suites).compatible();
        Self(hello.but(|hello| {
            hello.version = version;
            hello.extensions = None;
        }))
    }

    /// The smallest hello of TLS 1.3.
    pub(crate) fn tls13(name: &str) -> Self {
        Self::new(0x0303, &[0x1301])
            .server_name(name.as_bytes())
            .extension(43, &list8(&[0x0304]))
            .extension(10, &list16(&[0x001d]))
            .extension(13, &list16(&[0x0403]))
            .extension(51, &shares(&[(0x001d, 32)]))
    }

    /// As crypto/tls of Go sends it.
    pub(crate) fn go(name: &str) -> Self {
        Self::new(
            0x0303,
            &[
                0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0x1301, 0x1302, 0x1303,
            ],
        )
        .server_name(name.as_bytes())
        .extension(5, &[1, 0, 0, 0, 0])
        .extension(10, &list16(&[0x001d, 0x0017, 0x0018, 0x0019]))
        .extension(11, &[1, 0])
        .extension(
            13,
            &list16(&[0x0804, 0x0403, 0x0807, 0x0805, 0x0806, 0x0401]),
        )
        .extension(0xff01, &[0])
        .alpn(&[b"h2", b"http/1.1"])
        .extension(18, &[])
        .extension(43, &list8(&[0x0304, 0x0303]))
        .extension(51, &shares(&[(0x001d, 32)]))
    }

    /// As a browser sends it: GREASE (RFC 8701) everywhere, a meaningless ECH extension,
    /// compressed certificates, a post-quantum key share, padding.
    pub(crate) fn browser(name: &str) -> Self {
        let mut ech = vec![0, 0, 1, 0, 1, 0x42];
        ech.extend_from_slice(&vector16(&[7; 32]));
        ech.extend_from_slice(&vector16(&[9; 144]));
        Self::new(0x0303, &[0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f])
            .extension(0x4a4a, &[])
            .server_name(name.as_bytes())
            .extension(23, &[])
            .extension(0xff01, &[0])
            .extension(10, &list16(&[0x2a2a, 0x11ec, 0x001d, 0x0017]))
            .extension(11, &[1, 0])
            .extension(35, &[])
            .alpn(&[b"h2", b"http/1.1"])
            .extension(5, &[1, 0, 0, 0, 0])
            .extension(13, &list16(&[0x0403, 0x0804, 0x0401]))
            .extension(18, &[])
            .extension(51, &shares(&[(0x2a2a, 1), (0x11ec, 1216), (0x001d, 32)]))
            .extension(45, &[1, 1])
            .extension(43, &list8(&[0x3a3a, 0x0304, 0x0303]))
            .extension(27, &list8(&[2]))
            .extension(0x44cd, b"\0\x03\x02h2")
            .extension(0xfe0d, &ech)
            .extension(0x5a5a, &[0])
            .extension(21, &[0; 100])
    }

    /// With an extension as the last, even where there is one of its type.
    pub(crate) fn extension(mut self, typ: u16, body: &[u8]) -> Self {
        let extensions = self.0.extensions.get_or_insert_default();
        extensions.push((typ, body.to_vec()));
        self
    }

    /// `server_name`.
    pub(crate) fn server_name(self, name: &[u8]) -> Self {
        let host_name = [&[0][..], &vector16(name)].concat();
        self.extension(0, &vector16(&host_name))
    }

    /// ALPN.
    pub(crate) fn alpn(self, names: &[&[u8]]) -> Self {
        let list: Vec<u8> = names.iter().flat_map(|name| vector8(name)).collect();
        self.extension(16, &vector16(&list))
    }

    /// `pre_shared_key` of these identities, with binders that are no binders.
    pub(crate) fn pre_shared_key(self, identities: &[&[u8]]) -> Self {
        let binders: Vec<u8> = identities.iter().flat_map(|_| vector8(&[3; 32])).collect();
        let identities: Vec<u8> = identities
            .iter()
            .flat_map(|identity| [vector16(identity), vec![0; 4]].concat())
            .collect();
        self.extension(45, &[1, 1])
            .extension(41, &[vector16(&identities), vector16(&binders)].concat())
    }

    /// The message without its header.
    pub(crate) fn body(&self) -> Vec<u8> {
        self.message().split_off(4)
    }

    /// The handshake message.
    pub(crate) fn message(&self) -> Vec<u8> {
        self.0.message(&Transcript::default())
    }

    /// The message in one record.
    pub(crate) fn record(&self) -> Vec<u8> {
        records(&[&self.message()])
    }
}

/// A ClientHello of this body, in one record.
pub(crate) fn record(body: &[u8]) -> Vec<u8> {
    records(&[&message(handshake::CLIENT_HELLO, body)])
}

/// Handshake records of these fragments.
pub(crate) fn records(fragments: &[&[u8]]) -> Vec<u8> {
    let records = fragments.iter();
    records
        .flat_map(|fragment| raw::bytes::record(typ::HANDSHAKE, 0x0301, fragment))
        .collect()
}

fn shares(groups: &[(u16, usize)]) -> Vec<u8> {
    let shares: Vec<u8> = groups
        .iter()
        .flat_map(|(group, len)| [&group.to_be_bytes()[..], &vector16(&vec![8; *len])].concat())
        .collect();
    vector16(&shares)
}
