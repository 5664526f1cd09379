//! The test vectors of `tests/vectors`, and hexadecimal digits.

/// Bytes of hexadecimal digits.
pub fn bytes_of(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let pairs = pairs.map(|pair| std::str::from_utf8(pair).unwrap());
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// Hexadecimal digits of bytes.
pub fn digits_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value of `tls12-illustrated.txt`: a handshake of TLS 1.2 with all its secrets.
pub fn tls12_illustrated(name: &str) -> Vec<u8> {
    let text = include_str!("../../vectors/tls12-illustrated.txt");
    let values = text.lines().filter_map(|line| line.split_once(" = "));
    let (_, digits) = values
        .into_iter()
        .find(|(found, _)| *found == name)
        .unwrap();
    bytes_of(digits)
}
