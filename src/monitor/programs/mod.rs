//! What gets the plaintext: commands and backends.
#![forbid(unsafe_code)]

mod backends;
mod change;
mod commands;
mod connect;
mod pool;
mod resolver;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::time::Instant;

use nix::sys::epoll::Epoll;
use nix::unistd::Pid;

use crate::config::{Config, Found, Name, Program, Role, Target};
use crate::process::LaunchError;
use crate::types::ConnectionId;
use backends::Backends;
use commands::{Commands, Launched};
use resolver::Resolver;

pub(super) use backends::{Dialled, Outcome, Request};
pub(super) use resolver::LookupResult;

/// Everything that gets the plaintext.
pub(super) struct Programs {
    commands: Commands,
    backends: Backends,
    resolver: Resolver,
}

impl Programs {
    /// The programs of a configuration. `descriptor_limit`: the limits of open descriptors that commands get;
    /// `stderr_is_connection`: whether tlssrv's own standard error is the connection.
    ///
    /// Errors: those of opening `/dev/null`.
    pub(super) fn new(
        config: &Config,
        descriptor_limit: (u64, u64),
        stderr_is_connection: bool,
        now: Instant,
    ) -> io::Result<Self> {
        Ok(Self {
            commands: Commands::new(descriptor_limit, stderr_is_connection)?,
            backends: Backends::default(),
            resolver: Resolver::of(config, now),
        })
    }

    /// Uses the names of another configuration from now on.
    pub(super) fn configure(&mut self, config: &Config, now: Instant) {
        self.resolver.replace(config, now);
    }

    /// Starts a command in a role, with these variables added to those of the role.
    ///
    /// Errors: the step that failed; nothing is left of the command then.
    pub(super) fn start(
        &mut self,
        program: &Program,
        role: &Role,
        variables: Vec<CString>,
    ) -> Result<Launched, LaunchError> {
        self.commands.start(program, role, variables)
    }

    /// Connects a client to a backend of its host.
    pub(super) fn dial(&mut self, id: ConnectionId, request: Request, epoll: &Epoll) -> Dialled {
        self.backends.dial(id, request, &self.resolver, epoll)
    }

    /// Goes on with a client whose connection to a backend is made, or has failed.
    pub(super) fn dial_ready(&mut self, id: ConnectionId, epoll: &Epoll) -> Dialled {
        self.backends.ready(id, &self.resolver, epoll)
    }

    /// Goes on with a client whose connection to a backend takes too long; `None`: there is none.
    pub(super) fn expire_dial(
        &mut self,
        epoll: &Epoll,
        now: Instant,
    ) -> Option<(ConnectionId, Dialled)> {
        self.backends.expire(&self.resolver, epoll, now)
    }

    /// Forgets a client that waits for a backend.
    pub(super) fn hang_up(&mut self, id: ConnectionId, epoll: &Epoll) {
        self.backends.hang_up(id, epoll);
    }

    /// Forgets a connection to a backend.
    pub(super) fn release(&mut self, backend: &Target) {
        self.backends.release(backend);
    }

    /// Time of the next [`Programs::expire_dial`].
    pub(super) fn dial_due(&self) -> Option<Instant> {
        self.backends.due()
    }

    /// Time of the next [`Programs::refresh_names`].
    pub(super) fn names_due(&self) -> Option<Instant> {
        self.resolver.due()
    }

    /// Ends a look-up that has taken too long, or looks up the names that are due.
    ///
    /// Errors: the process cannot be started; the old addresses stay.
    pub(super) fn refresh_names(
        &mut self,
        config: &Config,
        epoll: &Epoll,
        now: Instant,
    ) -> Result<LookupResult, LaunchError> {
        let commands = &mut self.commands;
        self.resolver.refresh(config, commands, epoll, now)
    }

    /// Reads the output of a look-up.
    pub(super) fn read_names(&mut self, epoll: &Epoll) -> LookupResult {
        self.resolver.read(epoll)
    }

    /// Whether a reload waits for names.
    pub(super) fn reload_waits(&self) -> bool {
        self.resolver.has_reload()
    }

    /// Looks up names that a reload lacks; `found` are those that it has already.
    ///
    /// Errors: the process cannot be started.
    pub(super) fn look_up_for_reload(
        &mut self,
        names: Vec<Name>,
        found: BTreeMap<Name, Found>,
        config: &Config,
        epoll: &Epoll,
    ) -> Result<(), LaunchError> {
        let commands = &mut self.commands;
        (self.resolver).look_up_for_reload(names, found, config, commands, epoll)
    }

    /// Ends a look-up, because no client will need its addresses. Returns whether a reload waited for it.
    pub(super) fn stop_lookup(&mut self, epoll: &Epoll) -> bool {
        self.resolver.stop(epoll)
    }

    /// Notes that a child process has ended, if it looked up names.
    pub(super) fn exited(&mut self, pid: Pid) {
        self.resolver.exited(pid);
    }
}
