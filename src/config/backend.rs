//! Where the clients of a host are connected to that has no command: `connect`.
//!
//! A name is resolved now, and by the monitor again and again; what is found now is what holds until then.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::OnTruncation;
use super::address::{LONGEST_PATH, host_and_port};
use super::problem::{Problems, cause};
use super::raw::RawHost;
use super::table::{FromToml, Table, wrong_type};
use crate::proxy::Version;

/// The backends of a host; a client gets one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backends {
    /// In the order of the file; never empty.
    pub each: Vec<Backend>,
    /// How long each may take to accept a connection.
    pub timeout: Duration,
    /// How often names are resolved; `None`: never again.
    pub resolve: Option<Duration>,
    /// The header that each connection begins with.
    pub proxy: Option<Version>,
}

/// One `HOST:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// An address.
    At(Target),
    /// A name, and the addresses that it had when the configuration was loaded; at least one.
    Named(Name, Vec<SocketAddr>),
}

/// What can be connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix-domain socket.
    Unix(PathBuf),
}

/// A host's name, and a port there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// What getaddrinfo(3) is asked for.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The addresses of a name, or why it has none.
pub type Found = Result<Vec<SocketAddr>, String>;

/// How a configuration that is loaded gets the addresses of its names.
#[derive(Clone, Copy, Debug)]
pub enum Lookups<'a> {
    /// It looks them up, and waits.
    Wait,
    /// From here, so that nobody waits; names that are missing are said, and nothing is loaded.
    Done(&'a BTreeMap<Name, Found>),
}

/// The addresses of names, and which names lack them.
pub(super) struct Names<'a> {
    pub(super) lookups: Lookups<'a>,
    pub(super) missing: Vec<Name>,
}

impl Names<'_> {
    fn find(&mut self, name: &Name) -> Found {
        match self.lookups {
            Lookups::Wait => name.resolve(),
            Lookups::Done(found) => found.get(name).cloned().unwrap_or_else(|| {
                self.missing.push(name.clone());
                Ok(Vec::new())
            }),
        }
    }
}

/// Addresses of one name that are used; the rest are left out.
const MOST_ADDRESSES: usize = 64;

impl Name {
    /// The addresses that it has now, each once. This waits for the network.
    ///
    /// Errors: why there is none.
    pub fn resolve(&self) -> Found {
        let found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|e| cause(&e))?;
        let mut addresses = Vec::new();
        for address in found {
            if addresses.len() < MOST_ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        match addresses.is_empty() {
            true => Err("the host has no address".to_owned()),
            false => Ok(addresses),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(target) => target.fmt(f),
            Self::Named(name, addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "{name} ({})", addresses.join(", "))
            }
        }
    }
}

/// `"HOST:PORT"`, or several.
pub(super) struct RawConnect(Vec<Spanned<String>>);

impl FromToml for RawConnect {
    const ONE: &'static str = "a string or an array of strings";
    const MANY: &'static str = "an array of arrays";

    fn from_toml(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => Spanned::from_toml(value, problems).map(|one| Self(vec![one])),
            DeValue::Array(_) => Vec::from_toml(value, problems).map(Self),
            _ => wrong_type(value, Self::ONE, problems),
        }
    }
}

/// Reports what a host lacks, or has too much of, to answer its clients by a command or by backends.
pub(super) fn answers(table: &Table<'_>, problems: &mut Problems) {
    match (table.has("command"), table.place_of("connect")) {
        (false, None) => table.lacks("\"command\" or \"connect\"", problems),
        (true, Some(place)) => problems.error(place, "\"connect\" contradicts \"command\""),
        _ => {}
    }
    for key in ["connect-timeout", "resolve", "proxy-protocol"] {
        table.belongs(key, "connect", problems);
    }
    for key in OF_COMMANDS.into_iter().filter(|_| table.has("connect")) {
        if let Some(place) = table.place_of(key) {
            let message = format!("{key:?} contradicts \"connect\": no command is started");
            problems.error(place, message);
        }
    }
}

/// What only a command has.
const OF_COMMANDS: [&str; 12] = [
    "run-as",
    "user",
    "group",
    "groups",
    "allow-root",
    "directory",
    "env",
    "pass-env",
    "umask",
    "rlimits",
    "stdio",
    "stderr",
];

/// The backends of a host that has them; `None`: something is wrong with them, which is reported.
pub(super) fn backends(
    raw: &RawHost,
    connect: &Spanned<RawConnect>,
    base: &Path,
    names: &mut Names<'_>,
    problems: &mut Problems,
) -> Option<Backends> {
    let RawConnect(texts) = connect.get_ref();
    if texts.is_empty() {
        problems.error(connect.span(), "no backend: a host needs one");
    }
    let timeout = raw.connect_timeout.as_ref();
    if let Some(zero) = timeout.filter(|timeout| timeout.get_ref().is_zero()) {
        problems.error(zero.span(), "out of range: it must be longer than 0s");
    }
    let mut each = Some(Vec::new());
    for text in texts {
        match backend(text.get_ref(), base, names) {
            Ok(Backend::At(Target::Unix(_))) if raw.on_truncation == Some(OnTruncation::Kill) => {
                let message = "on-truncation = \"kill\" resets connections to backends, and those over a \
                     Unix-domain socket cannot be";
                problems.error(text.span(), message);
            }
            Ok(backend) if each.iter().flatten().any(|other| *other == backend) => {
                problems.error(text.span(), "the host has this backend already");
            }
            Ok(backend) => each.iter_mut().for_each(|each| each.push(backend.clone())),
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

/// Errors: why text is no backend, or one without an address.
fn backend(text: &str, base: &Path, names: &mut Names<'_>) -> Result<Backend, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = base.join(path);
        return match path.as_os_str().as_bytes().len() {
            _ if text == "unix:" => Err("no path".to_owned()),
            length if length > LONGEST_PATH => Err(format!(
                "the path has {length} bytes, {LONGEST_PATH} is the most"
            )),
            _ => Ok(Backend::At(Target::Unix(path))),
        };
    }
    let (host, port) = match host_and_port(text).map_err(|e| e.to_string())? {
        None => return Err("no port; write HOST:PORT or unix:PATH".to_owned()),
        Some(("", _)) => return Err("no host; write HOST:PORT or unix:PATH".to_owned()),
        Some((_, 0)) => return Err("no such port: \"0\"".to_owned()),
        Some(host_and_port) => host_and_port,
    };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Backend::At(Target::Tcp(SocketAddr::new(ip, port))));
    }
    // It is going to be an argument, and a word of a line.
    if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("no such host".to_owned());
    }
    let host = host.to_owned();
    let name = Name { host, port };
    let addresses = names.find(&name)?;
    Ok(Backend::Named(name, addresses))
}

/// How long a backend may take to accept where nobody says it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often names are resolved where nobody says it.
const RESOLVE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Backend, String> {
        let mut names = Names {
            lookups: Lookups::Wait,
            missing: Vec::new(),
        };
        backend(text, Path::new("/etc"), &mut names)
    }

    #[test]
    fn every_way_to_write_a_backend_is_understood() {
        let tcp = |text: &str| Ok(Backend::At(Target::Tcp(text.parse().unwrap())));
        assert_eq!(parse("192.0.2.1:80"), tcp("192.0.2.1:80"));
        assert_eq!(parse("[2001:db8::1]:80"), tcp("[2001:db8::1]:80"));
        assert_eq!(
            parse("unix:x.sock"),
            Ok(Backend::At(Target::Unix("/etc/x.sock".into())))
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
    fn what_is_no_backend_is_refused() {
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
            "systemd:x",
            "unix:",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
