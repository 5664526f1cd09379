//! Checks `[metrics]`: the address that serves metrics.
#![forbid(unsafe_code)]

use std::path::Path;

use crate::config::listener::{Address, Listener};
use crate::config::sources::addresses;
use crate::config::text::problems::Problems;
use crate::config::text::raw::RawMetrics;

/// Address that serves metrics. `None`: metrics are not served, or there is an error, which is reported.
pub(in crate::config) fn metrics(
    raw: Option<&RawMetrics>,
    base: &Path,
    listeners: &[Listener],
    problems: &mut Problems,
) -> Option<Address> {
    let listen = raw?.listen.as_ref()?;
    let (text, span) = (listen.get_ref(), listen.span());
    let address = match addresses::parse(text, base) {
        // systemd passes no socket for metrics, and a text without a colon was not meant as HOST:PORT.
        Ok(Address::Systemd(_)) => Err("write HOST:PORT or unix:PATH".to_owned()),
        Err(_) if !text.contains(':') => Err("write HOST:PORT or unix:PATH".to_owned()),
        Ok(address) => Ok(address),
        Err(reason) => Err(reason.to_string()),
    };
    let address = address
        .map_err(|reason| {
            problems.error(
                span.clone(),
                format!("unable to give metrics on {text:?}: {reason}"),
            );
        })
        .ok()?;
    for other in listeners {
        if address.overlaps(&other.address) {
            let message = format!("listener {:?} has this address already", other.name);
            problems.error(span.clone(), message);
        }
    }
    if let Address::Tcp(addresses) = &address
        && let Some(public) = addresses
            .iter()
            .find(|a| !a.ip().to_canonical().is_loopback())
    {
        let message = format!(
            "other machines can ask for metrics on {public}, and nothing here asks who they are"
        );
        problems.warning(span, message);
    }
    Some(address)
}
