//! Addresses to listen on: `HOST:PORT`, `[v6]:PORT`, `:PORT`, `*:PORT`, `unix:PATH`, `systemd:NAME`, `systemd`. A port
//! is a number, or the name of a service.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::listener::Address;
use crate::config::text::problems::cause;

/// Reason why a text is no address, for `unable to listen on "TEXT": REASON`.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) enum NoAddress {
    /// The text does not have the form of an address.
    Malformed(String),
    /// The host name cannot be resolved at present.
    Unresolved(String),
}

/// Parses an address, and resolves its host name. A path is relative to `base`.
pub(in crate::config) fn parse(text: &str, base: &Path) -> Result<Address, NoAddress> {
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
    let host = match host {
        "" | "*" => "::",
        host => host,
    };
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|e| NoAddress::Unresolved(cause(&e)))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for mut address in found {
        // A socket for an IPv4-mapped IPv6 address would have to be an IPv6 socket that accepts IPv4.
        if let IpAddr::V4(ip) = address.ip().to_canonical() {
            address.set_ip(ip.into());
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(NoAddress::Unresolved("the host has no address".into())),
        false => Ok(Address::Tcp(addresses)),
    }
}

/// Splits `HOST:PORT`, `[v6]:PORT` and `:PORT`, where PORT may be the name of a service. `None`: there is no port.
pub(in crate::config) fn host_and_port(text: &str) -> Result<Option<(&str, u16)>, NoAddress> {
    let malformed = |reason: &str| Err(NoAddress::Malformed(reason.to_owned()));
    if let Some((scheme, rest)) = text.split_once("://") {
        return malformed(&format!("it is a URL; {}", without_scheme(scheme, rest)));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Ok(None);
    };
    let Some(port) = service(port) else {
        let unknown = match port.bytes().all(|byte| byte.is_ascii_digit()) {
            true => String::new(),
            false => ", and /etc/services has no such service".to_owned(),
        };
        return malformed(&format!("no such port: {port:?}{unknown}"));
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

/// Port of this number, or of the service of this name.
fn service(port: &str) -> Option<u16> {
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        return port.parse().ok();
    }
    let services = std::fs::read_to_string("/etc/services").ok()?;
    services.lines().find_map(|line| {
        // As in "https 443/tcp www # comment" (services(5)).
        let line = line.split('#').next()?;
        let number = line.split_ascii_whitespace().nth(1)?.strip_suffix("/tcp")?;
        let mut words = line.split_ascii_whitespace().enumerate();
        let is_named = words.any(|(place, word)| place != 1 && word == port);
        number.parse().ok().filter(|_| is_named)
    })
}

/// What to write in place of a URL: its host and port.
fn without_scheme(scheme: &str, rest: &str) -> String {
    let (host, _path) = rest.split_once('/').unwrap_or((rest, ""));
    match host_and_port(host) {
        Ok(Some(_)) => format!("write {host:?}"),
        _ => match service(scheme) {
            Some(port) if !host.is_empty() => format!("write \"{host}:{port}\""),
            _ => "write HOST:PORT".to_owned(),
        },
    }
}

/// Whether systemd accepts this name for a socket: printable ASCII without a colon (systemd.socket(5),
/// `FileDescriptorName=`).
pub(in crate::config) fn is_passed_name(name: &str) -> bool {
    let valid = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    (1..=255).contains(&name.len()) && name.bytes().all(valid)
}

/// Reason why a name does not satisfy [`is_passed_name`].
pub(in crate::config) const NO_PASSED_NAME: &str =
    "the name of a passed socket is 1 to 255 printable ASCII characters, none of them a colon";

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) | Self::Unresolved(reason) => f.write_str(reason),
        }
    }
}

/// Maximum length of a path in bytes: `sun_path` has 108 bytes with the final NUL (unix(7)).
pub(in crate::config) const LONGEST_PATH: usize = 107;

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
    fn all_forms_of_an_address_are_parsed() {
        assert_eq!(tcp("192.0.2.1:993"), ["192.0.2.1:993".parse().unwrap()]);
        assert_eq!(tcp("[2001:db8::1]:0"), ["[2001:db8::1]:0".parse().unwrap()]);
        assert_eq!(tcp(":993"), ["[::]:993".parse().unwrap()]);
        for (mapped, ipv4) in [
            ("[::ffff:192.0.2.1]:993", "192.0.2.1:993"),
            ("[::ffff:0.0.0.0]:993", "0.0.0.0:993"),
        ] {
            assert_eq!(tcp(mapped), [ipv4.parse().unwrap()]);
        }
        assert_eq!(
            tcp("[fe80::1%lo]:993"),
            ["[fe80::1%1]:993".parse().unwrap()]
        );
        assert_eq!(tcp("*:993"), ["[::]:993".parse().unwrap()]);
        assert_eq!(
            parse("unix:x.sock", Path::new("/run")),
            Ok(Address::Unix("/run/x.sock".into()))
        );
        let systemd = |name: Option<&str>| Ok(Address::Systemd(name.map(str::to_owned)));
        assert_eq!(parse("systemd", Path::new("/")), systemd(None));
        assert_eq!(parse("systemd:a b", Path::new("/")), systemd(Some("a b")));
    }

    #[test]
    fn invalid_addresses_are_refused() {
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
}
