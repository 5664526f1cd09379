//! `--completions`: shells can load the scripts, and they complete the right words.

use std::collections::BTreeSet;
use std::process::Command;

use tlssrv_testing::examples::options_of_help;
use tlssrv_testing::programs::{Ran, missing, program, run, run_with};
use tlssrv_testing::{Site, tlssrv_path};

fn script(shell: &str) -> String {
    run(Command::new(tlssrv_path()).args(["--completions", shell])).text()
}

/// A site with the script as `completions`, and tlssrv in `bin`.
fn site(shell: &str) -> Site {
    let site = Site::new().with_file("completions", &script(shell));
    std::fs::create_dir(site.file("bin")).unwrap();
    std::os::unix::fs::symlink(tlssrv_path(), site.file("bin/tlssrv")).unwrap();
    site
}

fn options() -> BTreeSet<String> {
    options_of_help(&run(Command::new(tlssrv_path()).arg("--help")).text())
}

/// Long options, one in each line, that begin with this.
fn long_options(start: &str) -> BTreeSet<String> {
    let options = options().into_iter();
    options.filter(|option| option.starts_with(start)).collect()
}

fn first_words(text: &str) -> BTreeSet<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    lines.map(str::to_owned).collect()
}

#[test]
fn bash_loads_the_script_and_completes_options_and_files() {
    if missing(&["bash"]) {
        return;
    }
    let site = site("bash");
    run(program("bash").arg("-n").arg(site.file("completions"))).succeeded();
    // What readline does when TAB is pressed.
    let complete = |words: &str| {
        let script = format!(
            "source ./completions\nCOMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _tlssrv tlssrv \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        let ran = run(program("bash")
            .current_dir(site.path())
            .args(["-c", &script]));
        first_words(&ran.text())
    };
    assert_eq!(complete("tlssrv --"), long_options("--"));
    assert_eq!(complete("tlssrv -f x --re"), long_options("--re"));
    assert_eq!(complete("tlssrv -c cer"), ["cert.pem".to_owned()].into());
    let shells = ["bash", "fish", "zsh"].map(str::to_owned);
    assert_eq!(complete("tlssrv --completions ''"), shells.into());
    let registered = run(program("bash")
        .current_dir(site.path())
        .args(["-c", "source ./completions; complete -p tlssrv"]));
    assert!(registered.text().contains("_tlssrv"));
}

#[test]
fn zsh_loads_the_script_and_has_every_option() {
    if missing(&["zsh"]) {
        return;
    }
    let site = site("zsh");
    run(program("zsh").arg("-n").arg(site.file("completions"))).succeeded();
    // In a directory of functions it is found by the name of its command.
    let found = run(program("zsh")
        .current_dir(site.path())
        .env("HOME", site.path())
        .args([
            "-fc",
            "mv completions _tlssrv; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D; \
         print $_comps[tlssrv]",
        ]));
    assert_eq!(found.text(), "_tlssrv\n");
    let text = script("zsh");
    for option in options() {
        let shown = text.split(['(', ')', '*', '\'', ' ', '[', '+', '=', '{', ',', '}']);
        assert!(shown.into_iter().any(|word| word == option), "{option}");
    }
}

#[test]
fn fish_loads_the_script_and_completes_options() {
    if missing(&["fish"]) {
        return;
    }
    let site = site("fish");
    run(program("fish").arg("-n").arg(site.file("completions"))).succeeded();
    let complete = |line: &str| {
        let script = format!("source ./completions; complete --do-complete '{line}'");
        let ran: Ran = run_with(
            program("fish")
                .current_dir(site.path())
                .env("HOME", site.path())
                .args(["--no-config", "-c", &script]),
            b"",
        );
        first_words(&ran.text())
    };
    assert_eq!(complete("tlssrv --"), long_options("--"));
    let shells = ["bash", "fish", "zsh"].map(str::to_owned);
    assert_eq!(complete("tlssrv --completions "), shells.into());
}

#[test]
fn completions_takes_no_other_option_and_only_known_shells() {
    for args in [
        &["--completions", "tcsh"][..],
        &["--completions"],
        &["--completions", "bash", "cat"],
        &["--completions", "bash", "-f", "tlssrv.toml"],
        &["-D", "--completions", "bash"],
    ] {
        let ran = run(Command::new(tlssrv_path()).args(args));
        assert_eq!(ran.status.code(), Some(100), "{args:?}");
        assert!(ran.stdout.is_empty());
    }
}

#[test]
fn the_scripts_in_etc_are_those_that_the_program_prints() {
    for (shell, file) in [
        ("bash", "tlssrv.bash"),
        ("zsh", "_tlssrv"),
        ("fish", "tlssrv.fish"),
    ] {
        let file = format!("{}/etc/completions/{file}", env!("CARGO_MANIFEST_DIR"));
        let advice = format!("run tlssrv --completions {shell} >{file}");
        assert!(
            std::fs::read_to_string(&file).unwrap() == script(shell),
            "{advice}"
        );
    }
}
