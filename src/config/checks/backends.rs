//! Checks `connect`: backends of a host without a command.
//!
//! Names are resolved when the configuration is loaded. The monitor resolves them again later.
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use crate::config::backends::{Backend, BackendAddress, BackendName, Backends};
use crate::config::host::OnTruncation;
use crate::config::sources::addresses::{LONGEST_PATH, host_and_port};
use crate::config::sources::names::BackendNames;
use crate::config::text::problems::Problems;
use crate::config::text::raw_host::RawHost;
use crate::config::text::reader::OneOrMore;

/// Checks the backends of a host. `None`: there is an error, which is reported.
pub(in crate::config) fn backends(
    raw: &RawHost,
    connect: &Spanned<OneOrMore>,
    base: &Path,
    names: &mut BackendNames<'_>,
    problems: &mut Problems,
) -> Option<Backends> {
    let OneOrMore(texts) = connect.get_ref();
    if texts.is_empty() {
        problems.error(connect.span(), "no backend: a host needs one");
    }
    let timeout = raw.connect_timeout.as_ref();
    if let Some(timeout) = timeout.filter(|timeout| timeout.get_ref().is_zero()) {
        problems.error(timeout.span(), "out of range: it must be longer than 0s");
    }
    let mut each = Some(Vec::new());
    for text in texts {
        match backend(text.get_ref(), base, names) {
            Ok(Backend::At(BackendAddress::Unix(_)))
                if raw.on_truncation == Some(OnTruncation::Kill) =>
            {
                let message = "on-truncation = \"kill\" resets connections to backends, and those over a \
                     Unix-domain socket cannot be";
                problems.error(text.span(), message);
            }
            Ok(backend) if each.iter().flatten().any(|other| *other == backend) => {
                problems.error(text.span(), "the host has this backend already");
            }
            Ok(backend) => {
                if let Backend::Named(name, _) = &backend
                    && let Err(reason) = names.find(name)
                {
                    let message = format!(
                        "unable to look up {:?}: {reason}; the backend is away until that works",
                        name.host
                    );
                    problems.warning(text.span(), message);
                }
                if let Some(each) = &mut each {
                    each.push(backend);
                }
            }
            Err(reason) => {
                let message = format!("unable to connect to {:?}: {reason}", text.get_ref());
                problems.error(text.span(), message);
                each = None;
            }
        }
    }
    Some(Backends {
        each: each?,
        timeout: timeout.map_or(TIMEOUT, |timeout| *timeout.get_ref()),
        resolve: Some(raw.resolve.unwrap_or(RESOLVE)).filter(|every| !every.is_zero()),
        proxy: raw.proxy_protocol,
    })
}

/// Parses one backend and looks up its name. A name that does not resolve has no address. Errors: the text
/// is no backend.
fn backend(text: &str, base: &Path, names: &mut BackendNames<'_>) -> Result<Backend, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = base.join(path);
        return match path.as_os_str().as_bytes().len() {
            _ if text == "unix:" => Err("no path".to_owned()),
            length if length > LONGEST_PATH => Err(format!(
                "the path has {length} bytes, {LONGEST_PATH} is the most"
            )),
            _ => Ok(Backend::At(BackendAddress::Unix(path))),
        };
    }
    let (host, port) = match host_and_port(text).map_err(|e| e.to_string())? {
        None => return Err("no port; write HOST:PORT or unix:PATH".to_owned()),
        Some(("" | "*", _)) => return Err("no host; write HOST:PORT or unix:PATH".to_owned()),
        Some((_, 0)) => return Err("no such port: \"0\"".to_owned()),
        Some(host_and_port) => host_and_port,
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Backend::At(BackendAddress::Tcp(SocketAddr::new(ip, port))));
    }
    let name = match is_address(host) || is_host_name(host) {
        true => host.to_owned(),
        false => return Err("no such host".to_owned()),
    };
    let name = BackendName { host: name, port };
    match names.find(&name) {
        Err(reason) if is_address(host) => Err(reason),
        found => Ok(Backend::Named(name, found.unwrap_or_default())),
    }
}

/// Whether a text is meant as an address: it has a colon (an IPv6 address with a zone), or ends in a number. It
/// resolves now or never.
fn is_address(host: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    let last = host.trim_end_matches('.').rsplit('.').next();
    let is_number = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
    !host.contains(odd) && (host.contains(':') || last.is_some_and(is_number))
}

/// Whether a text can be a host name: labels of letters, digits, hyphens and, as in names of containers,
/// underscores (RFC 1123 §2.1), or of other scripts. The name becomes an argument of a process and a word in
/// a line, where a space would split it.
fn is_host_name(host: &str) -> bool {
    let fits = |c: char| match c.is_ascii() {
        true => c.is_ascii_alphanumeric() || c == '-' || c == '_',
        false => !c.is_whitespace() && !c.is_control(),
    };
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(fits);
    let labels = host.strip_suffix('.').unwrap_or(host);
    labels.len() <= 253 && labels.split('.').all(is_label)
}

/// Default of `connect-timeout`.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Default of `resolve`.
const RESOLVE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Backend, String> {
        let mut names = BackendNames::new(crate::config::NameLookup::Wait);
        backend(text, Path::new("/etc"), &mut names)
    }

    #[test]
    fn all_forms_of_a_backend_are_parsed() {
        let tcp = |text: &str| Ok(Backend::At(BackendAddress::Tcp(text.parse().unwrap())));
        assert_eq!(parse("192.0.2.1:80"), tcp("192.0.2.1:80"));
        assert_eq!(parse("[2001:db8::1]:80"), tcp("[2001:db8::1]:80"));
        assert_eq!(
            parse("unix:x.sock"),
            Ok(Backend::At(BackendAddress::Unix("/etc/x.sock".into())))
        );
        match parse("localhost:80") {
            Ok(Backend::Named(name, addresses)) => {
                assert_eq!(name.to_string(), "localhost:80");
                assert!(addresses.iter().all(|a| a.ip().is_loopback()));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_that_does_not_resolve_is_a_backend_without_an_address() {
        for host in ["no-such-host.invalid", "no_such_container.invalid."] {
            let (name, port) = (host.to_owned(), 80);
            let name = BackendName { host: name, port };
            let expected = Ok(Backend::Named(name, Vec::new()));
            assert_eq!(parse(&format!("{host}:80")), expected);
        }
    }

    #[test]
    fn invalid_backends_are_refused() {
        for text in [
            "",
            "80",
            ":80",
            "localhost",
            "localhost:0",
            "localhost:65536",
            "::1:80",
            "[::1]",
            "a b:80",
            "a/b:80",
            "a..b:80",
            ".:80",
            "-=:80",
            "10.0.0.256:80",
            "[fe80::1%nowhere]:80",
            "systemd:x",
            "unix:",
            "*:80",
            "http://localhost:80",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("{}:80", "a".repeat(64))).is_err());
    }
}
