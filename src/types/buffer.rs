//! A reusable stretch of bytes, filled at the end and emptied at the front.
#![forbid(unsafe_code)]

/// Bytes between two marks in memory that is kept and never cleared in between.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer that holds this many bytes before it has to grow. Memory of which nothing is
    /// used is not there: the allocator gets it zeroed, so nobody touches it.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            start: 0,
            end: 0,
        }
    }

    /// The bytes in it.
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The bytes in it, to work on.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Room for at least `length` bytes behind the filled ones; [`Buffer::filled_by`] says how much was used.
    pub fn room(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < length {
            self.bytes.resize(self.end + length, 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// This many bytes of [`Buffer::room`] are filled now.
    pub fn filled_by(&mut self, length: usize) {
        self.end = (self.end + length).min(self.bytes.len());
    }

    /// Adds a copy of `bytes` at the end.
    pub fn append(&mut self, bytes: &[u8]) {
        let (room, _) = self.room(bytes.len()).split_at_mut(bytes.len());
        room.copy_from_slice(bytes);
        self.filled_by(bytes.len());
    }

    /// Takes this many bytes from the front; an empty buffer keeps no memory.
    pub fn consume_and_free(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
        if self.start == self.end {
            *self = Self::default();
        }
    }

    /// Takes all.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}
