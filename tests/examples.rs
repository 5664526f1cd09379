//! What is written for users is true: the examples in `etc/`, and the options in the README.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use common::pki::{self, KeyType, Valid};
use common::programs::run;
use common::{Site, TLSSRV};

#[test]
fn every_example_passes_check_without_a_warning() {
    let files = fs::read_dir(etc())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_toml = |file: &PathBuf| file.extension().is_some_and(|suffix| suffix == "toml");
    let examples: Vec<PathBuf> = files.filter(is_toml).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let text = fs::read_to_string(&example).unwrap();
        for text in [with_defaults_spelled_out(&text), text] {
            assert_passes_check(&with_users_of_this_machine(&text));
        }
    }
}

#[test]
fn the_readme_has_the_options_of_help_and_no_others() {
    let help = run(Command::new(TLSSRV).arg("--help")).text();
    let (_, options) = help.split_once("\nOptions:\n").unwrap();
    let help = options.lines().filter(|line| line.starts_with("  "));
    let readme = include_str!("../README.md");
    let (_, table) = readme.split_once("| option | meaning |").unwrap();
    let rows = table.lines().take_while(|line| !line.starts_with('#'));
    let rows = rows.filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let readme: BTreeSet<String> = rows.flat_map(|(option, _)| options_in(option)).collect();
    let help: BTreeSet<String> = help
        .flat_map(|line| options_in(line.trim_start().split("  ").next().unwrap_or_default()))
        .filter(|option| option != "--help" && option != "--version")
        .collect();
    assert_eq!(readme, help);
}

fn etc() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc")
}

/// The options at the beginning of a line, without their values.
fn options_in(text: &str) -> Vec<String> {
    let words = text.split([' ', ',', '`']);
    let options = words.filter(|word| word.starts_with('-'));
    options.map(str::to_owned).collect()
}

fn assert_passes_check(text: &str) {
    let site = Site::new().with_file("tlssrv.toml", text);
    let table: Table = toml::from_str(text).unwrap();
    for host in &table.host {
        host.make_files(&site);
    }
    let ran = run(Command::new(TLSSRV)
        .args(["--check", "-f"])
        .arg(site.file("tlssrv.toml"))
        .env("PATH", site.file("bin")));
    assert_eq!(ran.status.code(), Some(0), "{text}\n{}", ran.stderr);
    assert!(!ran.stderr.contains("warning:"), "{text}\n{}", ran.stderr);
}

/// What an example says that has to be there.
#[derive(Deserialize)]
struct Table {
    host: Vec<Host>,
}

#[derive(Deserialize)]
struct Host {
    names: Vec<String>,
    #[serde(default)]
    cert: Vec<String>,
    psk: Option<String>,
    key: Option<Vec<String>>,
    command: Vec<String>,
}

impl Host {
    /// Certificates for its names, its PSK file, and a program by the name of its command.
    fn make_files(&self, site: &Site) {
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
            let text = fs::read_to_string(etc().join(psk)).unwrap();
            // What is in the repository is for everybody to read.
            pki::write_secret(&site.file(psk), &with_identities_of_this_machine(&text));
        }
        fs::create_dir_all(site.file("bin")).unwrap();
        let program = site.file("bin").join(&self.command[0]);
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The same text with every `# key = value` put into force.
fn with_defaults_spelled_out(text: &str) -> String {
    let line = |line: &str| {
        let setting = line.strip_prefix("# ").filter(|rest| {
            let key = rest.split_once(" = ").map(|(key, _)| key);
            key.is_some_and(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        });
        format!("{}\n", setting.unwrap_or(line))
    };
    text.lines().map(line).collect()
}

/// The same text with a user that every machine has; without one for those who are not root, and may
/// not change to any.
fn with_users_of_this_machine(text: &str) -> String {
    let line = |line: &str| match line.split_once(" = ") {
        Some((key @ ("user" | "engine-user"), _)) if nix::unistd::geteuid().is_root() => {
            format!("{key} = \"nobody\"\n")
        }
        Some(("user" | "engine-user", _)) => "\n".to_owned(),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The same PSK file with a user that commands may become, whoever runs the tests.
fn with_identities_of_this_machine(text: &str) -> String {
    let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
    let me = match me.unwrap() {
        root if root.uid.is_root() => "nobody".to_owned(),
        me => me.name,
    };
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        if let Some(user) = fields.get_mut(2).filter(|_| !line.starts_with('#')) {
            *user = &me;
        }
        format!("{}\n", fields.join(":"))
    };
    text.lines().map(line).collect()
}
