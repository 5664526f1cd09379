//! The addresses of the names of backends: looked up now, or from elsewhere.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::config::backends::BackendName;
use crate::config::text::problems::cause;

/// The addresses of a name, or why it has none.
pub type Resolved = Result<Vec<SocketAddr>, String>;

/// How a configuration that is loaded gets the addresses of its names.
#[derive(Clone, Copy, Debug)]
pub enum NameLookup<'a> {
    /// It looks them up, and waits.
    Wait,
    /// From here, so that nobody waits; names that are missing are said, and nothing is loaded.
    Done(&'a BTreeMap<BackendName, Resolved>),
}

/// The addresses of names, and which names lack them.
pub(in crate::config) struct BackendNames<'a> {
    pub(in crate::config) lookups: NameLookup<'a>,
    pub(in crate::config) missing: Vec<BackendName>,
}

impl BackendNames<'_> {
    pub(in crate::config) fn find(&mut self, name: &BackendName) -> Resolved {
        match self.lookups {
            NameLookup::Wait => name.resolve(),
            NameLookup::Done(found) => found.get(name).cloned().unwrap_or_else(|| {
                self.missing.push(name.clone());
                Ok(Vec::new())
            }),
        }
    }
}

/// Addresses of one name that are used; the rest are left out.
const MOST_ADDRESSES: usize = 64;

impl BackendName {
    /// The addresses that it has now, each once. This waits for the network.
    ///
    /// Errors: why there is none.
    pub fn resolve(&self) -> Resolved {
        let found = (self.host.as_str(), self.port)
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
}
