//! Where to listen: `HOST:PORT`, `[v6]:PORT`, `:PORT`, `unix:PATH`, `systemd:NAME`, `systemd`.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Address;
use super::problem::cause;

/// Why text is no address: the reason, for `unable to listen on "TEXT": REASON`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAddress {
    /// It isn't written as an address.
    Malformed(String),
    /// Its host has no address at present.
    Unresolved(String),
}

/// The address that text says; a host name is looked up now, a path is relative to `base`.
pub(super) fn parse(text: &str, base: &Path) -> Result<Address, NoAddress> {
    let malformed = |reason: &str| Err(NoAddress::Malformed(reason.to_owned()));
    if let Some(path) = text.strip_prefix("unix:") {
        let path = base.join(path);
        return match path.as_os_str().as_bytes().len() {
            _ if text == "unix:" => malformed("no path"),
            length if length > LONGEST_PATH => malformed(&format!(
                "the path has {length} bytes, {LONGEST_PATH} is the most"
            )),
            _ => Ok(Address::Unix(path)),
        };
    }

    if text == "systemd" {
        return Ok(Address::Systemd(None));
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        return match is_passed_name(name) {
            true => Ok(Address::Systemd(Some(name.to_owned()))),
            false => malformed(NO_PASSED_NAME),
        };
    }
    let Some((host, port)) = host_and_port(text)? else {
        return malformed("no port; write HOST:PORT, :PORT, unix:PATH or systemd:NAME");
    };
    let host = if host.is_empty() { "::" } else { host };
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|e| NoAddress::Unresolved(cause(&e)))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(NoAddress::Unresolved("the host has no address".into())),
        false => Ok(Address::Tcp(addresses)),
    }
}

/// The parts of `HOST:PORT`, `[v6]:PORT` and `:PORT`; `None`: there is no port.
pub(super) fn host_and_port(text: &str) -> Result<Option<(&str, u16)>, NoAddress> {
    let malformed = |reason: &str| Err(NoAddress::Malformed(reason.to_owned()));
    let Some((host, port)) = text.rsplit_once(':') else {
        return Ok(None);
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let Some(port) = port.parse::<u16>().ok().filter(|_| digits) else {
        return malformed(&format!("no such port: {port:?}"));
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match bracketed {
        Some(address) if address.contains(':') => address,
        None if !host.contains([':', '[', ']']) => host,
        _ => return malformed("write an IPv6 address as [ADDRESS]:PORT"),
    };
    Ok(Some((host, port)))
}

/// Whether systemd could call a socket so: what is printable ASCII, without a colon (systemd.socket(5),
/// `FileDescriptorName=`).
pub(super) fn is_passed_name(name: &str) -> bool {
    let valid = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    (1..=255).contains(&name.len()) && name.bytes().all(valid)
}

/// Why not.
pub(super) const NO_PASSED_NAME: &str =
    "the name of a passed socket is 1 to 255 printable ASCII characters, none of them a colon";

/// Whether only one of two addresses can be listened on at a time.
pub(super) fn overlap(a: &Address, b: &Address) -> bool {
    match (a, b) {
        (Address::Tcp(a), Address::Tcp(b)) => a.iter().any(|a| b.iter().any(|b| collide(*a, *b))),
        (Address::Unix(a), Address::Unix(b)) => a == b,
        (Address::Systemd(a), Address::Systemd(b)) => a.is_none() || b.is_none() || a == b,
        _ => false,
    }
}

/// How well a socket that is bound to `bound` explains a connection to `local`; 0: not at all.
pub(super) fn likeness(bound: SocketAddr, local: SocketAddr) -> u8 {
    let (ip, local_ip) = (bound.ip().to_canonical(), local.ip().to_canonical());
    match bound.port() == local.port() {
        true if ip == local_ip => 3,
        true if takes(ip, local_ip) => 2,
        true => 1,
        false => 0,
    }
}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) | Self::Unresolved(reason) => f.write_str(reason),
        }
    }
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_port = a.port() == b.port() && a.port() != 0;
    same_port && (a.ip() == b.ip() || takes(a.ip(), b.ip()) || takes(b.ip(), a.ip()))
}

/// Whether a socket on an unspecified address gets what is sent to this one; that of IPv6 takes
/// IPv4 too.
fn takes(unspecified: IpAddr, other: IpAddr) -> bool {
    unspecified.is_unspecified() && (unspecified.is_ipv6() || other.is_ipv4())
}

/// `sun_path` has 108 bytes, the last one a NUL (unix(7)).
pub(super) const LONGEST_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Vec<SocketAddr> {
        match parse(text, Path::new("/")) {
            Ok(Address::Tcp(addresses)) => addresses,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_way_to_write_an_address_is_understood() {
        assert_eq!(tcp("192.0.2.1:993"), ["192.0.2.1:993".parse().unwrap()]);
        assert_eq!(tcp("[2001:db8::1]:0"), ["[2001:db8::1]:0".parse().unwrap()]);
        assert_eq!(tcp(":993"), ["[::]:993".parse().unwrap()]);
        assert_eq!(
            parse("unix:x.sock", Path::new("/run")),
            Ok(Address::Unix("/run/x.sock".into()))
        );
        let systemd = |name: Option<&str>| Ok(Address::Systemd(name.map(str::to_owned)));
        assert_eq!(parse("systemd", Path::new("/")), systemd(None));
        assert_eq!(parse("systemd:a b", Path::new("/")), systemd(Some("a b")));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "993",
            "localhost",
            "h:",
            "h:+1",
            "h:65536",
            "::1:993",
            "[::1]",
            "[h]:1",
            "systemd:",
            "systemd:a:1",
            "systemd:\u{e9}",
            "unix:",
        ] {
            assert!(parse(text, Path::new("/")).is_err(), "{text}");
        }
        assert!(parse(&format!("unix:/{}", "x".repeat(107)), Path::new("/")).is_err());
    }

    #[test]
    fn an_unspecified_address_overlaps_with_every_other_on_its_port() {
        let overlapping = |a: &str, b: &str| overlap(&Address::Tcp(tcp(a)), &Address::Tcp(tcp(b)));
        assert!(overlapping("[::]:1", "127.0.0.1:1"));
        assert!(overlapping("127.0.0.1:1", "0.0.0.0:1"));
        assert!(!overlapping("0.0.0.0:1", "[::1]:1"));
        assert!(!overlapping("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!overlapping("127.0.0.1:1", "127.0.0.1:2"));
        assert!(!overlapping("127.0.0.1:0", "127.0.0.1:0"));
    }

    #[test]
    fn a_passed_socket_is_served_once() {
        let overlapping = |a: &str, b: &str| {
            let address = |text| parse(text, Path::new("/")).unwrap();
            overlap(&address(a), &address(b))
        };
        assert!(overlapping("systemd", "systemd:a"));
        assert!(overlapping("systemd:a", "systemd:a"));
        assert!(!overlapping("systemd:a", "systemd:b"));
        assert!(!overlapping("systemd", "[::]:1"));
    }

    #[test]
    fn a_connection_is_most_like_the_socket_on_its_own_address() {
        let likeness = |bound: &str, local: &str| likeness(tcp(bound)[0], tcp(local)[0]);
        assert_eq!(likeness("192.0.2.1:993", "[::ffff:192.0.2.1]:993"), 3);
        assert_eq!(likeness("[::]:993", "192.0.2.1:993"), 2);
        assert_eq!(likeness("192.0.2.2:993", "192.0.2.1:993"), 1);
        assert_eq!(likeness("192.0.2.1:993", "192.0.2.1:143"), 0);
    }
}
