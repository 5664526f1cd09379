//! `proxy-from`: the load balancers whose PROXY headers a listener believes.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// The load balancers of a listener whose connections begin with a PROXY header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyFrom {
    pub(super) networks: Vec<IpNet>,
    /// Whoever connects to a Unix-domain socket.
    pub(super) unix: bool,
}

impl ProxyFrom {
    /// Whether a peer is one of them; without an address it has come over a Unix-domain socket.
    pub fn contains(&self, peer: Option<IpAddr>) -> bool {
        match peer.map(|peer| peer.to_canonical()) {
            Some(peer) => self.networks.iter().any(|network| network.contains(&peer)),
            None => self.unix,
        }
    }
}

impl fmt::Display for ProxyFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.networks.iter().map(ToString::to_string);
        let words: Vec<String> = networks
            .chain(self.unix.then(|| "unix".to_owned()))
            .collect();
        f.write_str(&words.join(", "))
    }
}
