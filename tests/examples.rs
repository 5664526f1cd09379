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
#[path = "common/example.rs"]
mod example;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::TLSSRV;
use common::programs::run;
use example::{assert_passes_check, options_in, options_of_help};

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
            assert_passes_check(&text, &etc());
        }
    }
}

#[test]
fn the_readme_has_the_options_of_help_and_no_others() {
    let help = run(Command::new(TLSSRV).arg("--help")).text();
    let readme = include_str!("../README.md");
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
