//! Checks `proxy-from`: load balancers whose PROXY headers a listener trusts.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use ipnet::IpNet;
use toml::Spanned;

use crate::config::proxy_from::ProxyFrom;
use crate::config::text::problems::Problems;
use crate::config::text::raw::RawListener;

/// Load balancers of a listener. `None`: clients connect directly.
pub(in crate::config) fn proxy_from(
    raw: &RawListener,
    problems: &mut Problems,
) -> Option<ProxyFrom> {
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

/// Parses one entry of `proxy-from`. `None`: the entry is `unix`. Errors: it is no network.
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
