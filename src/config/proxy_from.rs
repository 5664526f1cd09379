//! `proxy-from`: load balancers whose PROXY headers a listener trusts.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// Load balancers of a listener, whose connections begin with a PROXY header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyFrom {
    /// Networks of the load balancers.
    pub(super) networks: Vec<IpNet>,
    /// Whether peers on a Unix-domain socket are load balancers.
    pub(super) unix: bool,
}

impl ProxyFrom {
    /// Whether a peer is a load balancer; `None`: the peer is on a Unix-domain socket.
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
