//! The variables that a command gets, beside those of its user and of its host.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::net::SocketAddr;

use crate::message::Facts;
use crate::tls::names::{suite_name, version_name};
use crate::tls::psk::Identity;

/// What a command is told about its connection.
pub struct Told<'a> {
    /// Its id, as in the log.
    pub id: &'a str,
    /// The first name of its host.
    pub host: Option<&'a str>,
    /// The client's address and ours; none over a Unix-domain socket.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// The name of the remote system (`-r`).
    pub remote_name: Option<&'a str>,
    /// What the handshake found out.
    pub facts: &'a Facts,
}

/// Every variable that there may be.
pub const NAMES: [&str; 18] = [
    "PROTO",
    "TCPREMOTEIP",
    "TCPREMOTEPORT",
    "TCPREMOTEHOST",
    "TCPLOCALIP",
    "TCPLOCALPORT",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_HOST",
    "SSL_PROTOCOL",
    "SSL_CIPHER",
    "SSL_TLS_SNI",
    "SSL_TLS_SNI_SERVERNAME",
    "SSL_SESSION_RESUMED",
    "TLSSRV_ID",
    "TLSSRV_HOST",
    "TLSSRV_ALPN",
    "TLSSRV_PSK_IDENTITY",
];

/// The variables, each unset where it has no value.
pub fn variables(told: &Told<'_>) -> Vec<CString> {
    let mut variables = Vec::with_capacity(NAMES.len());
    let mut set = |name: &str, value: &str| {
        debug_assert!(NAMES.contains(&name), "{name}");
        // No value here can have a NUL: they are numbers, checked names, or the operator's arguments.
        variables.extend(CString::new(format!("{name}={value}")));
    };
    match told.addresses {
        None => set("PROTO", "UNIX"),
        Some((remote, local)) => {
            let (remote_ip, remote_port) = numeric(remote);
            let (local_ip, local_port) = numeric(local);
            set("PROTO", "TCP");
            set("TCPREMOTEIP", &remote_ip);
            set("TCPREMOTEPORT", &remote_port);
            set("TCPLOCALIP", &local_ip);
            set("TCPLOCALPORT", &local_port);
            set("REMOTE_ADDR", &remote_ip);
            set("REMOTE_PORT", &remote_port);
            set("REMOTE_HOST", &remote_ip);
        }
    }
    if let Some(name) = told.remote_name {
        set("TCPREMOTEHOST", name);
    }
    let facts = told.facts;
    if let Some(version) = facts.version.and_then(version_name) {
        set("SSL_PROTOCOL", version);
    }
    if let Some(suite) = facts.suite.and_then(suite_name) {
        set("SSL_CIPHER", &suite);
    }
    if let Some(name) = &facts.server_name {
        set("SSL_TLS_SNI_SERVERNAME", name.as_str());
        set("SSL_TLS_SNI", name.as_str());
    }
    if let Some(resumed) = facts.resumed {
        set(
            "SSL_SESSION_RESUMED",
            if resumed { "Resumed" } else { "Initial" },
        );
    }
    set("TLSSRV_ID", told.id);
    if let Some(host) = told.host {
        set("TLSSRV_HOST", host);
    }
    if let Some(protocol) = &facts.alpn {
        set("TLSSRV_ALPN", protocol);
    }
    if let Some(identity) = facts.psk_identity.as_ref().and_then(Identity::text) {
        set("TLSSRV_PSK_IDENTITY", identity);
    }
    variables
}

/// Address and port as numbers; an IPv4 client of an IPv6 socket is an IPv4 client.
fn numeric(address: SocketAddr) -> (String, String) {
    (
        address.ip().to_canonical().to_string(),
        address.port().to_string(),
    )
}
