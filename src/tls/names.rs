//! Names of versions, suites and groups in log and variables.
#![forbid(unsafe_code)]

use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

use super::psk;

/// A protocol version as `mod_ssl` and s6-tlsd spell it.
pub fn version_name(version: u16) -> Option<&'static str> {
    match ProtocolVersion::from(version) {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// A cipher suite as IANA spells it.
pub fn suite_name(suite: u16) -> Option<String> {
    if let Some(name) = psk::suite_name(suite) {
        return Some(name.to_owned());
    }
    let name = CipherSuite::from(suite);
    // rustls begins the suites of TLS 1.3 with `TLS13_`, IANA with `TLS_`.
    Some(name.as_str()?.replacen("TLS13_", "TLS_", 1))
}

/// A group as IANA spells it.
pub fn group_name(group: u16) -> Option<&'static str> {
    NamedGroup::from(group).as_str()
}
