//! Loads a configuration file: returns a checked configuration, or all errors in the file.
#![forbid(unsafe_code)]

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use crate::config::checks::host::Checker;
use crate::config::checks::{listeners, metrics, users};
use crate::config::hosts::Hosts;
use crate::config::limits::{KeepAlive, Limits, PerSource};
use crate::config::log::{Log, LogTo};
use crate::config::sources::accounts::{Accounts, Invoker};
use crate::config::sources::certificates::Certificates;
use crate::config::sources::names::{BackendNames, NameLookup};
use crate::config::sources::psk_file::PskFiles;
use crate::config::sources::ticket_keys;
use crate::config::text::problems::{Problems, cause};
use crate::config::text::raw::{Raw, RawLimits, RawLog};
use crate::config::text::reader::{MOST_CONNECTIONS, within};
use crate::config::{Config, Form, Loaded, Options, Refusal, default_engines};
use crate::exit::Exit;

/// Reads and checks a configuration file. Nothing is bound or started.
pub(in crate::config) fn load(
    path: &Path,
    form: Form,
    options: &Options,
    lookups: NameLookup<'_>,
) -> Result<Loaded, Refusal> {
    let invoker = Invoker::new();
    let refuse = |problems| Refusal {
        problems,
        exit: Exit::BadConfiguration,
        unresolved: Vec::new(),
    };
    let (text, mut problems) = read(path).map_err(refuse)?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let base = absolute.parent().unwrap_or(Path::new("/"));
    let Some(raw) = Raw::parse(&text, form, &mut problems) else {
        return Err(refuse(problems));
    };

    let mut checker = Checker {
        base,
        invoker: &invoker,
        accounts: Accounts::default(),
        certificates: Certificates::default(),
        psk_files: PskFiles::default(),
        names: BackendNames::new(lookups),
        problems,
    };
    let problems = &mut checker.problems;
    let engine_credentials = users::of_engines(
        raw.engine_user.as_ref(),
        &invoker,
        &mut checker.accounts,
        problems,
    );
    let engines = engines(raw.engines.as_ref(), form, problems);
    let log = log(&raw.log, base, options, problems);
    let limits = limits(&raw.limits, problems);
    let ticket_keys = ticket_keys::keys(raw.tickets.keys.as_ref(), base, problems);
    let listeners = listeners::listeners(&raw, base, problems);
    let metrics = metrics::metrics(raw.metrics.as_ref(), base, &listeners, problems);
    if let Some(passed) = &options.passed {
        listeners::compare(&raw.listeners, &listeners, passed, problems);
    }

    let names: Vec<_> = raw
        .hosts
        .iter()
        .map(|host| checker.names(host.get_ref()))
        .collect();
    let tables = listeners::tables(&raw, &names, &listeners, &mut checker.problems);
    let hosts: Vec<_> = raw
        .hosts
        .iter()
        .zip(&names)
        .map(|(host, names)| checker.host(host, names))
        .collect();

    let Checker {
        mut problems,
        certificates,
        psk_files,
        names,
        ..
    } = checker;
    if problems.has_errors() {
        return Err(refuse(problems));
    }
    if !names.missing.is_empty() {
        let unresolved = names.missing;
        return Err(Refusal {
            unresolved,
            ..refuse(problems)
        });
    }
    // Routing finds a host by its index, so none may be left out, not even if a check has not reported why.
    let Some(hosts) = hosts.into_iter().collect::<Option<Vec<_>>>() else {
        problems.error(None, "a host is invalid");
        return Err(refuse(problems));
    };
    let (hosts, origins) = hosts.into_iter().unzip();
    let config = Config {
        form,
        engines,
        engine_credentials,
        log,
        limits,
        metrics,
        listeners,
        hosts: Hosts::new(hosts, tables),
        ticket_keys,
        remote_name: options.remote_name.clone(),
        trace: options.trace,
    };
    Ok(Loaded {
        config,
        problems,
        origins,
        certificates: certificates.len(),
        psk_identities: psk_files.identities(),
    })
}

