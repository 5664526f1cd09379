//! What gets the plaintext: commands and backends.
#![forbid(unsafe_code)]

mod backends;
mod commands;
mod connect;
mod pool;
mod resolver;
mod state_log;

use std::ffi::CString;
use std::io;
use std::time::Instant;

use nix::sys::epoll::Epoll;
use nix::unistd::Pid;

use crate::config::{BackendAddress, BackendName, Config, Destination, Role};
use crate::log::Logger;
use crate::process::LaunchError;
use crate::types::{ConnectionId, Program, Severity};
use backends::{Backends, Context};
use commands::{Commands, Launched};
use resolver::Resolver;

pub(super) use backends::{Outcome, Request};
pub(super) use resolver::ForReload;

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

    /// Connects a client to a backend of its host. `None`: the client waits.
    pub(super) fn dial(
        &mut self,
        id: ConnectionId,
        request: Request,
        epoll: &Epoll,
        logger: &mut Logger,
    ) -> Option<Outcome> {
        let (backends, mut context) = self.backends(epoll, logger, Instant::now());
        backends.dial(id, request, &mut context)
    }

    /// Goes on with a client whose connection to a backend is made, or has failed. `None`: the client waits.
    pub(super) fn dial_ready(
        &mut self,
        id: ConnectionId,
        epoll: &Epoll,
        logger: &mut Logger,
    ) -> Option<Outcome> {
        let (backends, mut context) = self.backends(epoll, logger, Instant::now());
        backends.ready(id, &mut context)
    }

    /// The next client whose connection to a backend takes too long, and what becomes of it.
    pub(super) fn expire_dial(
        &mut self,
        epoll: &Epoll,
        logger: &mut Logger,
        now: Instant,
    ) -> Option<(ConnectionId, Option<Outcome>)> {
        let (backends, mut context) = self.backends(epoll, logger, now);
        backends.expire(&mut context)
    }

    fn backends<'a>(
        &'a mut self,
        epoll: &'a Epoll,
        logger: &'a mut Logger,
        now: Instant,
    ) -> (&'a mut Backends, Context<'a>) {
        let resolver = &self.resolver;
        let context = Context {
            resolver,
            epoll,
            logger,
            now,
        };
        (&mut self.backends, context)
    }

    /// Forgets a client that waits for a backend.
    pub(super) fn hang_up(&mut self, id: ConnectionId, epoll: &Epoll) {
        self.backends.hang_up(id, epoll);
    }

    /// Forgets a connection to a backend.
    pub(super) fn release(&mut self, backend: &BackendAddress) {
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

    /// Each name of a backend, and the number of its addresses. Without one, the backend is away.
    pub(super) fn names(&self) -> impl Iterator<Item = (&BackendName, usize)> {
        self.resolver.names()
    }

    /// Whether a host of a configuration has a command, or a backend with an address.
    pub(super) fn can_serve(&self, config: &Config) -> bool {
        config.hosts.iter().any(|host| match &host.destination {
            Destination::Command { .. } => true,
            Destination::Backends(backends) => !self.resolver.targets(backends).is_empty(),
        })
    }

    /// Ends a look-up that has taken too long, or looks up the names that are due. Returns the names that a
    /// reload has waited for.
    pub(super) fn refresh_names(
        &mut self,
        config: &Config,
        epoll: &Epoll,
        logger: &mut Logger,
        now: Instant,
    ) -> Option<ForReload> {
        let commands = &mut self.commands;
        let refreshed = self.resolver.refresh(config, commands, epoll, logger, now);
        refreshed.unwrap_or_else(|e| {
            let line = format!("unable to look names up: {e}; the old addresses stay");
            logger.say(Severity::Err, &line);
            None
        })
    }

    /// Reads the output of a look-up; the names that a reload has waited for.
    pub(super) fn read_names(&mut self, epoll: &Epoll, logger: &mut Logger) -> Option<ForReload> {
        self.resolver.read(epoll, logger)
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
        names: Vec<BackendName>,
        found: ForReload,
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
