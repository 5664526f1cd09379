//! Addresses of clients as text: an IPv4-mapped IPv6 address as IPv4, a link-local one with its zone.
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use nix::net::if_::if_indextoname;

/// Address without the port: `192.0.2.1`, `2001:db8::1`, `fe80::1%eth0`.
pub fn ip_text(address: SocketAddr) -> String {
    let ip = address.ip().to_canonical();
    match (ip, address) {
        // The kernel gives a zone to link-local addresses alone (RFC 4007 §11).
        (IpAddr::V6(_), SocketAddr::V6(v6)) if v6.scope_id() != 0 => {
            format!("{ip}%{}", zone(v6.scope_id()))
        }
        _ => ip.to_string(),
    }
}

/// Address and port: `192.0.2.1:443`, `[2001:db8::1]:443`, `[fe80::1%eth0]:443`.
pub fn address_text(address: SocketAddr) -> String {
    let (ip, port) = (ip_text(address), address.port());
    match ip.contains(':') {
        true => format!("[{ip}]:{port}"),
        false => format!("{ip}:{port}"),
    }
}

/// Name of the interface, or its number if it is gone or has a name that is no word.
fn zone(index: u32) -> String {
    let name = if_indextoname(index).ok();
    let name = name.and_then(|name| name.into_string().ok());
    // Empty: nix takes the null pointer, which is the error, for no error.
    let is_word = |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    let name = name.filter(is_word);
    name.unwrap_or_else(|| index.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_shown_by_name_or_by_number() {
        let text = |address: &str| address_text(address.parse().unwrap());
        for same in ["192.0.2.1:443", "[2001:db8::1]:443"] {
            assert_eq!(text(same), same);
        }
        assert_eq!(text("[::ffff:192.0.2.1]:443"), "192.0.2.1:443");
        assert_eq!(text("[fe80::1%1]:443"), "[fe80::1%lo]:443");
        let gone = "[fe80::1%4294967295]:443";
        assert_eq!(text(gone), gone);
    }
}
