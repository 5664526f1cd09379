//! Reads and writes the presentation language of TLS: numbers and length-prefixed vectors (RFC 8446 §3).
#![forbid(unsafe_code)]

/// The unread rest of a message. Each method returns `None` if the message ends too early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The whole rest.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// `opaque bytes[len]`
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    /// `opaque array[N]`
    pub(crate) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(array)
    }

    /// `uint8`
    pub(crate) fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// `uint16`
    pub(crate) fn u16(&mut self) -> Option<u16> {
        let (&bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(bytes))
    }

    /// A vector whose length is a `uint8`: `<0..2^8-1>`.
    pub(crate) fn vector8(&mut self) -> Option<Self> {
        let len = self.u8()?;
        self.bytes(len.into()).map(Self)
    }

    /// A vector whose length is a `uint16`: `<0..2^16-1>`.
    pub(crate) fn vector16(&mut self) -> Option<Self> {
        let len = self.u16()?;
        self.bytes(len.into()).map(Self)
    }

    /// The reader itself; `None` if it is empty: for vectors of `<1..…>`.
    pub(crate) fn non_empty(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    /// `None` unless everything has been read.
    pub(crate) fn end(self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

/// Writes a vector whose length is a `uint8`. `write` appends its content to `out`, at most 2^8-1 bytes.
pub(crate) fn vector8(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    vector::<1>(out, write);
}

/// Writes a vector whose length is a `uint16`. `write` appends its content to `out`, at most 2^16-1 bytes.
pub(crate) fn vector16(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    vector::<2>(out, write);
}

/// Writes a vector whose length is a `uint24`. `write` appends its content to `out`, at most 2^24-1 bytes.
pub(crate) fn vector24(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    vector::<3>(out, write);
}

fn vector<const LENGTH: usize>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    write(out);
    let length = out.len() - start - LENGTH;
    debug_assert!(length >> (8 * LENGTH) == 0, "a vector that is too long");
    if let (Some(field), Some(bytes)) = (
        out.get_mut(start..start + LENGTH),
        length.to_be_bytes().last_chunk::<LENGTH>(),
    ) {
        field.copy_from_slice(bytes);
    }
}
