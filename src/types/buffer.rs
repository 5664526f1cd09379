//! A byte buffer that is filled at the end and emptied at the front.
#![forbid(unsafe_code)]

/// A byte buffer. Its memory is reused without being cleared.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer that holds this many bytes before it has to grow. Unused pages take no memory: the kernel
    /// provides them zeroed at the first access.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            start: 0,
            end: 0,
        }
    }

    /// The filled bytes.
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The filled bytes, mutable.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Room for at least `length` bytes after the filled ones. Bytes written there count once [`Buffer::filled_by`] is called.
    pub fn room(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < length {
            self.bytes.resize(self.end + length, 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Counts this many bytes of [`Buffer::room`] as filled.
    pub fn filled_by(&mut self, length: usize) {
        self.end = (self.end + length).min(self.bytes.len());
    }

    /// Appends a copy of `bytes`.
    pub fn append(&mut self, bytes: &[u8]) {
        let (room, _) = self.room(bytes.len()).split_at_mut(bytes.len());
        room.copy_from_slice(bytes);
        self.filled_by(bytes.len());
    }

    /// Removes this many bytes from the front. A buffer that gets empty frees its memory.
    pub fn consume_and_free(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
        if self.start == self.end {
            *self = Self::default();
        }
    }

    /// Removes all bytes, and keeps the memory.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Whether no bytes are filled.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}
