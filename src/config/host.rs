//! One `[[host]]` → one checked host: its names, certificates and command.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use toml::Spanned;

use super::account::{Accounts, Invoker};
use super::backend;
use super::certificate::Certificates;
use super::clients::of_common_names;
use super::credentials::{self, Root};
use super::file::{MOST_CONNECTIONS, within};
use super::files::Named;
use super::problem::{Place, Problems, cause};
use super::program::{self, PathVariable};
use super::raw::RawHost;
use super::{Answer, Host, OnTruncation, Program, Psk, Rlimit, Role, RunAs, Stderr};
use super::{UserFrom, psk, rlimit, run_as};
use crate::environment;
use crate::types::{NamePattern, Stdio};

/// What checking hosts needs and leaves behind.
pub(super) struct Checker<'a> {
    /// The directory that file names are relative to, absolute.
    pub(super) base: &'a Path,
    pub(super) invoker: &'a Invoker,
    pub(super) accounts: Accounts,
    pub(super) certificates: Certificates,
    pub(super) psk_tables: psk::Tables,
    pub(super) names: backend::Names<'a>,
    pub(super) problems: Problems,
}

/// Where a host comes from: what the running server has no use for, and people have.
pub(super) struct Origin {
    /// Where in the file it stands.
    pub(super) place: Place,
    /// Its certificate files.
    pub(super) certificates: Vec<PathBuf>,
    /// Its PSK file.
    pub(super) psk: Option<PathBuf>,
}

