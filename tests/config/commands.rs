//! Commands: their file, directory, environment and limits.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::site::{Site, with_host};
use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::tlssrv_path;

/// A table whose host has this command.
fn with_command(command: &str) -> String {
    with_host("").replace("[\"cat\"]", command)
}

#[test]
fn a_host_needs_a_command_or_backends() {
    let site = Site::new();
    let absent = with_host("").replace("command = [\"cat\"]\n", "");
    site.check(&absent)
        .refuses("[[host]]", "[[host]] without \"command\" or \"connect\"");
    site.check(&with_command("[]"))
        .refuses("command", "no command: a host needs one");
}

#[test]
fn new_privileges_gets_a_warning_where_tlssrv_itself_can_gain_none() {
    if missing(&["setpriv"]) {
        return;
    }
    let site = Site::new();
    let why = "has no effect: tlssrv itself runs with no_new_privs, and so does the command; \
               under systemd, set NoNewPrivileges=no for the service";
    let host = |value: bool| with_host(&format!("new-privileges = {value}\n"));
    site.check(&host(true)).is_fine();
    fs::write(site.path().join("true.toml"), host(true)).unwrap();
    fs::write(site.path().join("false.toml"), host(false)).unwrap();
    let confined = |args: &[&str]| {
        let mut command = program("setpriv");
        command.args(["--no-new-privs", tlssrv_path(), "--check"]);
        let ran = run(command.args(args).current_dir(site.path())).succeeded();
        ran.stderr
    };
    let said = confined(&["-f", "true.toml"]);
    assert!(
        said.contains(&format!("warning: new-privileges {why}")),
        "{said}"
    );
    let said = confined(&["-f", "false.toml"]);
    assert!(!said.contains("new-privileges"), "{said}");
    let line = ["--listen", "127.0.0.1:0", "-c", "a.pem", "--key", "a.key"];
    let said = confined(&[&line[..], &["--new-privileges", "cat"]].concat());
    assert!(
        said.contains(&format!("warning: --new-privileges {why}")),
        "{said}"
    );
    let said = confined(&[&line[..], &["cat"]].concat());
    assert!(!said.contains("new-privileges"), "{said}");
}

#[test]
fn a_command_that_cannot_be_run_is_refused() {
    let site = Site::new();
    fs::write(site.path().join("text"), "#!/bin/sh\n").unwrap();
    for (command, reason) in [
        ("no-such-command", "not in PATH"),
        ("./no-such-command", "No such file or directory"),
        ("./text", "not executable"),
        ("/", "not a file"),
        ("", "an empty name"),
    ] {
        let message = format!("unable to run command {command:?}: {reason}");
        site.check(&with_command(&format!("[{command:?}]")))
            .refuses("command", &message);
    }
    let text = with_command("[\"cat\", \"a\\u0000b\"]");
    site.check(&text)
        .refuses("command", "unable to use \"a\\0b\": it contains a NUL byte");
}

#[test]
fn a_command_is_looked_up_in_path_or_beside_the_configuration() {
    let site = Site::new();
    let script = site.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = site.run_with(
        &with_command("[\"./script\", \"x y\"]"),
        &["--explain", "a.example"],
    );
    let command = format!(
        "command: {:?} \"x y\"\n",
        site.path().join("./script").display().to_string()
    );
    assert!(outcome.stdout.contains(&command), "{}", outcome.stdout);

    let outcome = site.run_with(&with_command("[\"cat\"]"), &["--explain", "a.example"]);
    assert!(
        outcome.stdout.contains("/bin/cat\"\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_directory_that_does_not_exist_is_refused() {
    let site = Site::new();
    let message = "unable to use directory \"none\": No such file or directory";
    site.check(&with_host("directory = \"none\""))
        .refuses("directory", message);
    let message = "unable to use directory \"a.pem\": not a directory";
    site.check(&with_host("directory = \"a.pem\""))
        .refuses("directory", message);
    site.check(&with_host("directory = \".\"")).is_fine();
}

#[test]
fn a_variable_needs_a_name() {
    let site = Site::new();
    let message = "unable to set variable \"A=B\": not a name";
    site.check(&with_host("env = { \"A=B\" = \"\" }"))
        .refuses("env", message);
    site.check(&with_host("pass-env = [\"A=B\"]"))
        .refuses("pass-env", message);
}

#[test]
fn a_variable_that_tlssrv_sets_is_refused() {
    let site = Site::new();
    for name in tlssrv::environment::NAMES {
        let message = format!(
            "unable to set variable {name:?}: tlssrv does that itself, for each connection"
        );
        site.check(&with_host(&format!("env = {{ {name} = \"x\" }}")))
            .refuses("env", &message);
        site.check(&with_host(&format!("pass-env = [{name:?}]")))
            .refuses("pass-env", &message);
    }
}

#[test]
fn a_umask_is_octal() {
    let site = Site::new();
    site.check(&with_host("umask = \"027\"")).is_fine();
    for mask in ["8", "1000", "", "+22", "rw"] {
        let message = format!("unable to use umask {mask:?}: not an octal number up to 777");
        site.check(&with_host(&format!("umask = {mask:?}")))
            .refuses("umask", &message);
    }
}

#[test]
fn wrong_resource_limits_are_refused() {
    let site = Site::new();
    let refused = |limit: &str, message: &str| {
        site.check(&with_host(&format!("rlimits.{limit}")))
            .refuses("rlimits", message);
    };
    refused(
        "cpu = { soft = 2, hard = 1 }",
        "unable to limit \"cpu\": the soft limit is above the hard limit",
    );
    refused("cpu = { soft = 2 }", "a limit without \"hard\"");
    let expected = "expected an integer, \"unlimited\" or { soft = …, hard = … }, found a string";
    refused("cpu = \"none\"", expected);
    let outcome = site.check(&with_host("rlimits.memory = 1"));
    assert!(
        outcome
            .stderr
            .contains("unable to limit \"memory\": unknown; known are as, core,")
    );
    if !is_root() {
        let outcome = site.check(&with_host("rlimits.nofile = \"unlimited\""));
        assert!(
            outcome.stderr.contains("and only root may raise it"),
            "{}",
            outcome.stderr
        );
    }
}

#[test]
fn a_protocol_name_has_a_length() {
    let message = "a protocol's name has 1 to 255 bytes";
    Site::new()
        .check(&with_host("alpn = [\"imap\", \"\"]"))
        .refuses("alpn", message);
}
