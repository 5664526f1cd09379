//! An engine process, from fork to its end.
#![forbid(unsafe_code)]

use std::panic;

use nix::unistd::Pid;

use crate::engine::Engine;
use crate::message::{ToMonitor, bounded, encode};
use crate::monitor::generation::Generation;
use crate::process::{Channel, Forked, Jail, exit_now, fork_engine};
use crate::types::Severity;

/// Forks an engine; its process id, and the way to it.
///
/// Errors: those of fork(2) and socketpair(2).
pub(super) fn fork(generation: &Generation) -> nix::Result<(Pid, Channel)> {
    let (ours, theirs) = Channel::pair()?;
    match fork_engine(theirs)? {
        Forked::Engine(channel) => run(generation, channel),
        Forked::Monitor(pid) => Ok((pid, ours)),
    }
}

/// Runs an engine, and ends the process.
fn run(generation: &Generation, mut channel: Channel) -> ! {
    let jail = Jail {
        credentials: generation.config.engine_credentials.as_ref(),
    };
    let log = |what: String| {
        encode(&ToMonitor::Log {
            severity: Severity::Err,
            id: None,
            line: bounded(format!("engine {}: {what}", std::process::id())),
        })
    };
    let last_words = channel.last_words();
    panic::set_hook(Box::new(move |panic| {
        last_words(&log(panic.to_string()));
    }));
    if let Err(e) = jail.enter() {
        let _ = channel.send(log(e.to_string()), Vec::new());
        exit_now(97);
    }
    let engine = Engine {
        config: &generation.config,
        acceptors: &generation.acceptors,
        tickets: &generation.ring,
        channel,
    };
    match engine.run() {
        Ok(()) => exit_now(0),
        Err(e) => {
            last_words(&log(e.desc().to_owned()));
            exit_now(111)
        }
    }
}
