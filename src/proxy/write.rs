//! Facts about a client → the header for a backend.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::SIGNATURE;

/// The version of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text with the addresses.
    V1,
    /// A binary header with the addresses, and facts that the handshake established.
    V2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// Facts about a client for a header of version 2; a header of version 1 has the addresses only.
pub struct About<'a> {
    /// The client's address and the address that it connected to; `None` for a Unix-domain socket.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// The negotiated protocol (`PP2_TYPE_ALPN`).
    pub alpn: Option<&'a str>,
    /// The server name (`PP2_TYPE_AUTHORITY`).
    pub authority: Option<&'a str>,
    /// The id of the connection, as in the log (`PP2_TYPE_UNIQUE_ID`).
    pub unique_id: &'a str,
    /// `TLSv1.3` (`PP2_SUBTYPE_SSL_VERSION`).
    pub version: Option<&'a str>,
    /// The IANA name of the suite (`PP2_SUBTYPE_SSL_CIPHER`).
    pub cipher: Option<&'a str>,
    /// What the client has proved about itself.
    pub proved: Proved<'a>,
}

/// What a client has proved about itself. The name becomes `PP2_SUBTYPE_SSL_CN`, which is text.
pub enum Proved<'a> {
    /// Nothing.
    Nothing,
    /// That it has the key of a certificate, which was verified.
    Certificate {
        /// The connection in which it was shown.
        shown: Shown,
        /// The common name.
        common_name: Option<&'a str>,
    },
    /// That it has the pre-shared key of this identity; `None`: the identity is not text.
    PskIdentity(Option<&'a str>),
}

/// The connection in which a client has shown its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// This connection.
    Now,
    /// The connection whose session this one resumes.
    Earlier,
}

/// The whole header: less than 1500 bytes.
pub fn header(version: Version, about: &About<'_>) -> Vec<u8> {
    match version {
        Version::V1 => version_1(about.addresses).into_bytes(),
        Version::V2 => version_2(about),
    }
}

/// §2.1.
fn version_1(addresses: Option<(SocketAddr, SocketAddr)>) -> String {
    let Some((peer, local)) = addresses.map(of_one_family) else {
        return "PROXY UNKNOWN\r\n".to_owned();
    };
    let family = if peer.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        peer.ip(),
        local.ip(),
        peer.port(),
        local.port()
    )
}

/// §2.2.
fn version_2(about: &About<'_>) -> Vec<u8> {
    let (mut family, mut block) = (0x00, Vec::with_capacity(256));
    if let Some((peer, local)) = about.addresses.map(of_one_family) {
        family = if peer.is_ipv4() { 0x11 } else { 0x21 };
        for address in [peer, local] {
            match address.ip() {
                IpAddr::V4(ip) => block.extend(ip.octets()),
                IpAddr::V6(ip) => block.extend(ip.octets()),
            }
        }
        block.extend(peer.port().to_be_bytes());
        block.extend(local.port().to_be_bytes());
    }
    let texts = [
        (ALPN, about.alpn),
        (AUTHORITY, about.authority),
        (UNIQUE_ID, Some(about.unique_id)),
    ];
    for (kind, text) in texts {
        tlv(&mut block, kind, text.map(str::as_bytes));
    }
    tlv(&mut block, SSL, Some(&ssl(about)));
    let command = 0x21; // version 2, PROXY
    let mut header = [SIGNATURE, &[command, family][..]].concat();
    header.extend(u16::try_from(block.len()).unwrap_or_default().to_be_bytes());
    header.extend(block);
    header
}

