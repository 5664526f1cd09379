//! Listening sockets: bound, registered for events, kept or replaced by a reload.
#![forbid(unsafe_code)]

mod listener;

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use nix::sys::epoll::Epoll;

use crate::config::Address;
use crate::monitor::token::Token;
use crate::systemd::Passed;
use crate::types::{ListenerId, cause};
use listener::{BindAddress, Listener};

pub(super) use listener::{AcceptError, Incoming, bind_unix};

/// The listening sockets for one purpose.
pub(super) struct Listeners {
    purpose: Purpose,
    sockets: Vec<Listener>,
    /// Sockets of the service manager, whether or not the configuration listens on them now.
    passed: Vec<Rc<Passed>>,
    /// Whether the sockets are in the epoll set.
    registered: bool,
}

/// The purpose of listening sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// TLS clients.
    Clients,
    /// HTTP clients of the metrics.
    Metrics,
}

/// The sockets that a new configuration wants, bound and not yet in use.
pub(super) struct Plan(Vec<(ListenerId, Planned)>);

enum Planned {
    /// The present socket at this index stays.
    Kept(usize),
    New(Listener),
}

impl Listeners {
    /// No socket as yet; `passed`: sockets of the service manager.
    pub(super) fn new(purpose: Purpose, passed: Vec<Rc<Passed>>) -> Self {
        Self {
            purpose,
            sockets: Vec::new(),
            passed,
            registered: false,
        }
    }

    /// Whether there is no socket.
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// A line for each socket.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let sockets = self.sockets.iter();
        sockets.map(|socket| format!("{} {socket}", self.purpose))
    }

    /// Adds the sockets to the epoll set, unless they are there. Returns a line for each failure.
    pub(super) fn register(&mut self, epoll: &Epoll) -> Vec<String> {
        if std::mem::replace(&mut self.registered, true) {
            return Vec::new();
        }
        let each = self.sockets.iter().enumerate();
        let added = each.map(|(index, socket)| {
            let event = self.purpose.token(index).readable();
            (socket, epoll.add(socket, event))
        });
        self.failures(added)
    }

    /// Removes the sockets from the epoll set, unless they are not there. Returns a line for each failure.
    ///
    /// To close a socket is not enough: a socket that another process has open stays in the set.
    pub(super) fn unregister(&mut self, epoll: &Epoll) -> Vec<String> {
        if !std::mem::take(&mut self.registered) {
            return Vec::new();
        }
        let removed = self.sockets.iter();
        self.failures(removed.map(|socket| (socket, epoll.delete(socket))))
    }

    fn failures<'a>(
        &self,
        results: impl Iterator<Item = (&'a Listener, nix::Result<()>)>,
    ) -> Vec<String> {
        let failed = results.filter_map(|(socket, result)| Some((socket, result.err()?)));
        failed
            .map(|(socket, e)| match self.purpose {
                Purpose::Clients => {
                    format!("unable to wait for clients on {socket}: {}", cause(&e))
                }
                Purpose::Metrics => {
                    format!("unable to wait for who asks for metrics: {}", cause(&e))
                }
            })
            .collect()
    }

    /// Accepts a connection from the socket at an index.
    pub(super) fn accept(&self, index: usize) -> Result<(ListenerId, Incoming), AcceptError> {
        let socket = self.sockets.get(index).ok_or(AcceptError::Empty)?;
        Ok((socket.id, socket.accept()?))
    }

    /// Binds the sockets that a configuration wants; a present socket of the same address is kept.
    ///
    /// Errors: the first address that cannot be bound, and why.
    pub(super) fn plan<'a>(
        &self,
        addresses: impl Iterator<Item = &'a Address>,
    ) -> Result<Plan, String> {
        let mut plan = Vec::new();
        let mut kept = vec![false; self.sockets.len()];
        for (index, address) in addresses.enumerate() {
            let id = ListenerId::new(index);
            for address in Listener::addresses(address, &self.passed) {
                let mut present = self.sockets.iter().zip(&mut kept).enumerate();
                let same = present.find(|(_, (socket, kept))| !**kept && socket.is_at(&address));
                let planned = match same {
                    Some((present, (_, kept))) => {
                        *kept = true;
                        Planned::Kept(present)
                    }
                    None => Planned::New(Listener::bind(id, address)?),
                };
                plan.push((id, planned));
            }
        }
        Ok(Plan(plan))
    }

    /// Uses the planned sockets from now on, and closes the others. They are not in the epoll set
    /// afterwards. Returns a line for each socket that is new or closed.
    pub(super) fn adopt(&mut self, Plan(plan): Plan, epoll: &Epoll) -> Vec<String> {
        // Each is about to be registered anew, or to be closed.
        let _ = self.unregister(epoll);
        let mut present: Vec<_> = self.sockets.drain(..).map(Some).collect();
        let (purpose, mut lines) = (self.purpose, Vec::new());
        for (id, planned) in plan {
            match planned {
                Planned::Kept(index) => {
                    if let Some(mut socket) = present.get_mut(index).and_then(Option::take) {
                        socket.id = id;
                        self.sockets.push(socket);
                    }
                }
                Planned::New(socket) => {
                    lines.push(format!("{purpose} {socket}"));
                    self.sockets.push(socket);
                }
            }
        }
        let closed = present.iter().flatten();
        lines.extend(closed.map(|socket| format!("no longer {purpose} {socket}")));
        lines
    }

    /// Closes the sockets, and those of the service manager.
    pub(super) fn close(&mut self, epoll: &Epoll) {
        // The sockets are closed next, whatever this returns.
        let _ = self.unregister(epoll);
        self.sockets.clear();
        self.passed.clear();
    }
}

/// Tries whether sockets could be bound to these addresses, but for the ones that are `served`: the address, and why not.
pub(super) fn try_bind<'a>(
    addresses: impl Iterator<Item = &'a Address>,
    served: impl Fn(&str) -> bool,
) -> Vec<(Option<SocketAddr>, String)> {
    let each = addresses.flat_map(|address| Listener::addresses(address, &[]));
    let free = each.filter(|address| !served(&address.to_string()));
    let failed = free.filter_map(|address| {
        let why = Listener::try_bind(&address).err()?;
        let tcp = match address {
            BindAddress::Tcp(address) => Some(address),
            BindAddress::Unix(_) | BindAddress::Passed(_) => None,
        };
        Some((tcp, why))
    });
    failed.collect()
}

impl Purpose {
    fn token(self, index: usize) -> Token {
        match self {
            Self::Clients => Token::Listener(index),
            Self::Metrics => Token::MetricsListener(index),
        }
    }
}

/// What a socket does, for the log: it precedes an address.
impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clients => "listening on",
            Self::Metrics => "metrics at",
        })
    }
}
