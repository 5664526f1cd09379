//! A TLS server: it decrypts connections, and gives each one to a plaintext program.
//!
//! The modules, from the highest to the lowest (`ARCHITECTURE.md` has the rules of their imports):
//!
//! - [`cli`]: the command line;
//! - [`control`]: requests to a running server;
//! - [`monitor`]: the privileged process: listeners, engines, commands, the log;
//! - [`engine`]: the unprivileged process that serves TLS, and relays between clients and programs;
//! - [`reporter`]: the unprivileged process that serves metrics over HTTP;
//! - [`resolve`]: the process that looks up the names of backends;
//! - [`message`]: messages between monitor and engine;
//! - [`mod@log`]: the log;
//! - [`config`]: the configuration, from text to checked values;
//! - [`environment`]: environment variables of a command;
//! - [`tls`]: TLS sessions, without descriptors and processes;
//! - [`startup_report`]: messages to the operator before the log is open;
//! - [`systemd`]: sockets from systemd, notifications to it, and the journal;
//! - [`mod@proxy`]: the PROXY protocol, without sockets;
//! - [`process`]: processes, privileges and descriptors: the only module with `unsafe`;
//! - [`types`]: types that several modules share.
//!
//! Invariants:
//!
//! - The monitor parses no bytes of a client. An engine opens no file, starts no process and creates no socket.
//! - A secret is in memory that is wiped, and never in an argument, an environment, a log line or a core dump.
//! - A command gets descriptors 0, 1 and 2 and no others, default signal dispositions, an empty signal mask and a
//!   new environment.
//! - No client can end the monitor, leak a descriptor, leave a zombie, or fill the log without limit.
//! - A byte that is read from one side is written to the other, or the connection is reported as broken.
//! - Every process has one thread.

use std::ffi::OsString;
use std::io::{self, Write};

pub use exit::Exit;

use cli::{Load, Request, Task};
use config::{ConfigSource, Form, Loaded, Problems};
use monitor::LoadArguments;
use startup_report::stderr_is_the_connection;
use systemd::{Notifier, Systemd};
use types::Severity;

pub mod cli;
pub mod config;
pub mod control;
pub mod engine;
pub mod environment;
mod exit;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod log;
pub mod message;
pub mod monitor;
pub mod process;
pub mod proxy;
pub mod reporter;
pub mod resolve;
pub mod startup_report;
pub mod systemd;
pub mod tls;
pub mod types;

/// Carries out a command line. The first argument is the name of the program.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let mut args = args.into_iter().peekable();
    if resolve::is_resolver(args.peek()) {
        return resolve::run(args.skip(1));
    }
    if log::is_writer(args.peek()) {
        return log::run(args.skip(1));
    }
    match cli::parse(args) {
        Ok(Request::Load(request)) => load(*request),
        Ok(Request::Reload(table)) => control::reload(&table),
        Ok(Request::Status(table)) => match control::status(&table) {
            Ok(text) => print(&text),
            Err(exit) => exit,
        },
        Ok(Request::Completions(shell)) => print(&cli::completions(shell)),
        Err(error) => print_usage(&error),
    }
}

/// Loads a configuration, and serves with it, checks it or explains it.
fn load(request: Load) -> Exit {
    let Load {
        task,
        source,
        form,
        mut options,
    } = request;
    // Sockets and notifications of the service manager are for a server, not for a check.
    let systemd = matches!(task, Task::Run).then(Systemd::take);
    let (sockets, notifier) = match (systemd, form) {
        (Some(systemd), Form::Server) => match systemd.sockets {
            Ok(sockets) => {
                options.passed = Some(sockets.iter().map(|socket| socket.name.clone()).collect());
                (sockets, systemd.notifier)
            }
            Err(why) => {
                startup_report::report(Severity::Err, &format!("tlssrv: {why}"));
                return Exit::CannotStart;
            }
        },
        _ => (Vec::new(), Notifier::default()),
    };
    let loaded = match config::load(&source, form, &options) {
        Ok(loaded) => loaded,
        Err(refusal) => {
            report(&refusal.problems, Severity::Notice);
            return match task {
                Task::Run => refusal.exit,
                Task::Check | Task::Explain { .. } => Exit::BadConfiguration,
            };
        }
    };
    // inetd starts tlssrv for each connection, and a notice would be repeated for each of them.
    let lowest = match (&task, form) {
        (Task::Run, Form::OneConnection) => Severity::Warning,
        (Task::Run, _) => loaded.config.log.level,
        _ => Severity::Notice,
    };
    report(&loaded.problems, lowest);
    match (task, form) {
        (Task::Check, _) => check(&loaded, &source),
        (Task::Explain { name, offered }, _) => print(&loaded.explain(name.as_ref(), &offered)),
        (Task::Run, Form::Server) => {
            let arguments = LoadArguments { source, options };
            monitor::serve(loaded.config, arguments, sockets, notifier)
        }
        (Task::Run, Form::OneConnection) => monitor::inetd(loaded.config),
    }
}

/// Reports what would keep a start from serving, or prints a summary.
fn check(loaded: &Loaded, source: &ConfigSource) -> Exit {
    let table = match source {
        ConfigSource::File(table) => Some(table.as_path()),
        ConfigSource::CommandLine(_) => None,
    };
    let mut exit = None;
    for (severity, why) in monitor::check(&loaded.config, table) {
        let text = match severity {
            Severity::Err => format!("tlssrv: {why}"),
            _ => format!("tlssrv: warning: {why}"),
        };
        startup_report::report(severity, &text);
        if severity == Severity::Err {
            exit = Some(Exit::CannotStart);
        }
    }
    exit.unwrap_or_else(|| print(&format!("{}\n", loaded.summary())))
}

/// Prints the help, the version, or the error of a command line.
fn print_usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return print(&error.render().to_string());
    }
    match stderr_is_the_connection() {
        true => startup_report::report(Severity::Err, &error.render().to_string()),
        // In colour on a terminal.
        false => drop(error.print()),
    }
    Exit::Usage
}

/// Reports the problems of a configuration that are at least as severe as `mildest`.
fn report(problems: &Problems, mildest: Severity) {
    for (severity, text) in problems.reports() {
        if severity <= mildest {
            startup_report::report(severity, &text);
        }
    }
}

/// Prints text to standard output.
fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Success,
        Err(_) => Exit::System,
    }
}
