//! `[[listen]]`: listeners and their addresses.
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::proxy_from::ProxyFrom;

/// One `[[listen]]`, or one `--listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Name for `[[host]] listen` and the log; without a `name`, the address.
    pub name: String,
    /// Address to listen on.
    pub address: Address,
    /// Treatment of clients that send a server name which no host has.
    pub unknown_name: FallbackPolicy,
    /// Treatment of clients that send no server name.
    pub missing_name: FallbackPolicy,
    /// Load balancers whose PROXY headers give the client address; `None`: clients connect directly.
    pub proxy_from: Option<ProxyFrom>,
}

impl Listener {
    /// Listener for the one connection on descriptor 0, which gives clients without a name the default host.
    pub(super) fn inetd(unknown_name: FallbackPolicy) -> Self {
        Self {
            name: "inetd".into(),
            address: Address::Inetd,
            unknown_name,
            missing_name: FallbackPolicy::Default,
            proxy_from: None,
        }
    }
}

/// Address that a listener listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, on each of these addresses. The unspecified IPv6 address also accepts IPv4.
    Tcp(Vec<SocketAddr>),
    /// A Unix-domain socket.
    Unix(PathBuf),
    /// Sockets from systemd with this name (`FileDescriptorName=`); `None`: all of them.
    Systemd(Option<String>),
    /// No address: the connection is descriptor 0.
    Inetd,
}

/// Treatment of clients that send no server name, or one that no host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackPolicy {
    /// A fatal alert: `unrecognized_name` (RFC 6066 §3), or `missing_extension` (RFC 8446 §9.2) if the
    /// client sends no name.
    Reject,
    /// The listener's default host.
    Default,
}

impl Address {
    /// Whether two listeners cannot have these two addresses at the same time.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(a), Self::Tcp(b)) => a.iter().any(|a| b.iter().any(|b| collide(*a, *b))),
            (Self::Unix(a), Self::Unix(b)) => a == b,
            (Self::Systemd(a), Self::Systemd(b)) => a.is_none() || b.is_none() || a == b,
            _ => false,
        }
    }

    /// How well this address matches a connection to `local`, from 0 (another port) to 3 (equal).
    pub(super) fn likeness(&self, local: SocketAddr) -> u8 {
        let Self::Tcp(bound) = self else {
            return 0;
        };
        let likeness = bound.iter().map(|bound| likeness(*bound, local));
        likeness.max().unwrap_or(0)
    }
}

fn likeness(bound: SocketAddr, local: SocketAddr) -> u8 {
    let (ip, local_ip) = (bound.ip().to_canonical(), local.ip().to_canonical());
    match bound.port() == local.port() {
        true if ip == local_ip && zone(bound) == zone(local) => 3,
        true if takes(ip, local_ip) => 2,
        true => 1,
        false => 0,
    }
}

/// Whether two sockets cannot be bound to these two addresses at the same time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_port = a.port() == b.port() && a.port() != 0;
    let same = a.ip() == b.ip() && zone(a) == zone(b);
    same_port && (same || takes(a.ip(), b.ip()) || takes(b.ip(), a.ip()))
}

/// The zone of a link-local address, else 0. Such an address may exist in several zones (RFC 4007 §6).
fn zone(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}

/// Whether a socket that is bound to an unspecified address also accepts connections to the other
/// address. The unspecified IPv6 address also accepts IPv4.
fn takes(unspecified: IpAddr, other: IpAddr) -> bool {
    unspecified.is_unspecified() && (unspecified.is_ipv6() || other.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str) -> Address {
        Address::Tcp(vec![address.parse().unwrap()])
    }

    #[test]
    fn an_unspecified_address_overlaps_with_all_addresses_on_its_port() {
        let overlapping = |a: &str, b: &str| tcp(a).overlaps(&tcp(b));
        assert!(overlapping("[::]:1", "127.0.0.1:1"));
        assert!(overlapping("127.0.0.1:1", "0.0.0.0:1"));
        assert!(!overlapping("0.0.0.0:1", "[::1]:1"));
        assert!(!overlapping("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!overlapping("127.0.0.1:1", "127.0.0.1:2"));
        assert!(!overlapping("127.0.0.1:0", "127.0.0.1:0"));
        assert!(overlapping("[fe80::1%1]:1", "[fe80::1%1]:1"));
        assert!(!overlapping("[fe80::1%1]:1", "[fe80::1%2]:1"));
    }

    #[test]
    fn all_systemd_sockets_overlap_with_each_named_one() {
        let overlapping = |a, b| {
            let address = |name: Option<&str>| Address::Systemd(name.map(str::to_owned));
            address(a).overlaps(&address(b))
        };
        assert!(overlapping(None, Some("a")));
        assert!(overlapping(Some("a"), Some("a")));
        assert!(!overlapping(Some("a"), Some("b")));
        assert!(!Address::Systemd(None).overlaps(&tcp("[::]:1")));
    }

    #[test]
    fn likeness_is_highest_for_the_local_address_of_the_connection() {
        let likeness = |bound: &str, local: &str| tcp(bound).likeness(local.parse().unwrap());
        assert_eq!(likeness("192.0.2.1:993", "[::ffff:192.0.2.1]:993"), 3);
        assert_eq!(likeness("[::]:993", "192.0.2.1:993"), 2);
        assert_eq!(likeness("192.0.2.2:993", "192.0.2.1:993"), 1);
        assert_eq!(likeness("192.0.2.1:993", "192.0.2.1:143"), 0);
    }
}
