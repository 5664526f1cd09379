//! Checks one `[[host]]`: names, certificates, pre-shared keys and destination.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use toml::Spanned;

use crate::config::checks::staples::staples;
use crate::config::checks::users::RootPolicy;
use crate::config::checks::{backends, clients, command, profile, run_as, users};
use crate::config::host::{Destination, Host, OnTruncation, Psk};
use crate::config::run_as::{Role, RunAs, UserFrom};
use crate::config::sources::accounts::{Accounts, Invoker};
use crate::config::sources::certificates::{Certificates, Pair};
use crate::config::sources::files::NamedFile;
use crate::config::sources::names::BackendNames;
use crate::config::sources::programs::PathVariable;
use crate::config::sources::psk_file::{PskFile, PskFiles};
use crate::config::text::problems::{Problems, Span};
use crate::config::text::raw_host::RawHost;
use crate::config::text::reader::{MOST_CONNECTIONS, within};
use crate::types::NamePattern;

/// Input of the checks of hosts, and what they collect.
pub(in crate::config) struct Checker<'a> {
    /// Absolute path of the directory that file names are relative to.
    pub(in crate::config) base: &'a Path,
    pub(in crate::config) invoker: &'a Invoker,
    pub(in crate::config) accounts: Accounts,
    pub(in crate::config) certificates: Certificates,
    pub(in crate::config) psk_files: PskFiles,
    pub(in crate::config) names: BackendNames<'a>,
    pub(in crate::config) problems: Problems,
}

/// What to write in place of a name that stands for every name.
const EVERY_NAME: &str = "for every name, write default = true in place of names and, if other hosts of the \
                          listener have names, unknown-name = \"default\" in its [[listen]]";

/// Origin of a host, for `--explain` and `--check`. The running server does not use it.
pub(in crate::config) struct HostOrigin {
    /// Position in the configuration file.
    pub(in crate::config) span: Span,
    /// Certificate files.
    pub(in crate::config) certificates: Vec<PathBuf>,
    /// PSK file.
    pub(in crate::config) psk: Option<PathBuf>,
}

