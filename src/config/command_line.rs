//! Loads a configuration from the command line: one default host, no file.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::config::checks::host::HostOrigin;
use crate::config::checks::users::{CommandUser, RootPolicy};
use crate::config::checks::{listeners, run_as, users};
use crate::config::host::{Destination, Host, OnTruncation, Psk};
use crate::config::hosts::{Hosts, RoutingTable};
use crate::config::limits::Limits;
use crate::config::listener::{FallbackPolicy, Listener};
use crate::config::log::Log;
use crate::config::run_as::{Role, RunAs, UserFrom};
use crate::config::sources::accounts::{Accounts, Invoker};
use crate::config::sources::addresses::NoAddress;
use crate::config::sources::certificates::Certificates;
use crate::config::sources::files::NamedFile;
use crate::config::sources::programs::{NoProgram, PathVariable};
use crate::config::sources::psk_file::PskFile;
use crate::config::sources::{addresses, programs};
use crate::config::text::hints::no_line;
use crate::config::text::problems::Problems;
use crate::config::{Config, Form, Loaded, Options, Refusal, default_engines};
use crate::exit::Exit;
use crate::tls::profile::Profile;
use crate::tls::psk::Modes;
use crate::tls::server_certificate::ServerCertificate;
use crate::types::{HostId, NamePattern, NewPrivileges, Program, PskIdentity, Stderr, Stdio};

/// Options of a command line without a configuration file.
pub struct CommandLine {
    /// Addresses to listen on; empty: the connection is descriptor 0.
    pub listen: Vec<String>,
    /// Certificates of the server. Empty only with a `psk`.
    pub certificates: CertificateSource,
    /// File with the passwords of the certificates' keys (`--key-password`).
    pub key_password: Option<PathBuf>,
    /// Pre-shared keys.
    pub psk: Option<PskOption>,
    /// The command and its arguments. Never empty.
    pub command: Vec<OsString>,
    /// Whether the command may gain privileges.
    pub new_privileges: NewPrivileges,
}

/// Certificates of the server.
pub enum CertificateSource {
    /// Certificate files, each with its key file if the key is in another file.
    Files(Vec<(PathBuf, Option<PathBuf>)>),
    /// A self-signed certificate for this name, made at start.
    SelfSigned(String),
}

/// Pre-shared keys of a command line.
pub struct PskOption {
    /// The PSK file.
    pub file: PathBuf,
    /// The only identity of the file to use; `None`: all of them.
    pub only: Option<PskIdentity>,
    /// Key exchanges without forward secrecy that are allowed.
    pub modes: Modes,
    /// Source of the user that the command runs as.
    pub user: UserFrom,
}

