//! The command line: combinations of options, and exit statuses.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use crate::site::{Site, with_host};
use tlssrv_testing::pki::{self, KeyType, Valid};
use tlssrv_testing::socket::tcp_pair;
use tlssrv_testing::tlssrv_path;

#[track_caller]
fn wrong_usage(args: &[&str], message: &str) {
    let outcome = Site::new().run(args);
    assert_eq!(outcome.status, Some(100), "{args:?}: {}", outcome.stderr);
    assert!(
        outcome.stderr.contains(message),
        "{args:?}: {}",
        outcome.stderr
    );
}

#[test]
fn help_and_version_go_to_standard_output() {
    let site = Site::new();
    let help = site.run(&["--help"]);
    assert_eq!((help.status, help.stderr.as_str()), (Some(0), ""));
    assert!(
        help.stdout.contains("--self-signed <NAME>"),
        "{}",
        help.stdout
    );
    let version = site.run(&["--version"]);
    assert_eq!(version.status, Some(0));
    assert_eq!(
        version.stdout,
        format!("tlssrv {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn contradictions_and_gaps_are_wrong_usage() {
    wrong_usage(&[], "required arguments were not provided");
    wrong_usage(&["-c", "a.pem"], "<CMD>...");
    wrong_usage(
        &["cat"],
        "neither certificate nor key: give --cert FILE or --psk KEYSPEC, or --self-signed NAME to try \
         things out",
    );
    wrong_usage(
        &["-f", "x", "cat"],
        "'--config <FILE>' cannot be used with '[CMD]...'",
    );
    wrong_usage(
        &["-f", "x", "--listen", ":1"],
        "cannot be used with '--listen <ADDR>'",
    );
    wrong_usage(&["-f", "x", "-c", "a.pem"], "cannot be used with");
    wrong_usage(&["-f", "x", "-D", "--quiet"], "cannot be used with");
    wrong_usage(&["-f", "x", "--self-signed", "x"], "cannot be used with");
    wrong_usage(
        &["-f", "x", "--check", "--explain", ""],
        "cannot be used with",
    );
    wrong_usage(
        &["-c", "a.pem", "--self-signed", "x", "cat"],
        "cannot be used with",
    );
    let inetd = ["--self-signed", "x", "--inetd", "cat"];
    wrong_usage(&inetd, "--inetd needs --config");
}

#[test]
fn a_key_belongs_to_the_certificate_before_it() {
    wrong_usage(&["--key", "a.key", "cat"], "--cert <FILE>");
    wrong_usage(
        &["--key", "a.key", "-c", "a.pem", "cat"],
        "--key belongs to the --cert before it",
    );
    wrong_usage(
        &["-c", "a.pem", "--key", "a.key", "--key", "b.key", "cat"],
        "two keys for the certificate",
    );

    let site = Site::new();
    pki::certificate_with(&["a.example"], KeyType::Rsa, Valid::Now)
        .write_combined(&site.path().join("rsa.pem"));
    let outcome = site.run(&[
        "--check",
        "-c",
        "rsa.pem",
        "--cert=a.pem",
        "--key",
        "a.key",
        "cat",
    ]);
    outcome.is_fine();
    assert_eq!(outcome.summary(), "ok: 1 listener, 1 host, 2 certificates");
}

#[test]
fn an_unknown_option_is_wrong_usage() {
    for option in ["-b", "--bogus"] {
        wrong_usage(
            &[option, "cat"],
            &format!("unexpected argument '{option}' found"),
        );
    }
}

#[test]
fn arguments_after_the_command_belong_to_the_command() {
    let outcome = Site::new().run(&[
        "--self-signed",
        "x",
        "--explain",
        "",
        "cat",
        "-f",
        "--check",
        "--",
        "-c",
    ]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(
        outcome
            .stdout
            .contains("cat\" \"-f\" \"--check\" \"--\" \"-c\"\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_bad_address_is_wrong_usage() {
    for address in ["993", "systemd:", "systemd:a:b", "unix:", "::1:993"] {
        let message = format!("tlssrv: unable to listen on {address:?}: ");
        wrong_usage(
            &["--self-signed", "x", "--listen", address, "cat"],
            &message,
        );
    }
    let twice = [
        "--self-signed",
        "x",
        "--listen",
        ":993",
        "--listen",
        "127.0.0.1:993",
        "cat",
    ];
    wrong_usage(
        &twice,
        "unable to listen on \"127.0.0.1:993\": it is part of \":993\"",
    );
}

#[test]
fn a_command_that_cannot_be_run_ends_with_126_or_127() {
    let site = Site::new();
    fs::write(site.path().join("text"), "").unwrap();
    for (command, status) in [
        ("no-such-command", 127),
        ("./none", 127),
        ("./text", 126),
        ("/", 126),
    ] {
        let outcome = site.run(&["--self-signed", "x", command]);
        assert_eq!(
            outcome.status,
            Some(status),
            "{command}: {}",
            outcome.stderr
        );
        let message = format!("tlssrv: unable to run command {command:?}: ");
        assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
        assert_eq!(
            site.run(&["--self-signed", "x", "--check", command]).status,
            Some(96)
        );
    }
}

#[test]
fn a_certificate_that_cannot_be_used_keeps_a_command_from_starting() {
    let site = Site::new();
    let outcome = site.run(&["-c", "none.pem", "cat"]);
    assert_eq!(outcome.status, Some(97), "{}", outcome.stderr);
    let message = "tlssrv: unable to read certificate \"none.pem\": No such file or directory\n";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
    assert_eq!(
        site.run(&["--check", "-c", "none.pem", "cat"]).status,
        Some(96)
    );
}

#[test]
fn a_throw_away_certificate_is_for_a_name_or_an_address_and_gets_a_warning() {
    let site = Site::new();
    for name in [
        "localhost",
        "*.example.com",
        "127.0.0.1",
        "::1",
        "b\u{fc}cher.example",
    ] {
        let outcome = site.run(&["--self-signed", name, "--check", "cat"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        let message =
            format!("tlssrv: warning: certificate for {name:?} made up: no client trusts it\n");
        assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
    }
    let outcome = site.run(&["--self-signed", "a b", "--check", "cat"]);
    assert_eq!(outcome.status, Some(96));
    let message = "tlssrv: unable to make a certificate for \"a b\": not a host name\n";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
}

#[test]
fn a_server_with_a_wrong_configuration_ends_with_96() {
    let outcome = Site::new().run_with(&with_host("colour = 1"), &[]);
    assert_eq!(outcome.status, Some(96), "{}", outcome.stderr);
}

#[test]
fn nothing_is_written_to_standard_error_that_is_the_connection() {
    let (mut client, connection) = tcp_pair();
    let duplicate = || Stdio::from(OwnedFd::from(connection.try_clone().unwrap()));
    for args in [["--bogus", "x"].as_slice(), &["-c", "none.pem", "cat"]] {
        let mut command = Command::new(tlssrv_path());
        let command = command
            .args(args)
            .stdin(duplicate())
            .stdout(duplicate())
            .stderr(duplicate());
        assert!(!command.status().unwrap().success());
    }
    drop(connection);
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}
