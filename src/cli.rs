//! The command line: its options, and the request that they make.
#![forbid(unsafe_code)]

mod completions;
mod keyspec;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{Error, ErrorKind};
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueHint};
pub use completions::Shell;

use crate::config::{
    CertificateSource, CommandLine, ConfigSource, Form, LogTo, Options, PskOption, Trace, UserFrom,
};
use crate::tls::hello::ProtocolNames;
use crate::tls::psk::Modes;
use crate::types::{InvalidName, NewPrivileges, ServerName, Severity, server_name};

/// The request of a command line.
pub enum Request {
    /// To print the completion script for this shell.
    Completions(Shell),
    /// To make the server that has this table reload it.
    Reload(PathBuf),
    /// To print the status of the server that has this table.
    Status(PathBuf),
    /// To load a configuration for a task.
    Load(Box<Load>),
}

/// A configuration to load, and the task.
pub struct Load {
    /// The task.
    pub task: Task,
    /// The file, or the command line itself.
    pub source: ConfigSource,
    /// The form to run in.
    pub form: Form,
    /// The options beside it.
    pub options: Options,
}

/// A task for a configuration.
pub enum Task {
    /// Serve.
    Run,
    /// Print its problems.
    Check,
    /// Print which host a client gets.
    Explain {
        /// The server name of the client; `None`: it sends none.
        name: Option<ServerName>,
        /// The protocols that the client offers.
        offered: ProtocolNames,
    },
}

/// Parses the arguments; the first one is the name of the program.
///
/// Errors: the text that clap prints, including help and version.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, Error> {
    let matches = Cli::command().try_get_matches_from(args)?;
    let cli = Cli::from_arg_matches(&matches)?;
    match (cli.completions, &cli.config) {
        (Some(shell), _) => Ok(Request::Completions(shell)),
        (None, Some(table)) if cli.reload => Ok(Request::Reload(table.clone())),
        (None, Some(table)) if cli.status => Ok(Request::Status(table.clone())),
        (None, _) => load(cli, &matches).map(Box::new).map(Request::Load),
    }
}

/// The script that makes a shell complete command lines of tlssrv.
pub fn completions(shell: Shell) -> String {
    completions::script(shell, Cli::command())
}

fn load(cli: Cli, matches: &ArgMatches) -> Result<Load, Error> {
    let task = match (&cli.explain, cli.check) {
        (Some(name), _) => Task::Explain {
            name: explained(name)?,
            offered: offered(&cli.alpn)?,
        },
        (None, true) => Task::Check,
        (None, false) => Task::Run,
    };
    let options = Options {
        log: cli.log.as_deref().map(LogTo::from_option),
        level: cli.quiet.then_some(Severity::Warning),
        remote_name: cli.remote.clone(),
        trace: if cli.debug { Trace::On } else { Trace::Off },
        passed: None,
    };
    if let Some(path) = cli.config {
        let form = if cli.inetd {
            Form::OneConnection
        } else {
            Form::Server
        };
        return Ok(Load {
            task,
            source: ConfigSource::File(path),
            form,
            options,
        });
    }
    if cli.inetd {
        // clap's `requires` does not apply here, since a command rules out a file.
        let message = "--inetd needs --config: one connection is what a command serves by itself";
        return Err(usage(ErrorKind::MissingRequiredArgument, message));
    }
    let psk = psk(&cli)?;
    let certificates = match &cli.self_signed {
        Some(name) => CertificateSource::SelfSigned(name.clone()),
        None => CertificateSource::Files(pairs(&cli, matches)?),
    };
    if psk.is_none() && certificates.is_empty() {
        let message = "neither certificate nor key: give --cert FILE or --psk KEYSPEC, or \
                       --self-signed NAME to try things out";
        return Err(usage(ErrorKind::MissingRequiredArgument, message));
    }
    let line = CommandLine {
        listen: cli.listen,
        certificates,
        key_password: cli.key_password,
        psk,
        command: cli.command,
        new_privileges: match cli.new_privileges {
            true => NewPrivileges::Allowed,
            false => NewPrivileges::Forbidden,
        },
    };
    let form = line.form();
    Ok(Load {
        task,
        source: ConfigSource::CommandLine(line),
        form,
        options,
    })
}

