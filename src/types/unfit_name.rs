//! Names that clients ask for and no host can have.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// The beginning of a name in `server_name` (RFC 6066 §3) that is no DNS name, such as `a.example:443`: any bytes.
///
/// It is for logs alone: `Display` escapes everything but printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct UnfitName(Vec<u8>);

/// A name of more than [`UnfitName::MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverlongName;

impl UnfitName {
    /// Bytes that are kept, which is more than a DNS name can have.
    pub const MAX: usize = 255;

    /// Keeps the beginning of a name.
    pub fn cut(name: &[u8]) -> Self {
        Self(name.get(..Self::MAX).unwrap_or(name).to_vec())
    }
}

/// Checks a name again that comes in a message of another process.
impl TryFrom<Vec<u8>> for UnfitName {
    type Error = OverlongName;

    fn try_from(name: Vec<u8>) -> Result<Self, OverlongName> {
        match name.len() {
            0..=Self::MAX => Ok(Self(name)),
            _ => Err(OverlongName),
        }
    }
}

impl From<UnfitName> for Vec<u8> {
    fn from(name: UnfitName) -> Self {
        name.0
    }
}

impl fmt::Display for UnfitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Display for OverlongName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name of more than {} bytes", UnfitName::MAX)
    }
}

impl std::error::Error for OverlongName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_unprintable_bytes_are_escaped() {
        assert_eq!(
            UnfitName::cut(b"a b\n\xc3\xbc").to_string(),
            r"a b\n\xc3\xbc"
        );
        let cut = UnfitName::cut(&[b'a'; 300]);
        assert_eq!(cut.to_string(), "a".repeat(UnfitName::MAX));
        assert_eq!(UnfitName::try_from(vec![b'a'; 256]), Err(OverlongName));
    }
}