impl Checker<'_> {
    /// Valid names of a host with their positions in the file. Reports invalid names.
    pub(in crate::config) fn names(&mut self, raw: &RawHost) -> Vec<(NamePattern, Range<usize>)> {
        let mut names = Vec::new();
        for name in raw.names.iter().flatten() {
            let reason = match NamePattern::parse(name.get_ref()) {
                // The latter is nginx's name for it.
                _ if ["*", "_"].contains(&name.get_ref().as_str()) => EVERY_NAME.to_owned(),
                Ok(pattern) => {
                    names.push((pattern, name.span()));
                    continue;
                }
                Err(reason) => reason.to_string(),
            };
            let message = format!("unable to use name {:?}: {reason}", name.get_ref());
            self.problems.error(name.span(), message);
        }
        names
    }

    /// Checks a host. `None`: there is an error, which is reported.
    pub(in crate::config) fn host(
        &mut self,
        raw: &Spanned<RawHost>,
        names: &[(NamePattern, Range<usize>)],
    ) -> Option<(Host, HostOrigin)> {
        let span = raw.span();
        let raw = raw.get_ref();
        let certificates = self
            .certificates(raw, names)
            .and_then(|(certificates, files)| {
                let certificates = staples(raw, self.base, certificates, &mut self.problems)?;
                Some((certificates, files))
            });
        let psk_file = self.psk_file(raw);
        let client_auth = clients::policy(raw, self.base, &mut self.problems);
        let alpn = self.alpn(raw);
        let profile = profile::profile(raw, &mut self.problems);
        let destination =
            self.destination(raw, &span, psk_file.as_ref().and_then(Option::as_deref));
        let connections = raw.connections.as_ref();
        let connections = within(connections, 1, MOST_CONNECTIONS, &mut self.problems);
        let ((certificates, files), psk_file) = (certificates?, psk_file?);
        let psk = psk_file.as_ref().map(|file| Psk {
            keys: Arc::clone(&file.keys),
            modes: profile::modes(raw),
        });
        let host = Host {
            label: names
                .first()
                .map_or("default".into(), |(pattern, _)| pattern.to_string()),
            names: names.iter().map(|(pattern, _)| pattern.clone()).collect(),
            certificates,
            psk,
            client_auth: client_auth?,
            alpn: alpn?,
            profile: profile?,
            destination: destination?,
            connections,
            on_truncation: raw.on_truncation.unwrap_or(OnTruncation::Eof),
        };
        Some((
            host,
            HostOrigin {
                span: Some(span),
                certificates: files,
                psk: psk_file.map(|file| file.path.clone()),
            },
        ))
    }

    /// Certificates of the host, and their files. `None`: there is an error, which is reported.
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
        let named = |file: &Spanned<String>| NamedFile::spanned(self.base, file);
        let certs: Vec<NamedFile> = certs.get_ref().iter().map(named).collect();
        let keys: Vec<Option<NamedFile>> = match &raw.key {
            None => vec![None; certs.len()],
            Some(keys) if keys.get_ref().len() == certs.len() => {
                keys.get_ref().iter().map(named).map(Some).collect()
            }
            Some(keys) => {
                let (keys_count, span) = (keys.get_ref().len(), keys.span());
                let message = format!(
                    "{keys_count} in key, {} in cert: each certificate needs its key, or none here",
                    certs.len()
                );
                self.problems.error(span, message);
                return None;
            }
        };

        let password = raw.key_password.as_ref().map(named);
        let pairs: Vec<Pair> = certs.into_iter().zip(keys).collect();
        let loaded = self
            .certificates
            .load(&pairs, password.as_ref(), &mut self.problems);
        let mut certificates = Vec::new();
        for ((cert, _), loaded) in pairs.iter().zip(loaded) {
            for (pattern, span) in names {
                if loaded
                    .as_ref()
                    .is_some_and(|certificate| !certificate.covers(pattern))
                {
                    let file = cert.path.display().to_string();
                    let message = format!("certificate {file:?} does not cover {pattern}");
                    self.problems.warning(span.clone(), message);
                }
            }
            certificates.push(loaded.map(|certificate| Arc::clone(&certificate.certified)));
        }
        let certificates = certificates.into_iter().collect::<Option<Vec<_>>>()?;
        Some((
            certificates,
            pairs.into_iter().map(|(cert, _)| cert.path).collect(),
        ))
    }

    /// PSK file of the host, if there is one. `None`: there is an error, which is reported.
    fn psk_file(&mut self, raw: &RawHost) -> Option<Option<Rc<PskFile>>> {
        let Some(file) = &raw.psk else {
            return Some(None);
        };
        let file = NamedFile::spanned(self.base, file);
        if raw.clients.allow.is_none() {
            return self.psk_files.load(&file, &mut self.problems).map(Some);
        }
        let identities = clients::allowed_identities(raw, &mut self.problems)?;
        let (files, problems) = (&mut self.psk_files, &mut self.problems);
        if identities.is_empty() {
            let message = "no PSK identity in allow: nobody in \"psk\" could come";
            problems.error(file.span.clone(), message);
            return None;
        }
        files.load_only(&file, &identities, problems).map(Some)
    }

    /// ALPN protocols, whose names have 1 to 255 bytes (RFC 7301 §3.1). `None`: one is wrong, and
    /// reported.
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

    /// Command or backends of the host. `psk_file` is the PSK file of the host, if it is valid.
    fn destination(
        &mut self,
        raw: &RawHost,
        span: &Range<usize>,
        psk_file: Option<&PskFile>,
    ) -> Option<Destination> {
        if let Some(connect) = &raw.connect {
            let (names, problems) = (&mut self.names, &mut self.problems);
            let backends = backends::backends(raw, connect, self.base, names, problems);
            return backends.map(Destination::Backends);
        }
        // Who would run it is of no interest where there is no command, which is reported.
        raw.command.as_ref()?;
        let program = command::program(raw, &mut self.command()).map(Box::new);
        let run_as = self.run_as(raw, span, psk_file);
        Some(Destination::Command {
            program: program?,
            run_as: run_as?,
        })
    }

    /// User that the command runs as. `psk_file` is the PSK file of the host, if it is valid.
    fn run_as(
        &mut self,
        raw: &RawHost,
        span: &Range<usize>,
        psk_file: Option<&PskFile>,
    ) -> Option<RunAs> {
        let variables = command::variables(raw, &mut self.command());
        let from = raw.run_as.unwrap_or(UserFrom::Host);
        // The user of the host is not needed if all clients have users of their own.
        let needed = match from {
            UserFrom::Host => true,
            UserFrom::Psk => raw.cert.is_some(),
            UserFrom::CommonName => raw.psk.is_some(),
        };
        let of_host = needed.then(|| {
            let (accounts, problems) = (&mut self.accounts, &mut self.problems);
            let user = users::of_host(raw, span, self.invoker, accounts, problems)?;
            Role::new(user, PathVariable::Default, variables.as_ref()?).ok()
        });
        if from == UserFrom::Host {
            return of_host.flatten().map(RunAs::OfHost);
        }
        let root = match raw.allow_root {
            Some(true) => RootPolicy::Allowed,
            _ => RootPolicy::Refused(
                "the command would run as root: give the identity another user, or the host \
                 allow-root = true",
            ),
        };
        let (accounts, problems) = (&mut self.accounts, &mut self.problems);
        let variables = variables.as_ref();
        if from == UserFrom::CommonName {
            let users = raw.clients.users.as_ref()?.get_ref();
            let invoker = self.invoker;
            let roles =
                run_as::of_common_names(users, root, variables?, invoker, accounts, problems);
            let (roles, otherwise) = (roles?, of_host.map_or(Some(None), |role| role.map(Some))?);
            return Some(RunAs::OfCommonName { roles, otherwise });
        }
        let roles = run_as::of_identities(
            psk_file?,
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

    fn command(&mut self) -> command::Context<'_> {
        command::Context {
            base: self.base,
            invoker: self.invoker,
            problems: &mut self.problems,
        }
    }
}
