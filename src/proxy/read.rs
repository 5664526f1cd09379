//! First bytes of a connection → the addresses of the client, as the load balancer tells them.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::SIGNATURE;
use super::crc32c::crc32c;

/// Longest header of version 1, in bytes, its CRLF included (§2.1).
pub const MAX_V1: usize = 107;
/// Longest header of version 2 that is accepted, in bytes. The standard has no limit below 64 KiB; real headers
/// have less than 4 KiB, including a client's certificate.
pub const MAX_V2: usize = 16 * 1024;

/// The content of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// No addresses (`UNKNOWN`, `LOCAL`, a client of a Unix-domain socket): those of the connection hold.
    Own,
    /// The client's address, and the address that the client connected to.
    Proxied(SocketAddr, SocketAddr),
}

/// Progress of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The header is not complete.
    NeedMore,
    /// The header and its length in bytes; the bytes of the client follow it.
    Complete(Header, usize),
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The first bytes are not those of a header.
    Missing,
    /// The header is longer than [`MAX_V1`] or [`MAX_V2`].
    TooLong,
    /// This part of the header is invalid.
    Invalid(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no PROXY header"),
            Self::TooLong => f.write_str("the PROXY header is too long"),
            Self::Invalid(what) => write!(f, "the PROXY header has no valid {what}"),
        }
    }
}

/// Reads a header of either version from all bytes that have come so far.
///
/// Errors: what is wrong with the header. More bytes do not change that.
pub fn read(bytes: &[u8]) -> Result<Progress, Malformed> {
    match (begins(bytes, V1), begins(bytes, SIGNATURE)) {
        (Begins::Wholly, _) => version_1(bytes),
        (_, Begins::Wholly) => version_2(bytes),
        (Begins::No, Begins::No) => Err(Malformed::Missing),
        _ => Ok(Progress::NeedMore),
    }
}

const V1: &[u8] = b"PROXY ";

enum Begins {
    No,
    SoFar,
    Wholly,
}

fn begins(bytes: &[u8], with: &[u8]) -> Begins {
    match bytes {
        bytes if bytes.starts_with(with) => Begins::Wholly,
        bytes if with.starts_with(bytes) => Begins::SoFar,
        _ => Begins::No,
    }
}

/// §2.1: one line, `PROXY TCP4 SOURCE DESTINATION PORT PORT` or `PROXY UNKNOWN …`, and CRLF.
fn version_1(bytes: &[u8]) -> Result<Progress, Malformed> {
    let front = bytes.get(..MAX_V1).unwrap_or(bytes);
    let Some(end) = front.iter().position(|byte| *byte == b'\n') else {
        return match front.len() < MAX_V1 {
            true => Ok(Progress::NeedMore),
            false => Err(Malformed::TooLong),
        };
    };
    let line = front.get(V1.len()..end).unwrap_or_default();
    let line = line
        .strip_suffix(b"\r")
        .ok_or(Malformed::Invalid("end of line"))?;
    let complete = |header| Ok(Progress::Complete(header, end + 1));
    // §2.1: "the receiver must ignore anything presented before the CRLF is found".
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return complete(Header::Own);
    }
    let line = str::from_utf8(line).map_err(|_| Malformed::Invalid("addresses"))?;
    let words: Vec<&str> = line.split(' ').collect();
    let &[family, source, destination, source_port, destination_port] = words.as_slice() else {
        return Err(Malformed::Invalid("addresses"));
    };
    let address = |text| match family {
        "TCP4" => ip::<Ipv4Addr>(text),
        "TCP6" => ip::<Ipv6Addr>(text),
        _ => Err(Malformed::Invalid("protocol")),
    };
    complete(Header::Proxied(
        SocketAddr::new(address(source)?, port(source_port)?),
        SocketAddr::new(address(destination)?, port(destination_port)?),
    ))
}

fn ip<T: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Malformed> {
    let address = text.parse::<T>();
    address
        .map(Into::into)
        .map_err(|_| Malformed::Invalid("addresses"))
}

/// Digits and nothing else: [`u16::from_str`] would take `+80` and `00080`.
fn port(text: &str) -> Result<u16, Malformed> {
    let port = text.parse::<u16>().ok();
    port.filter(|port| port.to_string() == text)
        .ok_or(Malformed::Invalid("ports"))
}

