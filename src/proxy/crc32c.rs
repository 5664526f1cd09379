//! `CRC32c` (RFC 4960, appendix B), of which a PROXY header may have one.
#![forbid(unsafe_code)]

/// The polynomial 0x1EDC6F41, its bits in reverse.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The checksum of each byte.
const TABLE: [u32; 256] = table();

/// The checksum of some bytes.
pub(super) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |sum, byte| {
        let [low, ..] = sum.to_le_bytes();
        let of_byte = TABLE.get(usize::from(low ^ byte)).copied();
        of_byte.unwrap_or_default() ^ (sum >> 8)
    })
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, which refuses what is out of range"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ (POLYNOMIAL * (sum & 1));
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    /// RFC 3720 appendix B.4.
    #[test]
    fn the_examples_of_the_standard_have_their_checksums() {
        let zeros = [0; 32];
        let ones = [0xff; 32];
        let up: Vec<u8> = (0..32).collect();
        for (bytes, sum) in [
            (&zeros[..], 0x8a91_36aa),
            (&ones, 0x62a8_ab43),
            (&up, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
            (b"", 0),
        ] {
            assert_eq!(crc32c(bytes.iter().copied()), sum, "{bytes:?}");
        }
    }
}
