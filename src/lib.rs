//! tlssrv answers TLS connections and gives each one to a plaintext program.
//!
//! The rooms, in reading order:
//!
//! - [`cli`]: the command line, as one struct, and what it asks for;
//! - [`startup_report`]: messages to the operator before the log is open;
//! - [`config`]: text → checked values; every error with file, line and the line itself;
//! - [`tls`]: bytes → session; no descriptors, no processes;
//! - [`mod@proxy`]: the PROXY protocol, read and written; no sockets;
//! - [`message`]: what monitor and engine say to each other;
//! - [`monitor`]: the privileged side: listeners, engines, commands, the log;
//! - [`engine`]: the unprivileged side: TLS and the relay, nothing else;
//! - [`resolve`]: a process of its own that looks up the names of backends;
//! - [`reporter`]: metrics over HTTP, without privileges either;
//! - [`systemd`]: what systemd gives to a service, and what a service tells it;
//! - [`process`]: fork, exec, privileges, descriptors: the only room with `unsafe`;
//! - [`environment`]: the variables that a command gets;
//! - [`log`]: one line per fact, to syslog, stderr or a file.
//!
//! What always holds:
//!
//! - The monitor never parses what a stranger sent. An engine never opens a file, starts a process
//!   or creates a socket.
//! - A secret is in zeroizing memory, never in an argument, an environment, a log line or a core dump.
//! - A command sees descriptors 0, 1, 2 and no others, default signal dispositions, an empty signal
//!   mask and an environment made from nothing.
//! - Nothing that a stranger can do ends the monitor, leaks a descriptor, leaves a zombie, or fills
//!   the log without bound.
//! - A byte read from one side is written to the other, or the connection is reported as broken.
//! - Every process has one thread.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

pub use exit::Exit;

use cli::{Load, Request, Task};
use config::{Form, Problems};
use monitor::{LoadArguments, Question};
use startup_report::stderr_is_the_connection;
use systemd::{Notifier, Systemd};
use types::Severity;

pub mod cli;
pub mod config;
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

/// Does what the arguments say, the first being our own name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Exit {
    let mut args = args.into_iter().peekable();
    if resolve::is_resolver(args.peek()) {
        return resolve::run(args.skip(1));
    }
    let load = match cli::parse(args) {
        Ok(Request::Load(load)) => *load,
        Ok(Request::Reload(table)) => return reload(&table),
        Ok(Request::Status(table)) => return status(&table),
        Ok(Request::Completions(shell)) => return answer(&cli::completions(shell)),
        Err(error) => return answer_or_complain(&error),
    };
    let Load {
        task,
        source,
        form,
        mut options,
    } = load;
    // What is only to be checked may be run by another manager, or by none.
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
    // inetd starts us for each connection; what holds for all of them is not worth a line of each.
    let each_connection = matches!((&task, form), (Task::Run, Form::OneConnection));
    let lowest = if each_connection {
        Severity::Warning
    } else {
        Severity::Notice
    };
    report(&loaded.problems, lowest);
    match task {
        Task::Check => answer(&format!("{}\n", loaded.summary())),
        Task::Explain { name, offered } => answer(&loaded.explain(name.as_ref(), &offered)),
        Task::Run => match form {
            Form::Server => monitor::serve(
                loaded.config,
                LoadArguments { source, options },
                sockets,
                notifier,
            ),
            Form::OneConnection => monitor::inetd(loaded.config),
        },
    }
}

/// Prints clap's help and version, and what it thinks of any other command line.
fn answer_or_complain(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        return answer(&error.render().to_string());
    }
    match stderr_is_the_connection() {
        true => startup_report::report(Severity::Err, &error.render().to_string()),
        // In colour, where that can be seen.
        false => drop(error.print()),
    }
    Exit::Usage
}

/// Tells the operator everything that is as bad as `lowest`, or worse.
fn report(problems: &Problems, lowest: Severity) {
    for (severity, text) in problems.reports() {
        if severity <= lowest {
            startup_report::report(severity, &text);
        }
    }
}

/// Has the server that has this table read it anew.
fn reload(table: &Path) -> Exit {
    match monitor::ask(table, Question::Reload) {
        Ok((answer, done)) => {
            startup_report::report(Severity::Notice, answer.trim_end());
            match done {
                true => Exit::Success,
                false => Exit::BadConfiguration,
            }
        }
        Err(e) => not_asked("reload", table, &e),
    }
}

/// Prints how the server goes that has this table.
fn status(table: &Path) -> Exit {
    match monitor::ask(table, Question::Status) {
        Ok((text, _)) => answer(&text),
        Err(e) => not_asked("ask the server of", table, &e),
    }
}

/// Says why a server could not be asked.
fn not_asked(what: &str, table: &Path, e: &io::Error) -> Exit {
    let why = match e {
        e if e.kind() == io::ErrorKind::ConnectionRefused => {
            "no server of root's or of yours has this table".to_owned()
        }
        // It has hung up.
        e if e.kind() == io::ErrorKind::UnexpectedEof => {
            "only root, and the user who runs the server, may ask it".to_owned()
        }
        e => e.to_string(),
    };
    let table = table.display();
    startup_report::report(
        Severity::Err,
        &format!("tlssrv: unable to {what} {table}: {why}"),
    );
    Exit::CannotStart
}

/// Writes what was asked for to standard output.
fn answer(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Success,
        Err(_) => Exit::System,
    }
}
