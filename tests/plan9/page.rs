//! The page about Plan 9 lists the flags that the programs accept.

use std::fs;
use std::process::Command;

use crate::compat;
use tlssrv_testing::programs::{program, run};
use tlssrv_testing::tlssrv_path;

#[test]
fn every_flag_of_plan_9_is_on_the_page() {
    for (section, flags) in [
        (
            "## tlssrv",
            &["-D", "-a", "-A", "-k", "-T", "-c", "-l", "-r"][..],
        ),
        ("## listen1", &["-t", "-v", "-p", "-1", "-n", "-o", "-O"]),
    ] {
        let rows = rows(section);
        for flag in flags {
            let named = [format!("`{flag} "), format!("`{flag}`")];
            let row = rows
                .iter()
                .find(|(left, _)| named.iter().any(|name| left.contains(name)));
            assert!(row.is_some(), "{flag} of {section}");
        }
    }
}

#[test]
fn every_flag_of_the_page_is_accepted_unless_listed_as_missing() {
    let help = run(Command::new(tlssrv_path()).arg("--help")).text();
    for (left, right) in rows("## tlssrv") {
        let Some(flag) = left.strip_prefix("`-").and_then(|rest| rest.chars().next()) else {
            continue;
        };
        let taken = help
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("-{flag}")));
        assert_eq!(taken, !right.starts_with("Not here"), "-{flag}");
    }
    let usage = run(program(compat("listen1").to_str().unwrap()).arg("-z")).stderr;
    assert!(usage.contains("[-tv] [-p maxprocs] address cmd"), "{usage}");
    for flag in ["-1", "-n", "-o", "-O", "-q"] {
        let ran =
            run(program(compat("listen1").to_str().unwrap()).args([flag, "tcp!*!993", "cmd"]));
        assert_eq!(
            (ran.status.code(), ran.stderr),
            (Some(100), usage.clone()),
            "{flag}"
        );
    }
}

#[test]
fn a_keys_only_form_takes_no_certificate_as_the_page_says() {
    let args = ["-a", "-k", "x", "-c", "cert.pem", "cmd"];
    let ran = run(Command::new(tlssrv_path()).args(args));
    assert_eq!(ran.status.code(), Some(100));
    assert!(
        ran.stderr.contains("-a and -A authenticate by PSK alone"),
        "{}",
        ran.stderr
    );
}

/// The rows of the table in a section: left and right cell.
fn rows(section: &str) -> Vec<(String, String)> {
    let page = fs::read_to_string(compat("README.md")).unwrap();
    let (_, text) = page.split_once(&format!("{section}\n")).unwrap();
    let table = text.lines().take_while(|line| !line.starts_with("## "));
    let rows = table.filter_map(|line| {
        let (left, right) = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split_once(" | ")?;
        Some((left.to_owned(), right.to_owned()))
    });
    rows.collect()
}
