//! Where the records of TLS begin and end (RFC 8446 §5.1).
#![forbid(unsafe_code)]

/// Bytes at the front of `records` that are whole records. Bytes that cannot be a record header count as one, so
/// that rustls sees them and answers.
pub(super) fn whole_records(records: &[u8]) -> usize {
    let mut whole = 0;
    while let Some(length) = record_length(records.get(whole..).unwrap_or_default()) {
        whole += length;
    }
    whole
}

/// Bytes of the record at the front of `records`; `None`: it is not whole.
pub(super) fn record_length(records: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, payload @ ..] = records else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    match length {
        0..=MAX_CIPHERTEXT => (length <= payload.len()).then_some(5 + length),
        _ => Some(records.len()),
    }
}

/// The longest ciphertext record that a peer may send (RFC 5246 §6.2.3).
const MAX_CIPHERTEXT: usize = (1 << 14) + 2048;
