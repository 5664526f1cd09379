//! Hellos built by hand, in the shapes that well-known clients give them.

/// A ClientHello in the making.
#[derive(Clone)]
pub(crate) struct Hello {
    version: u16,
    suites: Vec<u16>,
    extensions: Vec<u8>,
}

impl Hello {
    pub(crate) fn new(version: u16, suites: &[u16]) -> Self {
        Self {
            version,
            suites: suites.to_vec(),
            extensions: Vec::new(),
        }
    }

    /// As little as a client of TLS 1.3 can do.
    pub(crate) fn tls13(name: &str) -> Self {
        Self::new(0x0303, &[0x1301])
            .server_name(name.as_bytes())
            .extension(43, &list8(&[0x0304]))
            .extension(10, &list16(&[0x001d]))
            .extension(13, &list16(&[0x0403]))
            .extension(51, &shares(&[(0x001d, 32)]))
    }

    /// As Go's crypto/tls does it.
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

    /// As a browser does it: GREASE (RFC 8701) wherever it goes, an ECH extension that means
    /// nothing, compressed certificates, a post-quantum key share, padding.
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

    pub(crate) fn extension(mut self, typ: u16, body: &[u8]) -> Self {
        self.extensions.extend_from_slice(&typ.to_be_bytes());
        self.extensions.extend_from_slice(&vector16(body));
        self
    }

    pub(crate) fn server_name(self, name: &[u8]) -> Self {
        let host_name = [&[0][..], &vector16(name)].concat();
        self.extension(0, &vector16(&host_name))
    }

    pub(crate) fn alpn(self, names: &[&[u8]]) -> Self {
        let list: Vec<u8> = names.iter().flat_map(|name| vector8(name)).collect();
        self.extension(16, &vector16(&list))
    }

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
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend_from_slice(&[0x5a; 32]);
        body.extend_from_slice(&vector8(&[0xa5; 32]));
        body.extend_from_slice(&list16(&self.suites));
        body.extend_from_slice(&[1, 0]);
        if !self.extensions.is_empty() {
            body.extend_from_slice(&vector16(&self.extensions));
        }
        body
    }

    /// The handshake message.
    pub(crate) fn message(&self) -> Vec<u8> {
        message(&self.body())
    }

    /// The message in one record.
    pub(crate) fn record(&self) -> Vec<u8> {
        record(&self.body())
    }
}

/// A ClientHello of this body, in one record.
pub(crate) fn record(body: &[u8]) -> Vec<u8> {
    records(&[&message(body)])
}

/// Handshake records of these fragments.
pub(crate) fn records(fragments: &[&[u8]]) -> Vec<u8> {
    fragments
        .iter()
        .flat_map(|fragment| [&[22, 3, 1][..], &vector16(fragment)].concat())
        .collect()
}

fn message(body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1][..], &length, body].concat()
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [
        &u16::try_from(bytes.len()).unwrap().to_be_bytes()[..],
        bytes,
    ]
    .concat()
}

fn list8(numbers: &[u16]) -> Vec<u8> {
    vector8(
        &numbers
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect::<Vec<_>>(),
    )
}

fn list16(numbers: &[u16]) -> Vec<u8> {
    vector16(
        &numbers
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect::<Vec<_>>(),
    )
}

fn shares(groups: &[(u16, usize)]) -> Vec<u8> {
    let shares: Vec<u8> = groups
        .iter()
        .flat_map(|(group, len)| [&group.to_be_bytes()[..], &vector16(&vec![8; *len])].concat())
        .collect();
    vector16(&shares)
}
