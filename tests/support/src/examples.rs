//! Examples in the documentation, and the files that must exist before they can be tried out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::account::{is_root, ordinary_user};
use crate::authority::Authority;
use crate::ocsp;
use crate::pki::{self, KeyType, Valid};
use crate::programs::run;
use crate::{Site, tlssrv_path};

/// Fails unless `--check` accepts a configuration without a warning, once its files, programs and users exist. That this
/// machine has no syslog, or not the addresses of the example, is no fault of the example.
///
/// `files`: the directory where its PSK files, scripts and the like are.
pub fn assert_passes_check(text: &str, files: &Path) {
    let site = site_of(text, files, Programs::Any);
    let ran = run(Command::new(tlssrv_path())
        .args(["--check", "-f"])
        .arg(site.file("tlssrv.toml")));
    let (here, faults): (Vec<&str>, Vec<&str>) = ran.stderr.lines().partition(|line| {
        ["unable to listen on ", "warning: unable to log to syslog: "]
            .iter()
            .any(|start| line.contains(&format!("tlssrv: {start}")))
    });
    let elsewhere = here.iter().any(|line| line.contains("unable to listen on"));
    let expected = if elsewhere { 97 } else { 0 };
    assert_eq!(ran.status.code(), Some(expected), "{text}\n{}", ran.stderr);
    let warned = faults.iter().any(|line| line.contains("warning:"));
    assert!(!warned, "{text}\n{}", ran.stderr);
}

/// The programs that commands of an example run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Programs {
    /// Those of the example, which are installed.
    Real,
    /// Programs of that name that do nothing.
    Any,
}

/// A site with a configuration as `tlssrv.toml`, and with what that names: certificates, PSK files with users
/// of this machine, the scripts in `files`, and programs.
pub fn site_of(text: &str, files: &Path, programs: Programs) -> Site {
    let mut text = with_users_of_this_machine(text);
    if programs == Programs::Any {
        text = with_programs_in_bin(&text);
    }
    let site = Site::new().with_file("tlssrv.toml", &text);
    let entries = fs::read_dir(files)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let others = |file: &Path| {
        ["toml", "psk"]
            .iter()
            .all(|suffix| !has_suffix(file, suffix))
    };
    for file in entries.filter(|file| file.is_file() && others(file)) {
        fs::copy(
            &file,
            site.file(file.file_name().unwrap().to_str().unwrap()),
        )
        .unwrap();
    }
    let table: Table = toml::from_str(&text).unwrap();
    if let Some(keys) = &table.tickets.keys {
        pki::write_secret(&site.file(keys), &format!("{}=\n", "A".repeat(43)));
    }
    for host in &table.host {
        host.make_files(&site, files);
    }
    site
}

/// Whether a file's name ends in this.
pub fn has_suffix(file: &Path, suffix: &str) -> bool {
    file.extension().is_some_and(|found| found == suffix)
}

/// The parts of an example that name files.
#[derive(Deserialize)]
struct Table {
    #[serde(default)]
    tickets: Tickets,
    host: Vec<Host>,
}

#[derive(Default, Deserialize)]
struct Tickets {
    keys: Option<String>,
}

#[derive(Deserialize)]
struct Host {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    cert: Vec<String>,
    psk: Option<String>,
    key: Option<Vec<String>>,
    #[serde(rename = "key-password")]
    key_password: Option<String>,
    #[serde(default)]
    ocsp: Files,
    #[serde(default, rename = "client-ca")]
    client_ca: Files,
    #[serde(default, rename = "client-crl")]
    client_crl: Files,
    #[serde(default)]
    command: Vec<String>,
}

/// One file, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Files {
    One(String),
    Several(Vec<String>),
}

impl Default for Files {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Files {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
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
        // A response for each certificate; their order does not matter.
        for (place, ocsp) in self.ocsp.names().iter().enumerate() {
            let (cert, key) = (&self.cert[place], self.key.as_ref());
            let key = key.map_or(cert, |keys| &keys[place]);
            let response = ocsp::of_self_signed(site.path(), cert, key);
            fs::write(site.file(ocsp), response).unwrap();
        }
        if let (Some(password), Some(keys)) = (&self.key_password, &self.key) {
            pki::write_secret(&site.file(password), "sesame\n");
            pki::encrypt(&site.file(&keys[0]), "sesame", &[]);
        }
        let clients = Authority::new("Clients");
        for file in self.client_ca.names() {
            fs::write(site.file(file), clients.pem()).unwrap();
        }
        for file in self.client_crl.names() {
            fs::write(site.file(file), clients.crl(&[1], Valid::Now)).unwrap();
        }
        if let Some(psk) = &self.psk {
            let text = fs::read_to_string(files.join(psk)).unwrap();
            // The file in the repository can be read by everybody, which would be refused.
            pki::write_secret(&site.file(psk), &with_identities_of_this_machine(&text));
        }
        let program = self.command.first();
        if let Some(name) = program.and_then(|name| name.strip_prefix("bin/")) {
            site.write_program(&format!("bin/{name}"), "#!/bin/sh\n");
        }
    }
}