impl Checker<'_> {
    /// The names of a host that are names, with the places where they stand.
    pub(super) fn names(&mut self, raw: &RawHost) -> Vec<(NamePattern, Range<usize>)> {
        let mut names = Vec::new();
        for name in raw.names.iter().flatten() {
            match NamePattern::parse(name.get_ref()) {
                Ok(pattern) => names.push((pattern, name.span())),
                Err(reason) => {
                    let message = format!("unable to use name {:?}: {reason}", name.get_ref());
                    self.problems.error(name.span(), message);
                }
            }
        }
        names
    }

    /// The host; `None` when something is wrong with it, which is reported.
    pub(super) fn host(
        &mut self,
        raw: &Spanned<RawHost>,
        names: &[(NamePattern, Range<usize>)],
    ) -> Option<(Host, Origin)> {
        let place = raw.span();
        let raw = raw.get_ref();
        let certificates = self
            .certificates(raw, names)
            .and_then(|(identities, files)| {
                let identities = self.staples(raw, identities)?;
                Some((identities, files))
            });
        let table = self.psk_table(raw);
        let client_auth = self.clients(raw);
        let alpn = self.alpn(raw);
        let profile = self.profile(raw);
        let answer = self.answer(raw, &place, table.as_ref().and_then(Option::as_deref));
        let connections = raw.connections.as_ref();
        let connections = within(connections, 1, MOST_CONNECTIONS, &mut self.problems);
        let ((identities, files), table) = (certificates?, table?);
        let psk = table.as_ref().map(|table| Psk {
            keys: Arc::clone(&table.keys),
            only_ke: raw.psk_only_ke.unwrap_or(false),
            plain: raw.psk_plain.unwrap_or(false),
        });
        let host = Host {
            label: names
                .first()
                .map_or("default".into(), |(pattern, _)| pattern.to_string()),
            names: names.iter().map(|(pattern, _)| pattern.clone()).collect(),
            identities,
            psk,
            client_auth: client_auth?,
            alpn: alpn?,
            profile: profile?,
            answer: answer?,
            connections,
            on_truncation: raw.on_truncation.unwrap_or(OnTruncation::Eof),
        };
        Some((
            host,
            Origin {
                place: Some(place),
                certificates: files,
                psk: table.map(|table| table.path.clone()),
            },
        ))
    }

    fn certificates(
        &mut self,
        raw: &RawHost,
        names: &[(NamePattern, Range<usize>)],
    ) -> Option<(Vec<Arc<rustls::sign::CertifiedKey>>, Vec<PathBuf>)> {
        let Some(certs) = raw.cert.as_ref() else {
            return Some((Vec::new(), Vec::new()));
        };
        if certs.get_ref().is_empty() {
            let message = "no certificate: a host needs one, or \"psk\" in place of \"cert\"";
            self.problems.error(certs.span(), message);
            return None;
        }
        let named = |file: &Spanned<String>| named(self.base, file);
        let certs: Vec<Named> = certs.get_ref().iter().map(named).collect();
        let keys: Vec<Option<Named>> = match &raw.key {
            None => vec![None; certs.len()],
            Some(keys) if keys.get_ref().len() == certs.len() => {
                keys.get_ref().iter().map(named).map(Some).collect()
            }
            Some(keys) => {
                let (keys_count, place) = (keys.get_ref().len(), keys.span());
                let message = format!(
                    "{keys_count} in key, {} in cert: each certificate needs its key, or none here",
                    certs.len()
                );
                self.problems.error(place, message);
                return None;
            }
        };

        let mut identities = Vec::new();
        for (cert, key) in certs.iter().zip(&keys) {
            let loaded = self
                .certificates
                .load(cert, key.as_ref(), &mut self.problems);
            for (pattern, place) in names {
                if loaded
                    .as_ref()
                    .is_some_and(|identity| !identity.covers(pattern))
                {
                    let file = cert.path.display().to_string();
                    let message = format!("certificate {file:?} does not cover {pattern}");
                    self.problems.warning(place.clone(), message);
                }
            }
            identities.push(loaded.map(|identity| Arc::clone(&identity.certified)));
        }
        let identities = identities.into_iter().collect::<Option<Vec<_>>>()?;
        Some((
            identities,
            certs.into_iter().map(|cert| cert.path).collect(),
        ))
    }

    /// The host's PSK file; `None`: it is wrong.
    fn psk_table(&mut self, raw: &RawHost) -> Option<Option<Rc<psk::Table>>> {
        let Some(file) = &raw.psk else {
            return Some(None);
        };
        let file = named(self.base, file);
        if raw.clients.allow.is_none() {
            return self.psk_tables.load(&file, &mut self.problems).map(Some);
        }
        let identities = self.allowed_identities(raw)?;
        let (tables, problems) = (&mut self.psk_tables, &mut self.problems);
        if identities.is_empty() {
            let message = "no PSK identity in allow: nobody in \"psk\" could come";
            problems.error(file.place.clone(), message);
            return None;
        }
        tables.load_only(&file, &identities, problems).map(Some)
    }

    /// Protocol names have 1 to 255 bytes (RFC 7301 §3.1).
    fn alpn(&mut self, raw: &RawHost) -> Option<Vec<String>> {
        let protocols = raw.alpn.as_ref()?;
        for protocol in protocols {
            if !(1..=255).contains(&protocol.get_ref().len()) {
                let message = "a protocol's name has 1 to 255 bytes";
                self.problems.error(protocol.span(), message);
                return None;
            }
        }
        Some(
            protocols
                .iter()
                .map(|protocol| protocol.get_ref().clone())
                .collect(),
        )
    }

    /// A command, or backends.
    fn answer(
        &mut self,
        raw: &RawHost,
        place: &Range<usize>,
        table: Option<&psk::Table>,
    ) -> Option<Answer> {
        if let Some(connect) = &raw.connect {
            let (names, problems) = (&mut self.names, &mut self.problems);
            let backends = backend::backends(raw, connect, self.base, names, problems);
            return backends.map(Answer::Backends);
        }
        let program = self.program(raw).map(Box::new);
        let run_as = self.run_as(raw, place, table);
        Some(Answer::Command {
            program: program?,
            run_as: run_as?,
        })
    }

    /// `table` is the host's PSK table, where it has one that is right.
    fn run_as(
        &mut self,
        raw: &RawHost,
        place: &Range<usize>,
        table: Option<&psk::Table>,
    ) -> Option<RunAs> {
        let variables = self.variables(raw);
        let from = raw.run_as.unwrap_or(UserFrom::Host);
        // Nobody needs the host's own user where everybody has one by the table.
        let needed = match from {
            UserFrom::Host => true,
            UserFrom::Psk => raw.cert.is_some(),
            UserFrom::CommonName => raw.psk.is_some(),
        };
        let of_host = needed.then(|| {
            let (accounts, problems) = (&mut self.accounts, &mut self.problems);
            let person = credentials::of_host(raw, place, self.invoker, accounts, problems)?;
            Role::new(person, PathVariable::Default, variables.as_ref()?).ok()
        });
        if from == UserFrom::Host {
            return of_host.flatten().map(RunAs::OfHost);
        }
        let root = match raw.allow_root {
            Some(true) => Root::Allowed,
            _ => Root::Refused(
                "the command would run as root: give the identity another user, or the host \
                 allow-root = true",
            ),
        };
        let (accounts, problems) = (&mut self.accounts, &mut self.problems);
        let variables = variables.as_ref();
        if from == UserFrom::CommonName {
            let users = raw.clients.users.as_ref()?.get_ref();
            let invoker = self.invoker;
            let roles = of_common_names(users, root, variables?, invoker, accounts, problems);
            let (roles, otherwise) = (roles?, of_host.map_or(Some(None), |role| role.map(Some))?);
            return Some(RunAs::OfCommonName { roles, otherwise });
        }
        let roles = run_as::of_identities(
            table?,
            &raw.psk.as_ref().map(Spanned::span),
            root,
            variables?,
            self.invoker,
            accounts,
            problems,
        );
        let (roles, otherwise) = (roles?, of_host.map_or(Some(None), |role| role.map(Some))?);
        Some(RunAs::OfIdentity { roles, otherwise })
    }

    fn program(&mut self, raw: &RawHost) -> Option<Program> {
        let command = self.command(raw);
        let directory = self.directory(raw);
        let umask = self.umask(raw);
        let rlimits = self.rlimits(raw);
        let (path, argv) = command?;
        Some(Program {
            path,
            argv,
            directory: Some(directory?),
            umask: umask?,
            rlimits: rlimits?,
            stdio: raw.stdio.unwrap_or(Stdio::Socket),
            stderr: raw.stderr.unwrap_or(Stderr::Log),
        })
    }

    fn command(&mut self, raw: &RawHost) -> Option<(CString, Vec<CString>)> {
        let command = raw.command.as_ref()?;
        let Some(name) = command.get_ref().first() else {
            self.problems
                .error(command.span(), "no command: a host needs one");
            return None;
        };
        let path = match program::find(name.get_ref().as_ref(), self.base) {
            Ok(path) => Some(path),
            Err(reason) => {
                let message = format!("unable to run command {:?}: {reason}", name.get_ref());
                self.problems.error(name.span(), message);
                None
            }
        };
        let argv: Vec<_> = command
            .get_ref()
            .iter()
            .map(|argument| self.c_string(argument))
            .collect();
        let path = program::c_string(path?.as_os_str()).ok()?;
        Some((path, argv.into_iter().collect::<Option<Vec<_>>>()?))
    }

    /// The root directory when none is given: a server's own is of no meaning to its commands.
    fn directory(&mut self, raw: &RawHost) -> Option<CString> {
        let Some(directory) = &raw.directory else {
            return Some(c"/".into());
        };
        let path = self.base.join(directory.get_ref());
        let reason = match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                return program::c_string(path.as_os_str()).ok();
            }
            Ok(_) => "not a directory".into(),
            Err(error) => cause(&error),
        };
        let message = format!(
            "unable to use directory {:?}: {reason}",
            directory.get_ref()
        );
        self.problems.error(directory.span(), message);
        None
    }

    fn umask(&mut self, raw: &RawHost) -> Option<Option<u32>> {
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
            self.problems.error(umask.span(), message);
        }
        mask.map(Some)
    }

    fn rlimits(&mut self, raw: &RawHost) -> Option<Vec<Rlimit>> {
        let mut rlimits = Some(Vec::new());
        for (name, limit) in raw.rlimits.iter().flatten() {
            let (place, limit) = (limit.span(), limit.get_ref());
            match rlimit::parse(name, limit.soft, limit.hard, self.invoker) {
                Ok(limit) => rlimits.iter_mut().for_each(|rlimits| rlimits.push(limit)),
                Err(reason) => {
                    self.problems
                        .error(place, format!("unable to limit {name:?}: {reason}"));
                    rlimits = None;
                }
            }
        }
        rlimits
    }

    /// `pass-env`, then `env`, which goes before.
    fn variables(&mut self, raw: &RawHost) -> Option<BTreeMap<OsString, OsString>> {
        let mut variables = BTreeMap::new();
        let mut complete = true;
        for name in raw.pass_env.iter().flatten() {
            if !self.is_variable(name.get_ref(), name.span()) {
                complete = false;
            } else if let Some(value) = env::var_os(name.get_ref()) {
                variables.insert(name.get_ref().into(), value);
            }
        }
        for (name, value) in raw.env.iter().flatten() {
            let valid = self.is_variable(name, value.span()) && self.c_string(value).is_some();
            variables.insert(name.into(), value.get_ref().into());
            complete &= valid;
        }
        complete.then_some(variables)
    }

    fn is_variable(&mut self, name: &str, place: Range<usize>) -> bool {
        let reason = if name.is_empty() || name.contains(['=', '\0']) {
            "not a name"
        } else if environment::is_ours(name) {
            // There would be two of that name, and which one counts is up to the command.
            "tlssrv does that itself, for each connection"
        } else {
            return true;
        };
        let message = format!("unable to set variable {name:?}: {reason}");
        self.problems.error(place, message);
        false
    }

    fn c_string(&mut self, text: &Spanned<String>) -> Option<CString> {
        match program::c_string(OsStr::new(text.get_ref())) {
            Ok(text) => Some(text),
            Err(reason) => {
                self.problems.error(
                    text.span(),
                    format!("unable to use {:?}: {reason}", text.get_ref()),
                );
                None
            }
        }
    }
}

/// A file that the configuration names.
pub(super) fn named(base: &Path, file: &Spanned<String>) -> Named {
    Named::new(base, file.get_ref(), Some(file.span()))
}