/// A TLS server that gives each connection to a command
#[derive(Parser)]
#[command(
    name = "tlssrv",
    bin_name = "tlssrv",
    version,
    max_term_width = 100,
    override_usage = "tlssrv [-D] [-a | -A] [-k KEYSPEC] [-c FILE] [-l NAME] [-r NAME] [OPTIONS] CMD [ARGS]...\n       \
        tlssrv [OPTIONS] --config FILE",
    after_help = "With CMD, serves that one command: without --listen the one connection on descriptor 0\n\
        (inetd, tcpserver, systemd Accept=yes), with --listen as a server. With --config, the\n\
        virtual-host table in FILE decides.\n\n\
        Exit status: that of CMD with one connection; else 0, or 96 bad configuration, 97 cannot\n\
        start, 98 handshake failed, 100 wrong usage, 111 system call failed, 126 and 127 CMD cannot\n\
        be run."
)]
struct Cli {
    /// Trace handshakes
    #[arg(short = 'D', long)]
    debug: bool,

    /// Certificate chain in PEM, leaf first, with its key unless --key follows; may repeat, for a
    /// second type of key
    #[arg(
        short,
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with_all = ["self_signed", "config"]
    )]
    cert: Vec<PathBuf>,

    /// Private key in PEM of the --cert before it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert")]
    key: Vec<PathBuf>,

    /// File with the password of the encrypted keys; several passwords in lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert")]
    key_password: Option<PathBuf>,

    #[arg(
        help = "Pre-shared keys: a file of lines identity:hexkey[:user[:hash]] or identity:text:key, or \
                'file=FILE id=IDENTITY' for one identity of it"
    )]
    #[arg(short = 'k', long, value_name = "KEYSPEC", conflicts_with = "config")]
    psk: Option<OsString>,

    /// Authenticate by pre-shared key alone, and run CMD as the user that the file gives for the
    /// identity
    #[arg(short = 'a', requires = "psk", conflicts_with_all = ["stay", "config"])]
    run_as_psk: bool,

    /// Authenticate by pre-shared key alone, and don't change user
    #[arg(short = 'A', requires = "psk", conflicts_with = "config")]
    stay: bool,

    /// Log to syslog under this tag or, when there is a / in it, to this file [default: stderr]
    #[arg(short, long, value_name = "NAME")]
    log: Option<OsString>,

    /// Log warnings and errors only
    #[arg(long, conflicts_with = "debug")]
    quiet: bool,

    /// Name of the remote system, for reports and TCPREMOTEHOST
    #[arg(short, long, value_name = "NAME")]
    remote: Option<String>,

    #[arg(
        help = "Listen on HOST:PORT, [IPV6]:PORT, :PORT, unix:PATH, or the sockets that systemd passes: \
                systemd:NAME, or systemd for all; may repeat; port 0 picks one"
    )]
    #[arg(long, value_name = "ADDR", conflicts_with = "config")]
    listen: Vec<String>,

    /// Make a throw-away certificate for NAME, to try things out
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    self_signed: Option<String>,

    /// Let CMD gain privileges by set-user-ID programs
    #[arg(long, conflicts_with = "config")]
    new_privileges: bool,

    /// Serve the virtual hosts of this TOML file
    #[arg(short = 'f', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,

    /// Check everything, print every problem, start nothing
    #[arg(long, conflicts_with = "explain")]
    check: bool,

    /// Print which host a client gets that asks for NAME, and why; '' for a client that sends none
    #[arg(long, value_name = "NAME")]
    explain: Option<String>,

    /// With --explain: a protocol that the client offers (ALPN); may repeat, the most preferred first
    #[arg(long, value_name = "PROTO", requires = "explain")]
    alpn: Vec<String>,

    /// With --config: have the server that runs with this table read it anew, and say what it says
    #[arg(long, requires = "config", conflicts_with_all = ["check", "explain", "inetd"])]
    reload: bool,

    /// With --config: print how the server goes that has this table: its hosts, and the connections
    /// that are open
    #[arg(long, requires = "config", conflicts_with_all = ["check", "explain", "inetd", "reload"])]
    status: bool,

    /// With --config: serve the one connection on descriptor 0
    #[arg(long)]
    inetd: bool,

    /// Print a script that completes command lines of tlssrv in this shell
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,

    /// Command to serve, with its arguments
    #[arg(
        value_name = "CMD",
        value_hint = ValueHint::CommandWithArguments,
        trailing_var_arg = true,
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    command: Vec<OsString>,
}

