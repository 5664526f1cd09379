//! Vectors and numbers of the presentation language (RFC 8446 §3): put together and taken apart.

/// A result whose error says what is wrong with bytes of the server.
pub type Result<T> = std::result::Result<T, String>;

/// `opaque bytes<0..2^8-1>`.
pub fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// `opaque bytes<0..2^16-1>`.
pub fn vector16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[..], bytes].concat()
}

/// Numbers of two bytes, with no length.
pub fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

/// `uint16 numbers<0..2^8-1>`.
pub fn list8(list: &[u16]) -> Vec<u8> {
    vector8(&numbers(list))
}

/// `uint16 numbers<0..2^16-1>`.
pub fn list16(list: &[u16]) -> Vec<u8> {
    vector16(&numbers(list))
}

/// A handshake message (RFC 8446 §4).
pub fn message(typ: u8, body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[typ][..], &length, body].concat()
}

/// A record as it stands on the wire (RFC 8446 §5.1).
pub fn record(typ: u8, version: u16, fragment: &[u8]) -> Vec<u8> {
    let [major, minor] = version.to_be_bytes();
    [&[typ, major, minor][..], &vector16(fragment)].concat()
}

/// Takes bytes apart from the front.
pub struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// This many bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(format!("{length} bytes of {}", self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of one byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A number of two bytes.
    pub fn u16(&mut self) -> Result<u16> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A vector with a length of one byte.
    pub fn vector8(&mut self) -> Result<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A vector with a length of two bytes.
    pub fn vector16(&mut self) -> Result<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// Nothing is left.
    pub fn end(&self) -> Result<()> {
        match self.0.len() {
            0 => Ok(()),
            n => Err(format!("{n} bytes too many")),
        }
    }

    /// Extensions: type and body, none of them twice.
    pub fn extensions(&mut self) -> Result<Vec<(u16, &'a [u8])>> {
        let mut inside = Reader(self.vector16()?);
        let mut extensions: Vec<(u16, &[u8])> = Vec::new();
        while !inside.0.is_empty() {
            let (typ, body) = (inside.u16()?, inside.vector16()?);
            if extensions.iter().any(|(other, _)| *other == typ) {
                return Err(format!("extension {typ} twice"));
            }
            extensions.push((typ, body));
        }
        Ok(extensions)
    }
}
