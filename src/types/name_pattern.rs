//! Name patterns of virtual hosts: a server name, or a wildcard of one label.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use super::server_name::{InvalidName, ServerName};

/// A pattern that server names match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// This name.
    Exact(ServerName),
    /// Any name of one label more than this one (`*.example.com` holds `example.com`).
    Wildcard(ServerName),
}

/// Why a text is not a [`NamePattern`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidPattern {
    /// A `*` that is not the whole first label of a longer name.
    Star,
    /// Not a host name (an IP address is none, RFC 6066 §3), or not one that IDNA allows.
    Name,
}

impl NamePattern {
    /// Parses a pattern of the configuration: `example.com`, `*.example.com`, with U-labels or A-labels,
    /// in any case, with or without a trailing dot.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(base) => (true, base),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(InvalidPattern::Star);
        }
        let name = server_name(name).map_err(|_| InvalidPattern::Name)?;
        Ok(if wildcard {
            Self::Wildcard(name)
        } else {
            Self::Exact(name)
        })
    }
}

/// The name that a client sends for a name as people write it: U-labels become A-labels (UTS #46).
pub fn server_name(text: &str) -> Result<ServerName, InvalidName> {
    let ascii = match text.is_ascii() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(idna::domain_to_ascii(text).map_err(|_| InvalidName::NotDns)?),
    };
    ServerName::parse(ascii.as_bytes())
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name.as_str()),
            Self::Wildcard(base) => write!(f, "*.{}", base.as_str()),
        }
    }
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Star => "a `*` must be the whole first label, as in *.example.com",
            Self::Name => "not a host name",
        })
    }
}

impl std::error::Error for InvalidPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, InvalidPattern> {
        NamePattern::parse(text).map(|pattern| pattern.to_string())
    }

    #[test]
    fn names_lose_their_case_their_trailing_dot_and_their_u_labels() {
        assert_eq!(parsed("IMAP.Example.COM."), Ok("imap.example.com".into()));
        assert_eq!(
            parsed("b\u{fc}cher.example"),
            Ok("xn--bcher-kva.example".into())
        );
        assert_eq!(
            parsed("*.B\u{dc}CHER.example"),
            Ok("*.xn--bcher-kva.example".into())
        );
    }

    #[test]
    fn a_star_is_the_whole_first_label_or_an_error() {
        for text in [
            "*",
            "*example.com",
            "a.*.com",
            "*.*.com",
            "a*.example.com",
            "**.example.com",
        ] {
            assert_eq!(parsed(text), Err(InvalidPattern::Star), "{text}");
        }
    }

    #[test]
    fn a_name_that_no_client_can_send_is_refused() {
        for text in [
            "",
            ".",
            "*.",
            "a..b",
            "a b",
            "192.0.2.1",
            "::1",
            "b\u{fc}\u{202e}cher.example",
        ] {
            assert_eq!(parsed(text), Err(InvalidPattern::Name), "{text}");
        }
    }
}
