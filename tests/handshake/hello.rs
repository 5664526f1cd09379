//! A ClientHello, made by hand.

/// A ClientHello, to be made wrong in one way or another.
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) name: &'static [u8],
    pub(crate) suites: &'static [u16],
    /// `supported_versions`; empty: the extension is absent.
    pub(crate) versions: &'static [u16],
    pub(crate) padding: usize,
}

impl Hello {
    /// One that a server answers with `HelloRetryRequest`: there is no key share in it.
    pub(crate) const GOOD: Self = Self {
        version: 0x0303,
        name: b"a.example",
        suites: &[0x1301],
        versions: &[0x0304],
        padding: 0,
    };

    /// The handshake message.
    fn message(&self) -> Vec<u8> {
        let words = |words: &[u16]| {
            words
                .iter()
                .flat_map(|w| w.to_be_bytes())
                .collect::<Vec<u8>>()
        };
        let mut extensions = Vec::new();
        let mut extension = |typ: u16, body: &[u8]| {
            extensions.extend(typ.to_be_bytes());
            extensions.extend(sized16(body));
        };
        let name = [&[0][..], &sized16(self.name)].concat();
        extension(0, &sized16(&name)); // server_name
        extension(10, &sized16(&words(&[0x0017, 0x001d]))); // supported_groups
        extension(13, &sized16(&words(&[0x0403, 0x0804]))); // signature_algorithms
        if !self.versions.is_empty() {
            extension(43, &sized8(&words(self.versions))); // supported_versions
            extension(51, &sized16(&[])); // key_share
        }
        if self.padding > 0 {
            extension(21, &vec![0; self.padding]);
        }
        let body = [
            &self.version.to_be_bytes()[..],
            &[7; 32],
            &sized8(&[]),
            &sized16(&words(self.suites)),
            &sized8(&[0]),
            &sized16(&extensions),
        ]
        .concat();
        handshake(&body)
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

fn sized8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

fn sized16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A message of type `client_hello`.
fn handshake(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], body].concat()
}

/// A record of type `handshake`.
pub(crate) fn record(fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &sized16(fragment)].concat()
}
