//! Environment variables that describe a connection to its command.
#![forbid(unsafe_code)]

use std::ffi::CString;
use std::net::SocketAddr;

use crate::process::ip_text;
use crate::tls::names::{suite_name, version_name};
use crate::types::{ClientCertificate, HandshakeInfo, PskIdentity, Text};

/// Facts about a connection for its command.
pub struct ConnectionInfo<'a> {
    /// The id of the connection, as in the log.
    pub id: &'a str,
    /// The first name of the host.
    pub host: Option<&'a str>,
    /// Addresses of the client and of this end; `None` for a Unix-domain socket.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// The name of the remote system (`-r`).
    pub remote_name: Option<&'a str>,
    /// Facts that the handshake established.
    pub handshake: &'a HandshakeInfo,
}

/// All variables.
pub const NAMES: [&str; 28] = [
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
    "SSL_CLIENT_VERIFY",
    "SSL_CLIENT_S_DN",
    "SSL_CLIENT_I_DN",
    "SSL_CLIENT_M_SERIAL",
    "SSL_CLIENT_V_START",
    "SSL_CLIENT_V_END",
    "SSL_CLIENT_SAN_DNS_0",
    "SSL_CLIENT_CERT",
    "SSL_PEER_CERT_HASH",
    "SSL_PEER_CERT_SUBJECT",
    "TLSSRV_ID",
    "TLSSRV_HOST",
    "TLSSRV_ALPN",
    "TLSSRV_PSK_IDENTITY",
];

/// Whether tlssrv sets the variable of this name: one of [`NAMES`], or that of a further dNSName.
pub fn is_ours(name: &str) -> bool {
    let further = name.strip_prefix(SAN_DNS).is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    NAMES.contains(&name) || further
}

/// Lines for the log about variables that are left out, because a stranger chose an unsafe value.
pub fn left_out(handshake: &HandshakeInfo) -> Vec<String> {
    let mut lines = handshake
        .client
        .as_ref()
        .map_or_else(Vec::new, |client| client.left_out());
    let identity = handshake.psk_identity.as_ref();
    lines.extend(identity.filter(|identity| identity.text().is_none()).map(
        |identity| {
            format!(
                "TLSSRV_PSK_IDENTITY is left out: {identity} is not text without control characters"
            )
        },
    ));
    lines
}

/// The variables that have a value, as `NAME=value`.
pub fn variables(connection: &ConnectionInfo<'_>) -> Vec<CString> {
    let mut variables = Vec::with_capacity(NAMES.len());
    let mut set = |name: &str, value: &str| {
        debug_assert!(is_ours(name), "{name}");
        // No value here can have a NUL: they are numbers, checked names and texts, PEM, or the operator's.
        variables.extend(CString::new(format!("{name}={value}")));
    };
    match connection.addresses {
        None => set("PROTO", "UNIX"),
        Some((remote, local)) => {
            let (remote_ip, remote_port) = (ip_text(remote), remote.port().to_string());
            let (local_ip, local_port) = (ip_text(local), local.port().to_string());
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
    if let Some(name) = connection.remote_name {
        set("TCPREMOTEHOST", name);
    }
    let handshake = connection.handshake;
    if let Some(version) = handshake.version.and_then(version_name) {
        set("SSL_PROTOCOL", version);
    }
    if let Some(suite) = handshake.suite.and_then(suite_name) {
        set("SSL_CIPHER", &suite);
    }
    if let Some(name) = &handshake.server_name {
        set("SSL_TLS_SNI_SERVERNAME", name.as_str());
        set("SSL_TLS_SNI", name.as_str());
    }
    if let Some(resumed) = handshake.resumed {
        set(
            "SSL_SESSION_RESUMED",
            if resumed { "Resumed" } else { "Initial" },
        );
    }
    certificate(handshake.client.as_deref(), &mut set);
    set("TLSSRV_ID", connection.id);
    if let Some(host) = connection.host {
        set("TLSSRV_HOST", host);
    }
    if let Some(protocol) = &handshake.alpn {
        set("TLSSRV_ALPN", protocol);
    }
    if let Some(identity) = handshake.psk_identity.as_ref().and_then(PskIdentity::text) {
        set("TLSSRV_PSK_IDENTITY", identity);
    }
    variables
}

/// Sets the variables about the client's certificate, which have the names of `mod_ssl` and s6-tlsd.
fn certificate(client: Option<&ClientCertificate>, set: &mut impl FnMut(&str, &str)) {
    let Some(client) = client else {
        return set("SSL_CLIENT_VERIFY", "NONE");
    };
    set("SSL_CLIENT_VERIFY", "SUCCESS");
    let mut set_text = |name: &str, text: Option<&Text>| {
        let text = text.map(Text::as_str).filter(|text| !text.is_empty());
        if let Some(text) = text {
            set(name, text);
        }
    };
    set_text("SSL_CLIENT_S_DN", client.subject.as_ref());
    set_text("SSL_PEER_CERT_SUBJECT", client.subject.as_ref());
    set_text("SSL_CLIENT_I_DN", client.issuer.as_ref());
    set_text("SSL_CLIENT_M_SERIAL", Some(&client.serial));
    set_text("SSL_CLIENT_V_START", Some(&client.not_before));
    set_text("SSL_CLIENT_V_END", Some(&client.not_after));
    for (place, name) in client.dns_names.iter().flatten().enumerate() {
        set_text(&format!("{SAN_DNS}{place}"), Some(name));
    }
    set("SSL_PEER_CERT_HASH", &client.hash());
    if let Some(pem) = client.pem() {
        set("SSL_CLIENT_CERT", &pem);
    }
}

/// Prefix of the variables for dNSName entries; their numbers follow.
const SAN_DNS: &str = "SSL_CLIENT_SAN_DNS_";