/// §2.2.6: how the client connected, whether who it is was verified (0: yes), and more of the kind.
///
/// The specification has no field for a pre-shared key. Its identity takes the place of a common name, because
/// that is where backends look for the name of a client; no flag says that there was a certificate.
fn ssl(about: &About<'_>) -> Vec<u8> {
    const CLIENT_SSL: u8 = 0x01;
    const CLIENT_CERT_CONN: u8 = 0x02;
    const CLIENT_CERT_SESS: u8 = 0x04;
    let (certificate, verify, name) = match about.proved {
        Proved::Nothing => (0, 1_u32, None),
        Proved::Certificate { shown, common_name } => match shown {
            Shown::Now => (CLIENT_CERT_CONN | CLIENT_CERT_SESS, 0, common_name),
            Shown::Earlier => (CLIENT_CERT_SESS, 0, common_name),
        },
        Proved::PskIdentity(identity) => (0, 0, identity),
    };
    let mut ssl = vec![CLIENT_SSL | certificate];
    ssl.extend(verify.to_be_bytes());
    for (kind, text) in [
        (SSL_VERSION, about.version),
        (SSL_CN, name),
        (SSL_CIPHER, about.cipher),
    ] {
        tlv(&mut ssl, kind, text.map(str::as_bytes));
    }
    ssl
}

/// §2.2.1: a type, a length and a value; nothing where there is no value, or one that is longer than any of
/// ours should be.
fn tlv(block: &mut Vec<u8>, kind: u8, value: Option<&[u8]>) {
    let Some(value) = value.filter(|value| (1..=LONGEST).contains(&value.len())) else {
        return;
    };
    block.push(kind);
    block.extend(u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
    block.extend(value);
}

/// Both addresses as IPv4 if possible, else both as IPv6.
fn of_one_family((peer, local): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let mapped = |a: SocketAddr| match a.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), a.port()),
        IpAddr::V6(_) => a,
    };
    match (canonical(peer), canonical(local)) {
        (peer, local) if peer.is_ipv4() == local.is_ipv4() => (peer, local),
        (peer, local) => (mapped(peer), mapped(local)),
    }
}

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;

/// Longest value of a TLV, in bytes: a name, or three names in one.
const LONGEST: usize = 768;

#[cfg(test)]
mod tests {
    use super::*;

    fn about(addresses: Option<(&str, &str)>) -> About<'static> {
        About {
            addresses: addresses.map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())),
            alpn: Some("h2"),
            authority: Some("a.example"),
            unique_id: "7.1",
            version: Some("TLSv1.3"),
            cipher: Some("TLS_AES_128_GCM_SHA256"),
            proved: Proved::Nothing,
        }
    }

    fn v1(peer: &str, local: &str) -> String {
        String::from_utf8(header(Version::V1, &about(Some((peer, local))))).unwrap()
    }

    #[test]
    fn version_1_has_the_addresses_of_one_family() {
        assert_eq!(
            v1("192.0.2.1:1", "198.51.100.2:993"),
            "PROXY TCP4 192.0.2.1 198.51.100.2 1 993\r\n"
        );
        assert_eq!(
            v1("[::ffff:192.0.2.1]:1", "[::ffff:198.51.100.2]:2"),
            "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n"
        );
        assert_eq!(
            v1("[2001:db8::1]:1", "[::1]:2"),
            "PROXY TCP6 2001:db8::1 ::1 1 2\r\n"
        );
        assert_eq!(
            v1("192.0.2.1:1", "[::1]:2"),
            "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"
        );
        let unknown = header(Version::V1, &about(None));
        assert_eq!(unknown, b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_has_each_field_in_a_tlv() {
        let whole = header(
            Version::V2,
            &About {
                proved: Proved::Certificate {
                    shown: Shown::Now,
                    common_name: Some("me"),
                },
                ..about(Some(("192.0.2.1:1", "192.0.2.2:2")))
            },
        );
        let expected: &[&[u8]] = &[
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x53",
            b"\xc0\0\x02\x01\xc0\0\x02\x02\0\x01\0\x02",
            b"\x01\0\x02h2\x02\0\x09a.example\x05\0\x037.1",
            b"\x20\0\x2d\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x02me\x23\0\x16TLS_AES_128_GCM_SHA256",
        ];
        let expected = expected.concat();
        assert_eq!(whole, expected, "{}", whole.escape_ascii());
        assert_eq!(header(Version::V2, &about(None))[12..14], [0x21, 0x00]);
    }
}
