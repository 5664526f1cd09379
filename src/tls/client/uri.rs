//! Patterns of URIs in certificates, such as SPIFFE IDs.
#![forbid(unsafe_code)]

use std::fmt;

/// A pattern that URIs match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UriPattern {
    /// This URI, byte for byte.
    Exact(String),
    /// This URI, which ends with `/`, and one or more segments of a path.
    Below(String),
}

/// Why a text is not a [`UriPattern`]: it has a `*` that is not the last segment of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUriPattern;

impl UriPattern {
    /// Parses a pattern of the configuration: a URI, whose path may end with `/*`.
    pub fn parse(text: &str) -> Result<Self, InvalidUriPattern> {
        let Some(stem) = text.strip_suffix('*') else {
            return match text.contains('*') {
                true => Err(InvalidUriPattern),
                false => Ok(Self::Exact(text.to_owned())),
            };
        };
        let is_at_the_end_of_a_path = path(stem).is_some_and(|path| path.ends_with('/'));
        match is_at_the_end_of_a_path && !stem.contains('*') {
            true => Ok(Self::Below(stem.to_owned())),
            false => Err(InvalidUriPattern),
        }
    }

    /// Whether a URI matches. A `*` in the URI stands for itself.
    pub fn matches(&self, uri: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == uri,
            Self::Below(stem) => uri.strip_prefix(stem.as_str()).is_some_and(are_segments),
        }
    }
}

/// Whether this is one or more segments of a path, none of them empty or one that stands for another place: "."
/// and ".." (RFC 3986 §3.3).
fn are_segments(path: &str) -> bool {
    let is_segment = |segment: &str| {
        let dots = segment.replace("%2e", ".").replace("%2E", ".");
        !segment.is_empty() && dots != "." && dots != ".." && !segment.contains(['?', '#'])
    };
    path.split('/').all(is_segment)
}

/// The path of a URI (RFC 3986 §3); `None`: there is no scheme, the URI ends before its path, or it goes on behind it.
fn path(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    if scheme.is_empty() || scheme.contains(['/', '?', '#']) || rest.contains(['?', '#']) {
        return None;
    }
    match rest.strip_prefix("//") {
        None => Some(rest),
        Some(rest) => rest.find('/').and_then(|start| rest.get(start..)),
    }
}

impl fmt::Display for UriPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(uri) => f.write_str(uri),
            Self::Below(stem) => write!(f, "{stem}*"),
        }
    }
}

impl fmt::Display for InvalidUriPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a `*` must be the last segment of the path, as in spiffe://example.org/ns/*")
    }
}

impl std::error::Error for InvalidUriPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_the_last_segment_of_the_path_or_an_error() {
        for right in [
            "spiffe://example.org/*",
            "spiffe://example.org/ns/web/*",
            "https://a.example:8443/users/*",
            "urn:example/*",
            "spiffe://example.org/ns",
            "spiffe://example.org",
        ] {
            let parsed = UriPattern::parse(right).map(|pattern| pattern.to_string());
            assert_eq!(parsed.as_deref(), Ok(right));
        }
        for wrong in [
            "*",
            "/*",
            "spiffe:*",
            "spiffe://*",
            "spiffe://*/a",
            "spiffe://*.example.org/*",
            "spiffe://example.org*",
            "spiffe://example.org/a*",
            "spiffe://example.org/*a",
            "spiffe://example.org/**",
            "spiffe://example.org/*/",
            "spiffe://example.org/*/a",
            "spiffe://example.org/*/*",
            "https://a.example/?q=/*",
            "https://a.example/#/*",
            "https://a.example?/*",
        ] {
            assert_eq!(UriPattern::parse(wrong), Err(InvalidUriPattern), "{wrong}");
        }
    }

    #[test]
    fn a_star_matches_one_segment_or_more() {
        let pattern = UriPattern::parse("spiffe://example.org/ns/*").unwrap();
        for right in [
            "spiffe://example.org/ns/web",
            "spiffe://example.org/ns/web/sa/one",
            "spiffe://example.org/ns/*",
            "spiffe://example.org/ns/.hidden",
        ] {
            assert!(pattern.matches(right), "{right}");
        }
        for wrong in [
            "spiffe://example.org/ns",
            "spiffe://example.org/ns/",
            "spiffe://example.org/ns//a",
            "spiffe://example.org/ns/a/",
            "spiffe://example.org/ns/..",
            "spiffe://example.org/ns/../admin",
            "spiffe://example.org/ns/a/%2e%2E/b",
            "spiffe://example.org/ns/a?b",
            "spiffe://example.org/ns/a#b",
            "spiffe://example.org/nsx/a",
            "spiffe://example.org.evil.example/ns/a",
            "Spiffe://example.org/ns/a",
        ] {
            assert!(!pattern.matches(wrong), "{wrong}");
        }
        let exact = UriPattern::parse("spiffe://example.org/ns").unwrap();
        assert!(exact.matches("spiffe://example.org/ns"));
        assert!(!exact.matches("spiffe://example.org/ns/web"));
    }
}
