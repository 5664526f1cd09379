//! Checks the command of a host: program, arguments, directory, umask, limits and variables.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use crate::config::checks::rlimits;
use crate::config::sources::accounts::Invoker;
use crate::config::sources::programs;
use crate::config::text::hints::no_shell;
use crate::config::text::problems::{Problems, cause};
use crate::config::text::raw_host::RawHost;
use crate::environment;
use crate::types::{NewPrivileges, Program, Rlimit, Stderr, Stdio};

/// Input of the checks of a command, and the problems that they report.
pub(in crate::config) struct Context<'a> {
    /// Absolute path of the directory that file names are relative to.
    pub(in crate::config) base: &'a Path,
    pub(in crate::config) invoker: &'a Invoker,
    pub(in crate::config) problems: &'a mut Problems,
}

/// Checks the command of a host. `None`: there is an error, which is reported.
pub(in crate::config) fn program(raw: &RawHost, context: &mut Context<'_>) -> Option<Program> {
    let command = command(raw, context);
    let directory = directory(raw, context);
    let umask = umask(raw, context);
    let rlimits = rlimits(raw, context);
    let (path, argv) = command?;
    Some(Program {
        path,
        argv,
        directory: Some(directory?),
        umask: umask?,
        rlimits: rlimits?,
        stdio: raw.stdio.unwrap_or(Stdio::Socket),
        stderr: raw.stderr.unwrap_or(Stderr::Log),
        new_privileges: new_privileges(raw, context),
    })
}

/// Whether the command may gain privileges. Warns if tlssrv itself may not.
fn new_privileges(raw: &RawHost, context: &mut Context<'_>) -> NewPrivileges {
    let Some(allowed) = raw.new_privileges.as_ref().filter(|key| *key.get_ref()) else {
        return NewPrivileges::Forbidden;
    };
    if context.invoker.has_no_new_privs() {
        let message = format!("new-privileges {}", Invoker::NO_NEW_PRIVS);
        context.problems.warning(allowed.span(), message);
    }
    NewPrivileges::Allowed
}

fn command(raw: &RawHost, context: &mut Context<'_>) -> Option<(CString, Vec<CString>)> {
    let command = raw.command.as_ref()?;
    let Some(name) = command.get_ref().first() else {
        context
            .problems
            .error(command.span(), "no command: a host needs one");
        return None;
    };
    let path = match programs::find(name.get_ref().as_ref(), context.base) {
        Ok(path) => Some(path),
        Err(reason) => {
            let message = format!("unable to run command {:?}: {reason}", name.get_ref());
            context.problems.error(name.span(), message);
            if name.get_ref().trim().contains(char::is_whitespace) {
                context
                    .problems
                    .error(name.span(), no_shell(name.get_ref()));
            }
            None
        }
    };
    let argv: Vec<_> = command
        .get_ref()
        .iter()
        .map(|argument| c_string(context, argument))
        .collect();
    let path = programs::c_string(path?.as_os_str()).ok()?;
    Some((path, argv.into_iter().collect::<Option<Vec<_>>>()?))
}

/// Working directory of the command. Default: the root directory, because the working directory of
/// tlssrv means nothing to its commands.
fn directory(raw: &RawHost, context: &mut Context<'_>) -> Option<CString> {
    let Some(directory) = &raw.directory else {
        return Some(c"/".into());
    };
    let path = context.base.join(directory.get_ref());
    let reason = match path.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            return programs::c_string(path.as_os_str()).ok();
        }
        Ok(_) => "not a directory".into(),
        Err(error) => cause(&error),
    };
    let message = format!(
        "unable to use directory {:?}: {reason}",
        directory.get_ref()
    );
    context.problems.error(directory.span(), message);
    None
}

fn umask(raw: &RawHost, context: &mut Context<'_>) -> Option<Option<u32>> {
    let Some(umask) = &raw.umask else {
        return Some(None);
    };
    let text = umask.get_ref();
    let octal = text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mask = u32::from_str_radix(text, 8)
        .ok()
        .filter(|mask| octal && *mask <= 0o777);
    if mask.is_none() {
        let message = format!("unable to use umask {text:?}: not an octal number up to 777");
        context.problems.error(umask.span(), message);
    }
    mask.map(Some)
}

fn rlimits(raw: &RawHost, context: &mut Context<'_>) -> Option<Vec<Rlimit>> {
    let mut rlimits = Some(Vec::new());
    for (name, limit) in raw.rlimits.iter().flatten() {
        let (span, limit) = (limit.span(), limit.get_ref());
        match rlimits::parse(name, limit.soft, limit.hard, context.invoker) {
            Ok(limit) => rlimits.iter_mut().for_each(|rlimits| rlimits.push(limit)),
            Err(reason) => {
                context
                    .problems
                    .error(span, format!("unable to limit {name:?}: {reason}"));
                rlimits = None;
            }
        }
    }
    rlimits
}

/// Environment variables from `pass-env` and `env`. `env` takes precedence.
pub(in crate::config) fn variables(
    raw: &RawHost,
    context: &mut Context<'_>,
) -> Option<BTreeMap<OsString, OsString>> {
    let mut variables = BTreeMap::new();
    let mut complete = true;
    for name in raw.pass_env.iter().flatten() {
        if !is_variable(context, name.get_ref(), name.span()) {
            complete = false;
        } else if let Some(value) = env::var_os(name.get_ref()) {
            variables.insert(name.get_ref().into(), value);
        }
    }
    for (name, value) in raw.env.iter().flatten() {
        let valid = is_variable(context, name, value.span()) && c_string(context, value).is_some();
        variables.insert(name.into(), value.get_ref().into());
        complete &= valid;
    }
    complete.then_some(variables)
}

/// Whether a command may be given a variable of this name. Reports the error if not.
fn is_variable(context: &mut Context<'_>, name: &str, span: Range<usize>) -> bool {
    let reason = if name.is_empty() || name.contains(['=', '\0']) {
        "not a name"
    } else if environment::is_ours(name) {
        // A second variable of the same name would leave the choice to the command.
        "tlssrv does that itself, for each connection"
    } else {
        return true;
    };
    let message = format!("unable to set variable {name:?}: {reason}");
    context.problems.error(span, message);
    false
}

fn c_string(context: &mut Context<'_>, text: &Spanned<String>) -> Option<CString> {
    match programs::c_string(OsStr::new(text.get_ref())) {
        Ok(text) => Some(text),
        Err(reason) => {
            context.problems.error(
                text.span(),
                format!("unable to use {:?}: {reason}", text.get_ref()),
            );
            None
        }
    }
}
