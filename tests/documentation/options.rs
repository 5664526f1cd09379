//! The options in the manual, compared with `--help`, and the command lines that it shows.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Command;

use crate::TLSSRV_8;
use tlssrv_testing::examples::options_of_help;
use tlssrv_testing::programs::{program, run};
use tlssrv_testing::tlssrv_path;

#[test]
fn the_page_has_the_options_of_help_and_no_others() {
    let help = run(Command::new(tlssrv_path()).arg("--help")).text();
    let page = TLSSRV_8.tagged(&["OPTIONS"], "Fl");
    let page: BTreeSet<String> = page.iter().map(|name| format!("-{name}")).collect();
    assert_eq!(page, options_of_help(&help));
}

#[test]
fn each_option_has_an_example_that_uses_it() {
    for item in TLSSRV_8.items_in(&["OPTIONS"]) {
        let names: Vec<String> = (item.named("Fl").iter())
            .map(|name| format!("-{name}"))
            .collect();
        let used = |line: &String| names.iter().any(|name| words(line).contains(name));
        assert!(item.examples.iter().any(used), "{names:?}");
    }
}

#[test]
fn each_command_line_of_the_manual_is_accepted() {
    let items = TLSSRV_8.items();
    let mut lines: Vec<String> = items.flat_map(|item| item.examples).collect();
    for display in TLSSRV_8.displays("EXAMPLES") {
        lines.extend(display.replace("\\\n", " ").lines().map(str::to_owned));
    }
    let lines: Vec<&str> = lines.iter().flat_map(|line| line.split(" && ")).collect();
    let mut tried = 0;
    for line in lines {
        // After tcpserver, and in inetd.conf, it comes last.
        let Some(start) = (line.match_indices("tlssrv "))
            .filter(|(at, _)| *at == 0 || line[..*at].ends_with(' '))
            .map(|(at, _)| at)
            .last()
        else {
            continue;
        };
        let arguments = words(line[start..].split(" >").next().unwrap());
        let arguments = arguments.into_iter().map(OsString::from);
        if let Err(error) = tlssrv::cli::parse(arguments) {
            assert!(!error.use_stderr(), "{line}: {error}");
        }
        tried += 1;
    }
    assert!(tried > 25, "{tried}");
}

/// The words of a command line, as sh(1) takes them.
fn words(line: &str) -> Vec<String> {
    let script = format!("printf '%s\\n' {line}");
    let text = run(program("sh").args(["-c", &script])).text();
    text.lines().map(str::to_owned).collect()
}