/// Checks a command line and makes its configuration. Nothing is bound or started.
pub(in crate::config) fn load(line: &CommandLine, options: &Options) -> Result<Loaded, Refusal> {
    let invoker = Invoker::new();
    let mut problems = Problems::on_command_line();
    // The exit status depends on the error. Later errors override earlier ones.
    let mut exit = Exit::BadConfiguration;

    let form = line.form();
    let mut accounts = Accounts::default();
    let engine_credentials = users::of_engines(None, &invoker, &mut accounts, &mut problems);
    let program = program(line, &invoker, &mut problems);
    match &program {
        Ok(_) if form == Form::Server && invoker.is_root() && line.user() == UserFrom::Host => {
            let message = "the command runs as root: a file with -f can give it a user";
            problems.warning(None, message);
        }
        Ok(_) => {}
        Err((message, status)) => {
            problems.error(None, message);
            exit = *status;
        }
    }
    let psk_file = psk_file(line.psk.as_ref(), &mut problems);
    let users = psk_file.as_ref().and_then(Option::as_ref);
    let run_as = run_as(line.user(), users, &invoker, &mut accounts, &mut problems);
    let password = line.key_password.as_deref();
    let certificates = certificates(&line.certificates, password, &mut problems);
    if certificates.is_none() || (engine_credentials.is_none() && invoker.is_root()) {
        exit = Exit::CannotStart;
    }
    let (listeners, status) = listeners(line, options, &mut problems);
    exit = status.unwrap_or(exit);

    let (Ok(program), Some(run_as), Some(certificates), Some(psk_file), false) = (
        program,
        run_as,
        certificates,
        psk_file,
        problems.has_errors(),
    ) else {
        return Err(Refusal {
            problems,
            exit,
            unresolved: Vec::new(),
        });
    };
    let host = Host {
        label: "default".into(),
        names: Vec::new(),
        certificates: certificates
            .iter()
            .map(|certificate| Arc::clone(&certificate.certified).into())
            .collect(),
        psk: psk_file
            .as_ref()
            .zip(line.psk.as_ref())
            .map(|(file, psk)| Psk {
                keys: Arc::clone(&file.keys),
                modes: psk.modes,
            }),
        client_auth: None,
        alpn: Vec::new(),
        profile: Profile::default(),
        destination: Destination::Command {
            program: Box::new(program),
            run_as,
        },
        connections: None,
        on_truncation: OnTruncation::Eof,
    };
    let tables = listeners
        .iter()
        .map(|listener| RoutingTable::from(listener).with_default(HostId::new(0)))
        .collect();
    let config = Config {
        form,
        engines: match form {
            Form::OneConnection => 1,
            Form::Server => default_engines(),
        },
        engine_credentials,
        log: Log::with(options.log.as_ref(), options.level),
        limits: Limits::without_table(),
        metrics: None,
        listeners,
        hosts: Hosts::new(vec![host], tables),
        ticket_keys: None,
        remote_name: options.remote_name.clone(),
        trace: options.trace,
    };
    let origins = vec![HostOrigin {
        span: None,
        certificates: line.certificates.files(),
        psk: psk_file.as_ref().map(|file| file.path.clone()),
    }];
    Ok(Loaded {
        config,
        problems,
        origins,
        certificates: certificates.len(),
        psk_identities: psk_file.map_or(0, |file| file.entries.len()),
    })
}

impl CommandLine {
    /// Form of the configuration: a server if there are addresses to listen on.
    pub fn form(&self) -> Form {
        match self.listen.is_empty() {
            true => Form::OneConnection,
            false => Form::Server,
        }
    }

    fn user(&self) -> UserFrom {
        self.psk.as_ref().map_or(UserFrom::Host, |psk| psk.user)
    }
}

impl CertificateSource {
    /// Whether there are no certificates.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Files(files) if files.is_empty())
    }

    /// The certificate files.
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Files(files) => files.iter().map(|(cert, _)| cert.clone()).collect(),
            Self::SelfSigned(_) => Vec::new(),
        }
    }
}

/// Makes the listeners. Also returns the exit status if one of them is wrong; reports the error.
fn listeners(
    line: &CommandLine,
    options: &Options,
    problems: &mut Problems,
) -> (Vec<Listener>, Option<Exit>) {
    let (mut listeners, mut exit) = (Vec::new(), None);
    for text in &line.listen {
        match listener(text, &listeners, options.passed.as_deref()) {
            Ok(listener) => listeners.push(listener),
            Err((message, status)) => {
                problems.error(None, message);
                exit = Some(status);
            }
        }
    }
    let passed = options.passed.as_ref();
    if let Some(warning) = passed.and_then(|passed| listeners::not_taken(&listeners, passed)) {
        problems.warning(None, warning);
    }
    if line.listen.is_empty() {
        listeners.push(Listener::inetd(FallbackPolicy::Default));
    }
    (listeners, exit)
}

/// Makes one listener. Errors: the message and the exit status.
fn listener(
    text: &str,
    others: &[Listener],
    passed: Option<&[String]>,
) -> Result<Listener, (String, Exit)> {
    let unable = |reason: &str| format!("unable to listen on {text:?}: {reason}");
    let address = addresses::parse(text, Path::new("")).map_err(|error| match &error {
        NoAddress::Malformed(reason) => (unable(reason), Exit::Usage),
        NoAddress::Unresolved(reason) => (unable(reason), Exit::CannotStart),
    })?;
    if let Some(other) = others.iter().find(|other| other.address.overlaps(&address)) {
        return Err((
            unable(&format!("it is part of {:?}", other.name)),
            Exit::Usage,
        ));
    }
    if let Some(reason) = passed.and_then(|passed| listeners::not_passed(&address, passed)) {
        return Err((unable(&reason), Exit::CannotStart));
    }
    Ok(Listener {
        name: text.to_owned(),
        address,
        unknown_name: FallbackPolicy::Default,
        missing_name: FallbackPolicy::Default,
        proxy_from: None,
    })
}

