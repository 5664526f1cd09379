//! Addresses of the host names of backends.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::config::backends::BackendName;
use crate::config::text::problems::cause;

/// Addresses of a name. Errors: the reason why it has none.
pub type Resolved = Result<Vec<SocketAddr>, String>;

/// Source of the addresses of names when a configuration is loaded.
#[derive(Clone, Copy, Debug)]
pub enum NameLookup<'a> {
    /// The resolver of the system, which may take long.
    Wait,
    /// Results of earlier look-ups. If a name is missing here, the configuration is not loaded, and
    /// [`Refusal::unresolved`](crate::config::Refusal::unresolved) has the name.
    Done(&'a BTreeMap<BackendName, Resolved>),
}

/// Look-ups of names, and the names that are missing in them.
pub(in crate::config) struct BackendNames<'a> {
    /// Source of the addresses.
    pub(in crate::config) lookups: NameLookup<'a>,
    /// Names that [`NameLookup::Done`] lacks.
    pub(in crate::config) missing: Vec<BackendName>,
}

impl BackendNames<'_> {
    /// Addresses of a name; none if it is missing in [`NameLookup::Done`].
    pub(in crate::config) fn find(&mut self, name: &BackendName) -> Resolved {
        match self.lookups {
            NameLookup::Wait => resolve(name),
            NameLookup::Done(found) => found.get(name).cloned().unwrap_or_else(|| {
                self.missing.push(name.clone());
                Ok(Vec::new())
            }),
        }
    }
}

/// Maximum number of addresses of one name. Further addresses are ignored.
const MOST_ADDRESSES: usize = 64;

/// Resolves a name to its addresses, without duplicates. This waits for the network.
///
/// Errors: the reason why there is no address.
pub fn resolve(name: &BackendName) -> Resolved {
    let found = (name.host.as_str(), name.port)
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