/// §2.2: the signature, version and command, family and protocol, a length, and so many bytes.
fn version_2(bytes: &[u8]) -> Result<Progress, Malformed> {
    let rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    let [command, rest @ ..] = rest else {
        return Ok(Progress::NeedMore);
    };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        0x22..=0x2f => return Err(Malformed::Invalid("command")),
        _ => return Err(Malformed::Invalid("version")),
    };
    let [family, rest @ ..] = rest else {
        return Ok(Progress::NeedMore);
    };
    let least = match family {
        // §2.2: with LOCAL the receiver "must […] discard the protocol block including the family which is
        // ignored".
        _ if is_local => 0,
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        _ => return Err(Malformed::Invalid("protocol")),
    };
    let [high, low, rest @ ..] = rest else {
        return Ok(Progress::NeedMore);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let whole = SIGNATURE.len() + 4 + length;
    if length < least {
        return Err(Malformed::Invalid("length"));
    }
    if whole > MAX_V2 {
        return Err(Malformed::TooLong);
    }
    let Some(block) = rest.get(..length) else {
        return Ok(Progress::NeedMore);
    };
    let header = match (is_local, family) {
        (false, 0x11) => proxied::<4>(block),
        (false, 0x21) => proxied::<16>(block),
        _ => Some(Header::Own),
    };
    let header = header.ok_or(Malformed::Invalid("length"))?;
    // Without addresses nothing says where the TLVs are, or whether there are any.
    if least > 0 {
        check_sum(
            bytes.get(..whole).unwrap_or_default(),
            whole - length + least,
        )?;
    }
    Ok(Progress::Complete(header, whole))
}

