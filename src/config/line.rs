//! A command line without a file → the same configuration, with one default host.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::account::{Accounts, Invoker};
use super::address::{self, NoAddress};
use super::certificate::Certificates;
use super::credentials::Person;
use super::files::Named;
use super::host::Origin;
use super::hosts::{Hosts, Table};
use super::problem::Problems;
use super::program::{self, NoProgram, PathVariable};
use super::{Config, Form, Host, Limits, Listener, Loaded, Log, LogFormat, LogTo, Nameless};
use super::{
    OnTruncation, Options, Pattern, Program, Refusal, Role, RunAs, Stderr, Stdio, credentials,
    default_engines,
};
use crate::Exit;
use crate::tls::identity::Identity;

/// What a command line without a file says.
pub struct CommandLine {
    /// Where to listen; empty: the connection is descriptor 0.
    pub listen: Vec<String>,
    /// What the server proves itself by.
    pub identities: Identities,
    /// The command and its arguments; never empty.
    pub command: Vec<OsString>,
}

/// What a server proves itself by.
pub enum Identities {
    /// Certificate files, each with the file of its key where that is another one.
    Files(Vec<(PathBuf, Option<PathBuf>)>),
    /// A throw-away certificate for this name.
    SelfSigned(String),
}

/// The configuration that a command line stands for. Nothing is bound or started.
pub(super) fn load(line: &CommandLine, options: &Options) -> Result<Loaded, Refusal> {
    let invoker = Invoker::new();
    let mut problems = Problems::on_command_line();
    // What is wrong decides how we exit: the worst comes last.
    let mut exit = Exit::BadConfiguration;

    let form = line.form();
    let engine_credentials =
        credentials::of_engines(None, &invoker, &mut Accounts::default(), &mut problems);
    if form == Form::Server && invoker.is_root() {
        problems.warning(
            None,
            "the command runs as root: a file with -f can give it a user",
        );
    }
    let program = program(line);
    if let Err((message, status)) = &program {
        problems.error(None, message);
        exit = *status;
    }
    let run_as = run_as(&invoker, &mut problems);
    if run_as.is_none() {
        exit = Exit::CannotStart;
    }
    let files = match &line.identities {
        Identities::Files(files) => files.iter().map(|(cert, _)| cert.clone()).collect(),
        Identities::SelfSigned(_) => Vec::new(),
    };
    let identities = identities(&line.identities, &mut problems);
    if identities.is_none() || (engine_credentials.is_none() && invoker.is_root()) {
        exit = Exit::CannotStart;
    }
    let mut listeners = Vec::new();
    for text in &line.listen {
        match listener(text, &listeners) {
            Ok(listener) => listeners.push(listener),
            Err((message, status)) => {
                problems.error(None, message);
                exit = status;
            }
        }
    }
    if line.listen.is_empty() {
        listeners.push(Listener {
            unknown_name: Nameless::Default,
            ..Listener::inetd()
        });
    }

    let (Ok(program), Some(run_as), Some(identities), false) =
        (program, run_as, identities, problems.has_errors())
    else {
        return Err(Refusal { problems, exit });
    };
    let host = Host {
        label: "default".into(),
        names: Vec::new(),
        identities: identities
            .iter()
            .map(|identity| Arc::clone(&identity.certified))
            .collect(),
        psk: None,
        alpn: Vec::new(),
        program,
        run_as,
        on_truncation: OnTruncation::Eof,
    };
    let tables = listeners
        .iter()
        .map(|listener| Table::from(listener).with_default(0))
        .collect();
    let config = Config {
        engines: match form {
            Form::OneConnection => 1,
            Form::Server => default_engines(),
        },
        engine_credentials,
        log: Log {
            to: options.log.clone().unwrap_or(LogTo::Stderr),
            format: LogFormat::Text,
        },
        limits: Limits::default(),
        listeners,
        hosts: Hosts::new(vec![host], tables),
        remote_name: options.remote_name.clone(),
        trace: options.trace,
    };
    let origins = vec![Origin {
        place: None,
        certificates: files,
        psk: None,
    }];
    Ok(Loaded {
        config,
        problems,
        origins,
        certificates: identities.len(),
        psk_identities: 0,
    })
}

