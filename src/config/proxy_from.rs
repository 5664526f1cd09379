//! Whom a listener believes who its clients are: `proxy-from`.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use toml::Spanned;

use super::problem::Problems;
use super::raw::RawListener;

/// The load balancers of a listener whose connections begin with a PROXY header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyFrom {
    networks: Vec<IpNet>,
    /// Whoever connects to a Unix-domain socket.
    unix: bool,
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

/// The load balancers of a listener; `None`: its clients come by themselves, or something is wrong, which is
/// reported.
pub(super) fn proxy_from(raw: &RawListener, problems: &mut Problems) -> Option<ProxyFrom> {
    let expected = raw.proxy_protocol.as_ref();
    let (true, Some(from)) = (*expected?.get_ref(), raw.proxy_from.as_ref()) else {
        return None;
    };
    if from.get_ref().is_empty() {
        let message = "nobody could connect: name the networks of the load balancers";
        problems.error(from.span(), message);
    }
    let mut proxy_from = ProxyFrom {
        networks: Vec::new(),
        unix: false,
    };
    for text in from.get_ref() {
        match network(text) {
            Ok(None) => proxy_from.unix = true,
            Ok(Some(network)) => {
                if network != network.trunc() {
                    let message = format!("{network} is taken as {}", network.trunc());
                    problems.warning(text.span(), message);
                }
                proxy_from.networks.push(network.trunc());
            }
            Err(reason) => {
                let message = format!("unable to take {:?} as a network: {reason}", text.get_ref());
                problems.error(text.span(), message);
            }
        }
    }
    Some(proxy_from)
}

/// `unix` is `None`.
fn network(text: &Spanned<String>) -> Result<Option<IpNet>, &'static str> {
    let text = text.get_ref();
    if text == "unix" {
        return Ok(None);
    }
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse::<IpNet>().or_else(|_| address());
    match network.map_err(|_| "write ADDRESS, ADDRESS/BITS or unix")? {
        IpNet::V6(network) if network.addr().to_ipv4_mapped().is_some() => {
            Err("write an IPv4 network as such")
        }
        network => Ok(Some(network)),
    }
}