/// Reads or makes the certificates. `None`: there is an error, which is reported.
fn certificates(
    source: &CertificateSource,
    password: Option<&Path>,
    problems: &mut Problems,
) -> Option<Vec<Rc<ServerCertificate>>> {
    let files = match source {
        CertificateSource::Files(files) => files,
        CertificateSource::SelfSigned(name) => {
            return match self_signed(name) {
                Ok(certificate) => {
                    let message = format!("certificate for {name:?} made up: no client trusts it");
                    problems.warning(None, message);
                    Some(vec![Rc::new(certificate)])
                }
                Err(reason) => {
                    let message = format!("unable to make a certificate for {name:?}: {reason}");
                    problems.error(None, message);
                    None
                }
            };
        }
    };
    let pair = |(cert, key): &(PathBuf, Option<PathBuf>)| {
        let key = key.as_deref().map(NamedFile::on_command_line);
        (NamedFile::on_command_line(cert), key)
    };
    let pairs: Vec<_> = files.iter().map(pair).collect();
    let password = password.map(NamedFile::on_command_line);
    let loaded = Certificates::default().load(&pairs, password.as_ref(), problems);
    loaded.into_iter().collect()
}

fn self_signed(name: &str) -> Result<ServerCertificate, String> {
    if name.parse::<IpAddr>().is_ok() {
        return ServerCertificate::self_signed(name);
    }
    let pattern = NamePattern::parse(name).map_err(|reason| reason.to_string())?;
    ServerCertificate::self_signed(&pattern.to_string())
}

/// Reads the pre-shared keys, if any are given. `None`: there is an error, which is reported.
fn psk_file(psk: Option<&PskOption>, problems: &mut Problems) -> Option<Option<PskFile>> {
    let Some(psk) = psk else {
        return Some(None);
    };
    let named = NamedFile::on_command_line(&psk.file);
    let file = PskFile::read(&named, problems)?;
    let Some(identity) = &psk.only else {
        return Some(Some(file));
    };
    let only = file.only(identity);
    if only.is_none() {
        let message = format!("no identity \"{identity}\" in PSK file {}", named.quoted());
        problems.error(None, message);
    }
    only.map(Some)
}

/// User that the command runs as: the user of the client's PSK identity; or the user that started
/// tlssrv, with the `PATH` of tlssrv. `None`: there is an error, which is reported.
fn run_as(
    user: UserFrom,
    psk_file: Option<&PskFile>,
    invoker: &Invoker,
    accounts: &mut Accounts,
    problems: &mut Problems,
) -> Option<RunAs> {
    if user == UserFrom::Psk {
        let root = RootPolicy::Refused(
            "the command would run as root: give the identity another user; only a file with -f \
             can allow root",
        );
        let none = BTreeMap::new();
        let roles =
            run_as::of_identities(psk_file?, &None, root, &none, invoker, accounts, problems)?;
        return Some(RunAs::OfIdentity {
            roles,
            otherwise: None,
        });
    }
    let user = CommandUser {
        credentials: None,
        account: invoker.account.clone(),
    };
    Role::new(user, PathVariable::Inherited, &BTreeMap::new())
        .map_err(|reason| {
            let message = format!("unable to make the command's environment: {reason}");
            problems.error(None, message);
        })
        .map(RunAs::OfHost)
        .ok()
}

/// Finds the command. Warns if it may gain privileges and tlssrv may not. Errors: the message and the exit status.
fn program(
    line: &CommandLine,
    invoker: &Invoker,
    problems: &mut Problems,
) -> Result<Program, (String, Exit)> {
    if line.new_privileges == NewPrivileges::Allowed && invoker.has_no_new_privs() {
        problems.warning(None, format!("--new-privileges {}", Invoker::NO_NEW_PRIVS));
    }
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
        |text: &OsStr| programs::c_string(text).map_err(|reason| (unable(reason), Exit::NotFound));
    let base = std::env::current_dir().unwrap_or_default();
    let path = programs::find(name, &base).map_err(|error| match &error {
        NoProgram::NotFound(reason) => (unable(reason) + &no_line(name), Exit::NotFound),
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
        new_privileges: line.new_privileges,
    })
}