impl CommandLine {
    /// A server, when it listens.
    pub fn form(&self) -> Form {
        match self.listen.is_empty() {
            true => Form::OneConnection,
            false => Form::Server,
        }
    }
}

/// Errors: the message, and the status to exit with.
fn listener(text: &str, others: &[Listener]) -> Result<Listener, (String, Exit)> {
    let unable = |reason: &str| format!("unable to listen on {text:?}: {reason}");
    let address = address::parse(text, Path::new("")).map_err(|error| match &error {
        NoAddress::Malformed(reason) => (unable(reason), Exit::Usage),
        NoAddress::Unresolved(reason) => (unable(reason), Exit::CannotStart),
    })?;
    if let Some(other) = others
        .iter()
        .find(|other| address::overlap(&other.address, &address))
    {
        return Err((
            unable(&format!("it is part of {:?}", other.name)),
            Exit::Usage,
        ));
    }
    Ok(Listener {
        name: text.to_owned(),
        address,
        unknown_name: Nameless::Default,
        missing_name: Nameless::Default,
    })
}

fn identities(identities: &Identities, problems: &mut Problems) -> Option<Vec<Rc<Identity>>> {
    let files = match identities {
        Identities::Files(files) => files,
        Identities::SelfSigned(name) => {
            return match self_signed(name) {
                Ok(identity) => {
                    let message = format!("certificate for {name:?} made up: no client trusts it");
                    problems.warning(None, message);
                    Some(vec![Rc::new(identity)])
                }
                Err(reason) => {
                    let message = format!("unable to make a certificate for {name:?}: {reason}");
                    problems.error(None, message);
                    None
                }
            };
        }
    };
    let mut certificates = Certificates::default();
    let named = |path: &PathBuf| Named {
        path: path.clone(),
        place: None,
    };
    let loaded: Vec<_> = files
        .iter()
        .map(|(cert, key)| {
            certificates.load(&named(cert), key.as_ref().map(named).as_ref(), problems)
        })
        .collect();
    loaded.into_iter().collect()
}

fn self_signed(name: &str) -> Result<Identity, String> {
    if name.parse::<IpAddr>().is_ok() {
        return Identity::self_signed(name);
    }
    let pattern = Pattern::parse(name).map_err(|reason| reason.to_string())?;
    Identity::self_signed(&pattern.to_string())
}

/// The command stays who we are, with our own `PATH`.
fn run_as(invoker: &Invoker, problems: &mut Problems) -> Option<RunAs> {
    let person = Person {
        credentials: None,
        account: invoker.account.clone(),
    };
    Role::new(person, PathVariable::Ours, &BTreeMap::new())
        .map_err(|reason| {
            let message = format!("unable to make the command's environment: {reason}");
            problems.error(None, message);
        })
        .map(RunAs::OfHost)
        .ok()
}

/// Errors: the message, and the status to exit with.
fn program(line: &CommandLine) -> Result<Program, (String, Exit)> {
    let name = line
        .command
        .first()
        .map_or(OsStr::new(""), OsString::as_os_str);
    let unable = |reason: &str| {
        format!(
            "unable to run command {:?}: {reason}",
            name.to_string_lossy()
        )
    };
    let no_nul =
        |text: &OsStr| program::c_string(text).map_err(|reason| (unable(reason), Exit::NotFound));
    let base = std::env::current_dir().unwrap_or_default();
    let path = program::find(name, &base).map_err(|error| match &error {
        NoProgram::NotFound(reason) => (unable(reason), Exit::NotFound),
        NoProgram::NotExecutable(reason) => (unable(reason), Exit::NotExecutable),
    })?;
    Ok(Program {
        path: no_nul(path.as_os_str())?,
        argv: line
            .command
            .iter()
            .map(|argument| no_nul(argument))
            .collect::<Result<Vec<CString>, _>>()?,
        directory: None,
        umask: None,
        rlimits: Vec::new(),
        stdio: Stdio::Socket,
        stderr: match line.form() {
            Form::Server => Stderr::Log,
            Form::OneConnection => Stderr::Inherit,
        },
    })
}
