//! The test vectors of `tests/vectors/`, by name.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "the files are ours")]

/// Reads one line `name = hex` of such a file.
pub(super) fn hex(file: &str, name: &str) -> Vec<u8> {
    let mut lines = file.lines().filter_map(|line| line.split_once(" = "));
    let (_, digits) = lines.find(|(key, _)| *key == name).unwrap();
    base16ct::lower::decode_vec(digits).unwrap()
}

#[cfg(test)]
pub(super) const RFC8448: &str = include_str!("../../../tests/vectors/rfc8448.txt");
#[cfg(test)]
pub(super) const ILLUSTRATED: &str = include_str!("../../../tests/vectors/tls12-illustrated.txt");
pub(super) const OPENSSL: &str = include_str!("../../../tests/vectors/openssl-psk-hello.txt");
