//! Addresses of the host names of backends.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

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
    lookups: NameLookup<'a>,
    /// From this time on [`NameLookup::Wait`] waits for no further name.
    until: Instant,
    /// What was found so far: a name that several hosts have is looked up once.
    found: BTreeMap<BackendName, Resolved>,
    /// Names that [`NameLookup::Done`] lacks.
    pub(in crate::config) missing: Vec<BackendName>,
}

impl<'a> BackendNames<'a> {
    /// Names whose addresses have this source.
    pub(in crate::config) fn new(lookups: NameLookup<'a>) -> Self {
        Self {
            lookups,
            until: Instant::now() + PATIENCE,
            found: BTreeMap::new(),
            missing: Vec::new(),
        }
    }

    /// Addresses of a name; none if it is missing in [`NameLookup::Done`].
    pub(in crate::config) fn find(&mut self, name: &BackendName) -> Resolved {
        if let Some(found) = self.found.get(name) {
            return found.clone();
        }
        let found = match self.lookups {
            NameLookup::Wait if Instant::now() >= self.until => {
                Err("other names have taken too long".to_owned())
            }
            NameLookup::Wait => resolve(name),
            NameLookup::Done(found) => found.get(name).cloned().unwrap_or_else(|| {
                self.missing.push(name.clone());
                Ok(Vec::new())
            }),
        };
        self.found.insert(name.clone(), found.clone());
        found
    }
}

/// Time that all names together may take, so that a start without a name server goes on. The monitor looks up
/// the others soon.
const PATIENCE: Duration = Duration::from_secs(15);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_further_name_is_looked_up_after_others_have_taken_too_long() {
        let mut names = BackendNames::new(NameLookup::Wait);
        let host = |port| BackendName {
            host: "localhost".to_owned(),
            port,
        };
        assert!(names.find(&host(1)).is_ok());
        names.until = Instant::now();
        assert!(names.find(&host(1)).is_ok(), "it is known already");
        assert!(names.find(&host(2)).is_err());
    }
}