/// The same text with a user that every machine has, and without groups. Without root, that is the user of
/// the tests.
fn with_users_of_this_machine(text: &str) -> String {
    let root = is_root();
    let me = ordinary_user();
    let mut lines = String::new();
    for line in text.lines() {
        match line.split(" = ").next().unwrap_or_default() {
            "engine-user" if !root => continue,
            "group" | "groups" => continue,
            _ => {}
        }
        // The text before the name of a user; in the table of common names there are several.
        let before = match line.starts_with("users = {") {
            true => "\" = \"",
            false => "user = \"",
        };
        let mut parts = line.split(before);
        lines.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let (_, rest) = part.split_once('"').unwrap();
            lines.push_str(&format!("{before}{me}\"{rest}"));
        }
        lines.push('\n');
    }
    lines
}

/// The same text with each command in `bin`, except those that lie beside the configuration.
fn with_programs_in_bin(text: &str) -> String {
    let line = |line: &str| match line.split_once("command = [\"") {
        Some((before, rest)) if !rest.starts_with("./") => {
            let (path, rest) = rest.split_once('"').unwrap();
            let name = path.rsplit('/').next().unwrap();
            format!("{before}command = [\"bin/{name}\"{rest}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The same PSK file with a user that commands can run as.
fn with_identities_of_this_machine(text: &str) -> String {
    let me = ordinary_user();
    let line = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        let has_user = !line.starts_with('#') && fields.get(1) != Some(&"text");
        let user = fields.get_mut(2).filter(|user| !user.is_empty());
        if let Some(user) = user.filter(|_| has_user) {
            *user = &me;
        }
        format!("{}\n", fields.join(":"))
    };
    text.lines().map(line).collect()
}

/// The keys that the program knows, by their table, which is empty at the top.
pub fn known_keys() -> BTreeMap<String, BTreeSet<String>> {
    let mut known = BTreeMap::from([(String::new(), keys_beside(""))]);
    for key in known[""].clone() {
        // A table or an array of tables lists its keys; any other key is refused as neither.
        for header in [format!("[{key}]\n"), format!("[[{key}]]\n")] {
            let keys = keys_beside(&header);
            if !keys.is_empty() {
                known.insert(key.clone(), keys);
            }
        }
    }
    known
}

/// The messages of `--check` about a wrong configuration.
pub fn problems_of(text: &str) -> String {
    let site = Site::new().with_file("tlssrv.toml", text);
    let ran = run(Command::new(tlssrv_path())
        .args(["--check", "-f"])
        .arg(site.file("tlssrv.toml")));
    assert_eq!(ran.status.code(), Some(96), "{text}");
    ran.stderr
}

/// The keys that the program lists as known when this header is followed by an unknown one.
fn keys_beside(header: &str) -> BTreeSet<String> {
    const NONE: &str = "this-is-no-key-at-all";
    let said = problems_of(&format!("{header}{NONE} = 1\n"));
    let unknown = format!("unknown key {NONE:?} in ");
    let lines = said.lines().filter(|line| line.contains(&unknown));
    let lists = lines.filter_map(|line| line.split_once(": known are "));
    lists
        .flat_map(|(_, list)| list.split(", ").map(str::to_owned))
        .collect()
}

/// The options in the text of `--help`.
pub fn options_of_help(help: &str) -> BTreeSet<String> {
    let (_, options) = help.split_once("\nOptions:\n").unwrap();
    let lines = options.lines().filter(|line| line.starts_with("  "));
    lines
        .flat_map(|line| options_in(line.trim_start().split("  ").next().unwrap_or_default()))
        .collect()
}

/// The options at the beginning of a line, without their values.
pub fn options_in(text: &str) -> Vec<String> {
    let words = text.split([' ', ',', '`']);
    let options = words.filter(|word| word.starts_with('-'));
    options.map(str::to_owned).collect()
}
