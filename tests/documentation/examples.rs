//! The examples in `etc/`, and the options in the README.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tlssrv::config::{
    self, Config, ConfigSource, Destination, Form, Options, PerSource, RunAs, Trace,
};
use tlssrv_testing::examples::{
    Programs, assert_passes_check, has_suffix, known_keys, options_in, options_of_help, site_of,
};
use tlssrv_testing::programs::run;
use tlssrv_testing::tlssrv_path;

#[test]
fn every_example_passes_check_without_a_warning() {
    let folders = [etc(), etc().join("examples")];
    let files = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    let examples: Vec<PathBuf> = files.filter(|file| has_suffix(file, "toml")).collect();
    assert!(examples.len() > 6, "{examples:?}");
    for example in examples {
        let text = fs::read_to_string(&example).unwrap();
        for text in [with_comments_in_force(&text), text] {
            assert_passes_check(&text, example.parent().unwrap());
        }
    }
}

#[test]
fn the_example_configuration_has_every_key() {
    let text = fs::read_to_string(etc().join("tlssrv.toml")).unwrap();
    let (mut table, mut parts) = (String::new(), BTreeMap::<String, String>::new());
    for line in text.lines() {
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).to_owned();
        }
        parts
            .entry(table.clone())
            .or_default()
            .push_str(&format!(" {line}\n"));
    }
    for (table, keys) in known_keys() {
        let shown = |key: &String| {
            // It may be in a comment.
            parts[&table].contains(&format!(" {key} = ")) || parts.contains_key(key)
        };
        let missing: Vec<String> = keys.into_iter().filter(|key| !shown(key)).collect();
        assert!(missing.is_empty(), "{table}: {missing:?}");
    }
}

#[test]
fn commented_keys_in_the_example_configuration_are_the_defaults() {
    let text = fs::read_to_string(etc().join("tlssrv.toml")).unwrap();
    let [given, spelled_out] = [&text, &with_comments_in_force(&text)].map(|text| {
        let site = site_of(text, &etc(), Programs::Any);
        let options = Options {
            log: None,
            level: None,
            remote_name: None,
            trace: Trace::Off,
            passed: None,
        };
        let source = ConfigSource::File(site.file("tlssrv.toml"));
        let Ok(loaded) = config::load(&source, Form::Server, &options) else {
            panic!("{text}");
        };
        shown(&loaded.config).replace(site.path().to_str().unwrap(), "")
    });
    assert_eq!(given, spelled_out);
}

#[test]
fn the_readme_has_the_options_of_help_and_no_others() {
    let help = run(Command::new(tlssrv_path()).arg("--help")).text();
    let readme = include_str!("../../README.md");
    let (_, table) = readme.split_once("| option | meaning |").unwrap();
    let rows = table.lines().take_while(|line| !line.starts_with('#'));
    let rows = rows.filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let readme: BTreeSet<String> = rows.flat_map(|(option, _)| options_in(option)).collect();
    let mut help = options_of_help(&help);
    help.remove("--help");
    help.remove("--version");
    assert_eq!(readme, help);
}

fn etc() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc")
}

/// Everything in a configuration that does not come from other files.
fn shown(config: &Config) -> String {
    // A quarter is a number, too.
    let mut limits = config.limits.clone();
    let per_source = limits.per_source.most(limits.connections);
    limits.per_source = per_source.map_or(PerSource::Unlimited, PerSource::AtMost);
    // Where there is no user "tlssrv", root has another default.
    let mut text = format!(
        "{} {:?} {limits:?} {:?}",
        config.engines, config.log, config.listeners
    );
    for host in config.hosts.iter() {
        let psk = host
            .psk
            .as_ref()
            .map(|psk| (psk.modes.psk_ke, psk.modes.plain_psk));
        let answer = match &host.destination {
            Destination::Command { program, run_as } => {
                format!("{:?} {}", program, matches!(run_as, RunAs::OfHost(_)))
            }
            Destination::Backends(backends) => format!("{backends:?}"),
        };
        text.push_str(&format!(
            "\n{} {:?} {:?} {psk:?} {answer} {:?} {:?}",
            host.label, host.alpn, host.profile, host.connections, host.on_truncation
        ));
    }
    text
}

/// The same text with every `# key = value` uncommented.
fn with_comments_in_force(text: &str) -> String {
    let line = |line: &str| {
        let setting = line.strip_prefix("# ").filter(|rest| {
            let key = rest.split_once(" = ").map(|(key, _)| key);
            key.is_some_and(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        });
        format!("{}\n", setting.unwrap_or(line))
    };
    text.lines().map(line).collect()
}