/// Each certificate with the key after it.
fn pairs(cli: &Cli, matches: &ArgMatches) -> Result<Vec<(PathBuf, Option<PathBuf>)>, Error> {
    let positions = |id| matches.indices_of(id).into_iter().flatten();
    let certs: Vec<usize> = positions("cert").collect();
    let mut pairs: Vec<(PathBuf, Option<PathBuf>)> =
        cli.cert.iter().map(|cert| (cert.clone(), None)).collect();
    for (position, key) in positions("key").zip(&cli.key) {
        let before = certs.partition_point(|cert| *cert < position);
        match before.checked_sub(1).and_then(|cert| pairs.get_mut(cert)) {
            Some((_, slot @ None)) => *slot = Some(key.clone()),
            Some((cert, Some(_))) => {
                let message = format!(
                    "two keys for the certificate {:?}",
                    cert.display().to_string()
                );
                return Err(usage(ErrorKind::ArgumentConflict, &message));
            }
            None => {
                let message = "--key belongs to the --cert before it, and there is none";
                return Err(usage(ErrorKind::MissingRequiredArgument, message));
            }
        }
    }
    Ok(pairs)
}

/// The meaning of `-k`, `-a` and `-A`.
fn psk(cli: &Cli) -> Result<Option<PskOption>, Error> {
    // The forms of Plan 9, whose clients know no other PSK suites.
    let plan_9 = cli.run_as_psk || cli.stay;
    if plan_9 && (!cli.cert.is_empty() || cli.self_signed.is_some()) {
        let message =
            "-a and -A authenticate by PSK alone; leave them out to take certificates too";
        return Err(usage(ErrorKind::ArgumentConflict, message));
    }
    let Some(spec) = &cli.psk else {
        return Ok(None);
    };
    let spec = keyspec::parse(spec).map_err(|reason| {
        let message = format!("unable to read the value of --psk: {reason}");
        usage(ErrorKind::ValueValidation, &message)
    })?;
    Ok(Some(PskOption {
        file: spec.file,
        only: spec.identity,
        modes: Modes {
            psk_ke: false,
            plain_psk: plan_9,
        },
        user: match cli.run_as_psk {
            true => UserFrom::Psk,
            false => UserFrom::Host,
        },
    }))
}

fn explained(name: &str) -> Result<Option<ServerName>, Error> {
    match name {
        "" => Ok(None),
        name => server_name(name).map(Some).map_err(|error| {
            let message = match error {
                InvalidName::IpAddress => {
                    format!("no client can ask for {name:?}: it is not a host name")
                }
                InvalidName::NotDns => format!(
                    "{name:?} is not a host name: a client that asks for it gets the default host where \
                     unknown-name is \"default\", and is rejected with illegal_parameter elsewhere"
                ),
            };
            usage(ErrorKind::ValueValidation, &message)
        }),
    }
}

/// Protocol names have 1 to 255 bytes (RFC 7301 §3.1).
fn offered(protocols: &[String]) -> Result<ProtocolNames, Error> {
    let possible = |name: &&String| (1..=255).contains(&name.len());
    match protocols.iter().find(|name| !possible(name)) {
        None => Ok(protocols.iter().map(String::as_bytes).collect()),
        Some(name) => {
            let message = format!("no client can offer {name:?}: a protocol has 1 to 255 bytes");
            Err(usage(ErrorKind::ValueValidation, &message))
        }
    }
}

fn usage(kind: ErrorKind, message: &str) -> Error {
    Cli::command().error(kind, message)
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
