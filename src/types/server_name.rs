//! Server names: DNS names as SNI carries them.
#![forbid(unsafe_code)]

use std::borrow::Borrow;
use std::fmt;

use rustls::pki_types;
use serde::{Deserialize, Serialize};

/// A DNS host name in A-labels: lower case, without a trailing dot (RFC 6066 §3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName(String);

/// Why bytes are not a [`ServerName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidName {
    /// An IPv4 or IPv6 address. "Literal IPv4 and IPv6 addresses are not permitted in `HostName`"
    /// (RFC 6066 §3). A client that sends one is treated as if it had sent no name.
    IpAddress,
    /// Anything else that is not a DNS name.
    NotDns,
}

impl ServerName {
    /// Parses a DNS name: 1 to 253 bytes, labels of 1 to 63 letters, digits, `-` and `_`, no label
    /// that starts or ends with `-`, a last label that is not a number. The case and one trailing
    /// dot are dropped.
    ///
    /// The rules are those of rustls, by its own function: a name that routes a connection here
    /// is one that rustls then sees too, and the other way round.
    ///
    /// ```
    /// use tlssrv::types::{InvalidName, ServerName};
    ///
    /// let name = ServerName::parse(b"IMAP.Example.com.")?;
    /// assert_eq!(name.as_str(), "imap.example.com");
    /// assert_eq!(ServerName::parse(b"192.0.2.7"), Err(InvalidName::IpAddress));
    /// # Ok::<(), InvalidName>(())
    /// ```
    pub fn parse(name: &[u8]) -> Result<Self, InvalidName> {
        match pki_types::ServerName::try_from(name) {
            Ok(pki_types::ServerName::DnsName(name)) => {
                let name = name.as_ref();
                Ok(Self(
                    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase(),
                ))
            }
            Ok(pki_types::ServerName::IpAddress(_)) => Err(InvalidName::IpAddress),
            _ => Err(InvalidName::NotDns),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its first label, for which the `*` of a wildcard stands.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_label, parent)| parent)
    }
}

/// Makes tables of names searchable by a [`ServerName::parent`].
impl Borrow<str> for ServerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Checks a name again that comes in a message of another process.
impl TryFrom<String> for ServerName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::parse(name.as_bytes())
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IpAddress => "an IP address, not a DNS name",
            Self::NotDns => "not a DNS name",
        })
    }
}

impl std::error::Error for InvalidName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_one_trailing_dot_are_dropped() {
        for name in ["example.com", "EXAMPLE.Com", "example.com."] {
            assert_eq!(
                ServerName::parse(name.as_bytes()).unwrap().as_str(),
                "example.com"
            );
        }
    }

    #[test]
    fn dns_names_are_taken() {
        let longest_label = "a".repeat(63);
        let longest = format!("{0}.{0}.{0}.{1}", longest_label, "b".repeat(61));
        assert_eq!(longest.len(), 253);
        for name in [
            "a",
            "localhost",
            "_dmarc.example",
            "a-b.c_d.3com",
            "1.2.3.example",
            "xn--bcher-kva.example",
            &longest_label,
            &longest,
        ] {
            assert_eq!(
                ServerName::parse(name.as_bytes()).unwrap().to_string(),
                name
            );
        }
    }

    #[test]
    fn texts_that_are_not_dns_names_are_refused() {
        let long_label = "a".repeat(64);
        let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(62));
        for name in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "-a",
            "a-",
            "a-.b",
            "a b",
            "a/b",
            "*.example.com",
            "a\0",
            "bücher.example",
            "example.1",
            "1.2.3.4.",
            "[::1]",
            &long_label,
            &long,
        ] {
            assert_eq!(
                ServerName::parse(name.as_bytes()),
                Err(InvalidName::NotDns),
                "{name:?}"
            );
        }
        assert_eq!(ServerName::parse(b"\xff.example"), Err(InvalidName::NotDns));
    }

    #[test]
    fn ip_addresses_are_refused_as_such() {
        for name in ["127.0.0.1", "::1", "2001:db8::1"] {
            assert_eq!(
                ServerName::parse(name.as_bytes()),
                Err(InvalidName::IpAddress)
            );
        }
    }

    #[test]
    fn a_parent_has_one_label_less() {
        let parent = |name: &str| {
            ServerName::parse(name.as_bytes())
                .unwrap()
                .parent()
                .map(str::to_owned)
        };
        assert_eq!(parent("a.b.example"), Some("b.example".to_owned()));
        assert_eq!(parent("localhost."), None);
    }

    #[test]
    fn a_table_of_names_can_be_asked_with_a_parent() {
        let table = std::collections::HashSet::from([ServerName::parse(b"example.com").unwrap()]);
        let name = ServerName::parse(b"www.example.com").unwrap();
        assert!(table.contains(name.parent().unwrap()));
    }
}