/// §2.2.3: a receiver that knows the checksum has to verify it where there is one, over the whole header with zeros in
/// its own place, and must treat the connection as an error if it differs.
///
/// The other TLVs (§2.2.1 ff.), which begin at `start`, are not looked into. They have to fill the header: a checksum
/// would be missed behind one whose length is wrong.
fn check_sum(header: &[u8], start: usize) -> Result<(), Malformed> {
    let mut at = start;
    loop {
        let (kind, high, low, value) = match header.get(at..) {
            None | Some([]) => return Ok(()),
            Some([kind, high, low, value @ ..]) => (*kind, *high, *low, value),
            Some(_) => return Err(Malformed::Invalid("TLV")),
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = value.get(..length).ok_or(Malformed::Invalid("TLV"))?;
        let place = at + 3..at + 3 + length;
        if kind == CRC32C {
            let each = header.iter().enumerate();
            let sum = crc32c(each.map(|(at, byte)| match place.contains(&at) {
                true => 0,
                false => *byte,
            }));
            if value != sum.to_be_bytes() {
                return Err(Malformed::Invalid("checksum"));
            }
        }
        at = place.end;
    }
}

/// `PP2_TYPE_CRC32C`
const CRC32C: u8 = 0x03;

/// §2.2: source and destination address, source and destination port.
fn proxied<const N: usize>(block: &[u8]) -> Option<Header>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    Some(Header::Proxied(
        SocketAddr::new((*source).into(), u16::from_be_bytes(*source_port)),
        SocketAddr::new((*destination).into(), u16::from_be_bytes(*destination_port)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(source: &str, destination: &str) -> Header {
        Header::Proxied(source.parse().unwrap(), destination.parse().unwrap())
    }

    fn whole(bytes: &[u8]) -> Header {
        match read(bytes) {
            Ok(Progress::Complete(header, length)) if length == bytes.len() => header,
            other => panic!("{}: {other:?}", bytes.escape_ascii()),
        }
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, block].concat()
    }

    #[test]
    fn both_versions_carry_the_address_of_the_client() {
        let v4 = addresses("192.0.2.1:65535", "198.51.100.2:0");
        assert_eq!(whole(b"PROXY TCP4 192.0.2.1 198.51.100.2 65535 0\r\n"), v4);
        let block = b"\xc0\0\x02\x01\xc6\x33\x64\x02\xff\xff\0\0";
        assert_eq!(whole(&v2(0x21, 0x11, block)), v4);
        let v6 = addresses("[2001:db8::1]:1", "[2001:db8::2]:2");
        assert_eq!(whole(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"), v6);
    }

    #[test]
    fn a_header_without_addresses_keeps_those_of_the_connection() {
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ffff::1 junk \xff\r\n".to_vec(),
            v2(0x20, 0x00, b""),
            v2(0x20, 0xff, b"junk"),
            v2(0x21, 0x00, b"junk"),
            v2(0x21, 0x31, &[0; 216]),
        ] {
            assert_eq!(whole(&header), Header::Own);
        }
    }

    #[test]
    fn anything_but_a_complete_header_is_malformed() {
        for bytes in [
            &b"\x16\x03\x01"[..],
            b"PROXYxTCP4 ",
            b"proxy TCP4 ",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY \r\n",
            &v2(0x11, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x12, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x21, &[0; 35]),
            &v2(0x21, 0x31, &[0; 215]),
        ] {
            assert!(read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    /// A header for IPv4 that has a TLV with these bytes, and then its checksum.
    fn with_checksum(before: &[u8]) -> Vec<u8> {
        let first = [&[0xea, 0, u8::try_from(before.len()).unwrap()], before].concat();
        let block = [&[9; 12], first.as_slice(), &[CRC32C, 0, 4, 0, 0, 0, 0]].concat();
        let mut header = v2(0x21, 0x11, &block);
        let sum = crc32c(header.iter().copied()).to_be_bytes();
        let at = header.len() - 4;
        header[at..].copy_from_slice(&sum);
        header
    }

    #[test]
    fn a_checksum_has_to_be_right_wherever_it_stands() {
        for before in [&b""[..], b"x", &[0; 200]] {
            let header = with_checksum(before);
            assert_eq!(whole(&header), addresses("9.9.9.9:2313", "9.9.9.9:2313"));
            // Whichever part it is that is found to be wrong. Where the checksum is called something else, there is none.
            let kind = header.len() - 7;
            for at in (16..header.len()).filter(|at| *at != kind) {
                let mut header = header.clone();
                header[at] ^= 0x10;
                assert!(read(&header).is_err(), "byte {at} of {before:?}");
            }
            let mut header = header;
            *header.last_mut().unwrap() ^= 1;
            assert_eq!(read(&header), Err(Malformed::Invalid("checksum")));
        }
    }

    #[test]
    fn a_tlv_that_does_not_fit_is_malformed() {
        for rest in [
            &[7][..],
            &[7, 0],
            &[7, 0, 1],
            &[7, 0, 0, 7, 0xff, 0xff],
            &[CRC32C, 0, 3, 0, 0, 0],
        ] {
            let header = v2(0x21, 0x11, &[&[7; 12], rest].concat());
            assert!(read(&header).is_err(), "{rest:?}");
        }
        // Without addresses there is no place where TLVs begin.
        assert_eq!(whole(&v2(0x20, 0x11, &[7; 40])), Header::Own);
    }

    #[test]
    fn the_result_does_not_depend_on_the_fragmentation() {
        for header in [
            b"PROXY TCP4 192.0.2.1 198.51.100.2 65535 0\r\n".to_vec(),
            b"PROXY UNKNOWN\r\n".to_vec(),
            v2(0x21, 0x11, &[&[7; 12][..], &[7, 0, 25], &[7; 25]].concat()),
            v2(0x21, 0x21, &[7; 36]),
            with_checksum(&[]),
            v2(0x20, 0x00, b""),
        ] {
            for end in 0..header.len() {
                let front = &header[..end];
                assert_eq!(
                    read(front),
                    Ok(Progress::NeedMore),
                    "{}",
                    front.escape_ascii()
                );
            }
            let alone = read(&header);
            for after in [&b"\n"[..], b"\x16\x03\x01", &header] {
                assert_eq!(read(&[&header, after].concat()), alone);
            }
        }
    }

    #[test]
    fn a_header_has_a_maximum_length() {
        let line = |length: usize| {
            let mut line = b"PROXY UNKNOWN ".to_vec();
            line.resize(length - 2, b'x');
            [line.as_slice(), b"\r\n"].concat()
        };
        assert_eq!(whole(&line(MAX_V1)), Header::Own);
        assert_eq!(read(&line(MAX_V1 + 1)), Err(Malformed::TooLong));
        assert_eq!(whole(&v2(0x20, 0, &vec![0; MAX_V2 - 16])), Header::Own);
        let header = v2(0x20, 0, &vec![0; MAX_V2 - 15]);
        assert_eq!(read(&header[..16]), Err(Malformed::TooLong));
    }
}
