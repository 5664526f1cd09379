//! Examples that are written for users, and what has to be there before they can be tried out.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{User, geteuid};
use serde::Deserialize;

use crate::common::pki::{self, KeyType, Valid};
use crate::common::programs::run;
use crate::common::{Site, TLSSRV};

/// Fails unless `--check` accepts a table without a warning, where its files, programs and users are there.
///
/// `files`: the directory where its PSK files, scripts and the like are.
pub(crate) fn assert_passes_check(text: &str, files: &Path) {
    let site = site_of(text, files);
    let ran = run(Command::new(TLSSRV)
        .args(["--check", "-f"])
        .arg(site.file("tlssrv.toml"))
        .env("PATH", site.file("bin")));
    assert_eq!(ran.status.code(), Some(0), "{text}\n{}", ran.stderr);
    assert!(!ran.stderr.contains("warning:"), "{text}\n{}", ran.stderr);
}

/// A site with a table as `tlssrv.toml`, and with what it names: certificates, PSK files with users of this
/// machine, directories, and in `bin` a program by the name of each command that is not in `files`.
pub(crate) fn site_of(text: &str, files: &Path) -> Site {
    let text = with_programs_by_name(&with_users_of_this_machine(text));
    let site = Site::new().with_file("tlssrv.toml", &text);
    let table: Table = toml::from_str(&text).unwrap();
    fs::create_dir(site.file("bin")).unwrap();
    for host in &table.host {
        host.make_files(&site, files);
    }
    site
}

/// What an example says that has to be there.
#[derive(Deserialize)]
struct Table {
    host: Vec<Host>,
}

#[derive(Deserialize)]
struct Host {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    cert: Vec<String>,
    psk: Option<String>,
    key: Option<Vec<String>>,
    command: Vec<String>,
}

impl Host {
    fn make_files(&self, site: &Site, files: &Path) {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        for (place, cert) in self.cert.iter().enumerate() {
            let key_type = match place {
                0 => KeyType::Ecdsa,
                _ => KeyType::Rsa,
            };
            let made = pki::certificate_with(&names, key_type, Valid::Now);
            match &self.key {
                None => made.write_combined(&site.file(cert)),
                Some(keys) => {
                    fs::write(site.file(cert), &made.certificate).unwrap();
                    pki::write_secret(&site.file(&keys[place]), &made.key);
                }
            }
        }
        if let Some(psk) = &self.psk {
            let text = fs::read_to_string(files.join(psk)).unwrap();
            // What is in the repository is for everybody to read.
            pki::write_secret(&site.file(psk), &with_identities_of_this_machine(&text));
        }
        let name = &self.command[0];
        if name.contains('/') {
            fs::copy(files.join(name), site.file(name)).unwrap();
            return;
        }
        let program = site.file("bin").join(name);
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The same text with a user that every machine has. Who is not root can only be itself, and change no
/// group.
fn with_users_of_this_machine(text: &str) -> String {
    let root = geteuid().is_root();
    let me = one_that_commands_can_be();
    let mut lines = String::new();
    for line in text.lines() {
        let key = line.split(" = ").next().unwrap_or_default();
        if ["engine-user", "group", "groups"].contains(&key) && !root {
            continue;
        }
        let mut parts = line.split("user = \"");
        lines.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let (_, rest) = part.split_once('"').unwrap();
            lines.push_str(&format!("user = \"{me}\"{rest}"));
        }
        lines.push('\n');
    }
    lines
}

/// The same text with the last part of the path alone where a command has an absolute one.
fn with_programs_by_name(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("command = [\"/") {
        Some(rest) => {
            let (path, rest) = rest.split_once('"').unwrap();
            let name = path.rsplit('/').next().unwrap();
            format!("command = [\"{name}\"{rest}\n")
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The same PSK file with a user that commands may become, whoever runs the tests.
fn with_identities_of_this_machine(text: &str) -> String {
    let me = one_that_commands_can_be();
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        let user = fields.get_mut(2).filter(|user| !user.is_empty());
        if let Some(user) = user.filter(|_| !line.starts_with('#')) {
            *user = &me;
        }
        format!("{}\n", fields.join(":"))
    };
    text.lines().map(line).collect()
}

fn one_that_commands_can_be() -> String {
    match User::from_uid(geteuid()).unwrap().unwrap() {
        root if root.uid.is_root() => "nobody".to_owned(),
        me => me.name,
    }
}

/// The options in the text of `--help`.
pub(crate) fn options_of_help(help: &str) -> BTreeSet<String> {
    let (_, options) = help.split_once("\nOptions:\n").unwrap();
    let lines = options.lines().filter(|line| line.starts_with("  "));
    lines
        .flat_map(|line| options_in(line.trim_start().split("  ").next().unwrap_or_default()))
        .collect()
}

/// The options at the beginning of a line, without their values.
pub(crate) fn options_in(text: &str) -> Vec<String> {
    let words = text.split([' ', ',', '`']);
    let options = words.filter(|word| word.starts_with('-'));
    options.map(str::to_owned).collect()
}
