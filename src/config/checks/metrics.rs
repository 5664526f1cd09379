//! `[metrics]` → where numbers about the server are given to whoever asks.
#![forbid(unsafe_code)]

use std::path::Path;

use crate::config::listener::{Address, Listener};
use crate::config::sources::addresses;
use crate::config::text::problems::Problems;
use crate::config::text::raw::RawMetrics;

/// Where metrics are asked for; `None`: nowhere, or what it says is wrong and reported.
pub(in crate::config) fn metrics(
    raw: Option<&RawMetrics>,
    base: &Path,
    listeners: &[Listener],
    problems: &mut Problems,
) -> Option<Address> {
    let listen = raw?.listen.as_ref()?;
    let (text, place) = (listen.get_ref(), listen.span());
    let address = match addresses::parse(text, base) {
        // Nothing is passed for this, and what has no colon is meant to be something else.
        Ok(Address::Systemd(_)) => Err("write HOST:PORT or unix:PATH".to_owned()),
        Err(_) if !text.contains(':') => Err("write HOST:PORT or unix:PATH".to_owned()),
        Ok(address) => Ok(address),
        Err(reason) => Err(reason.to_string()),
    };
    let address = address
        .map_err(|why| {
            problems.error(
                place.clone(),
                format!("unable to give metrics on {text:?}: {why}"),
            );
        })
        .ok()?;
    for other in listeners {
        if address.overlaps(&other.address) {
            let message = format!("listener {:?} has this address already", other.name);
            problems.error(place.clone(), message);
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
        problems.warning(place, message);
    }
    Some(address)
}