/// Reads the text of a configuration file. Errors: the file is unreadable or not UTF-8.
fn read(path: &Path) -> Result<(String, Problems), Problems> {
    let refuse = |text: &str, span: Option<Range<usize>>, reason: &str| {
        let mut problems = Problems::in_file(path, text);
        problems.error(span, format!("unable to read configuration: {reason}"));
        problems
    };
    let bytes = fs::read(path).map_err(|error| refuse("", None, &cause(&error)))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        refuse(&text, Some(start..start + 1), "not UTF-8")
    })?;
    let problems = Problems::in_file(path, &text);
    Ok((text, problems))
}

fn engines(raw: Option<&Spanned<u64>>, form: Form, problems: &mut Problems) -> usize {
    let engines = within(raw, 0, MOST_ENGINES, problems).unwrap_or(0);
    match form {
        Form::OneConnection => 1,
        Form::Server if engines == 0 => default_engines(),
        Form::Server => engines,
    }
}

fn log(raw: &RawLog, base: &Path, options: &Options, problems: &mut Problems) -> Log {
    let to = match &raw.to {
        None => LogTo::Stderr,
        Some(to) => match to.get_ref().as_str() {
            "stderr" => LogTo::Stderr,
            "syslog" => LogTo::Syslog("tlssrv".into()),
            path if path.contains('/') => LogTo::File(base.join(path)),
            other => {
                let message = format!(
                    "expected \"syslog\", \"stderr\" or a path with a slash, found {other:?}"
                );
                problems.error(to.span(), message);
                LogTo::Stderr
            }
        },
    };
    let default = Log::with(options.log.as_ref(), options.level.or(raw.level));
    Log {
        to: options.log.clone().unwrap_or(to),
        format: raw.format.unwrap_or(default.format),
        probes: raw.probes.unwrap_or(default.probes),
        ..default
    }
}

fn limits(raw: &RawLimits, problems: &mut Problems) -> Limits {
    let default = Limits::default();
    let mut positive = |duration: Option<&Spanned<Duration>>| {
        let duration = duration?;
        if duration.get_ref().is_zero() {
            problems.error(duration.span(), "out of range: it must be longer than 0s");
        }
        Some(*duration.get_ref())
    };
    let handshake = positive(raw.handshake.as_ref()).unwrap_or(default.handshake);
    let linger = positive(raw.linger.as_ref()).unwrap_or(default.linger);
    let connections = within(raw.connections.as_ref(), 1, MOST_CONNECTIONS, problems);
    let per_source = within(raw.per_source.as_ref(), 0, MOST_CONNECTIONS, problems);
    let send_buffer = buffer(raw.send_buffer.as_ref(), problems);
    let receive_buffer = buffer(raw.receive_buffer.as_ref(), problems);
    let keep_alive = keep_alive(raw.keep_alive.as_ref(), problems);
    let rate = within(raw.per_source_rate.as_ref(), 0, MOST_CONNECTIONS, problems);
    Limits {
        connections: connections.unwrap_or(default.connections),
        per_source: match per_source {
            Some(0) => PerSource::Unlimited,
            Some(most) => PerSource::AtMost(most),
            None => default.per_source,
        },
        per_source_rate: rate
            .and_then(|rate| u32::try_from(rate).ok())
            .filter(|rate| *rate > 0),
        handshake,
        idle: raw.idle.filter(|idle| !idle.is_zero()),
        linger,
        keep_alive,
        send_buffer,
        receive_buffer,
    }
}

/// Size of a socket buffer in bytes; `None`: sized by the kernel.
fn buffer(raw: Option<&Spanned<u64>>, problems: &mut Problems) -> Option<usize> {
    // 0 leaves the size to the kernel.
    let raw = raw.filter(|bytes| *bytes.get_ref() != 0);
    within(raw, 4096, 1 << 30, problems)
}

fn keep_alive(raw: Option<&Spanned<Duration>>, problems: &mut Problems) -> KeepAlive {
    let Some(raw) = raw else {
        return KeepAlive::System;
    };
    let time = *raw.get_ref();
    // Linux allows 32767 seconds at most (tcp(7), `TCP_KEEPIDLE`).
    let fits = time.subsec_nanos() == 0 && time.as_secs() <= 32767;
    if !fits {
        let message = "out of range: it must be whole seconds, 9h at most";
        problems.error(raw.span(), message);
    }
    match time.is_zero() {
        true => KeepAlive::Off,
        false => KeepAlive::After(time),
    }
}

/// Maximum number of engines, which is more than the cores of any machine.
const MOST_ENGINES: u64 = 1024;
