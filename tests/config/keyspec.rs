//! `-k`, `-a` and `-A`: pre-shared keys on the command line.

use std::process::Command;

use crate::site::{Outcome, Site, skipped_without_root};
use tlssrv_testing::account::ordinary_user;
use tlssrv_testing::pki::write_secret;

const KEY: &str = "5ec4e75ec4e75ec4e75ec4e75ec4e75e";

/// A site with this PSK file.
fn site(table: &str) -> Site {
    let site = Site::new();
    write_secret(&site.path().join("a.psk"), table);
    site
}

/// Runs `tlssrv --check ARGS… cat`; fails if the output has a key.
fn check(site: &Site, args: &[&str]) -> Outcome {
    let outcome = site.run(&[&["--check"], args, &["cat"]].concat());
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(!said.contains("5ec4e7"), "{said}");
    outcome
}

#[track_caller]
fn fails(outcome: &Outcome, status: i32, message: &str) {
    assert_eq!(outcome.status, Some(status), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
}

#[test]
fn a_command_line_authenticates_by_keys_by_certificates_or_by_both() {
    let site = site(&format!("a:{KEY}:{}\nb:{KEY}:{0}\n", ordinary_user()));
    for (args, summary) in [
        (&["-k", "a.psk"][..], "2 PSK identities"),
        (&["--psk=a.psk", "-A"], "2 PSK identities"),
        (&["-a", "-k", "a.psk"], "2 PSK identities"),
        (&["-k", "file=a.psk"], "2 PSK identities"),
        (&["-ak", "id=b file='a.psk'"], "1 PSK identity"),
        (
            &["-k", "a.psk", "-c", "a.pem", "--key", "a.key"],
            "1 certificate, 2 PSK identities",
        ),
    ] {
        let outcome = check(&site, args);
        outcome.is_fine();
        assert_eq!(
            outcome.summary(),
            format!("ok: 1 listener, 1 host, {summary}")
        );
    }
    let outcome = check(&site, &["-k", "a.psk", "--self-signed", "localhost"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    let outcome = site.run(&["-k", "a.psk", "--explain", "x.example", "cat"]);
    assert!(
        outcome.stdout.ends_with("/cat\"\n  psk: a.psk\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn contradictions_about_keys_are_wrong_usage() {
    let site = site(&format!("a:{KEY}\n"));
    for args in [
        &["-a", "-A", "-k", "a.psk"][..],
        &["-a", "-k", "a.psk", "-f", "x"],
        &["-A", "-k", "a.psk", "-f", "x"],
        &["-k", "a.psk", "-f", "x"],
    ] {
        fails(&check(&site, args), 100, "cannot be used with");
    }
    for option in ["-a", "-A"] {
        let missing = check(&site, &[option]);
        fails(&missing, 100, "required arguments were not provided");
        fails(&missing, 100, "--psk <KEYSPEC>");
        let alone = "-a and -A authenticate by PSK alone; leave them out to take certificates too";
        for certificate in [["-c", "a.pem"], ["--self-signed", "localhost"]] {
            let args = [&[option, "-k", "a.psk"][..], &certificate].concat();
            fails(&check(&site, &args), 100, alone);
        }
    }
    fails(&site.run(&["-a", "-k", "a.psk"]), 100, "<CMD>...");
}

#[test]
fn unknown_attributes_are_wrong_usage() {
    let site = site(&format!("a:{KEY}\n"));
    for (spec, reason) in [
        (
            "proto=psk file=a.psk",
            "unknown attribute \"proto\": known are file and id",
        ),
        (
            "file=a.psk !hex=5ec4e7",
            "unknown attribute \"!hex\": known are file and id",
        ),
        ("id=a", "no file=PATH"),
        ("file='a.psk", "a quotation mark is missing"),
        ("file=a.psk id=", "an identity has 1 to 256 bytes"),
    ] {
        let message = format!("unable to read the value of --psk: {reason}");
        fails(&check(&site, &["-k", spec]), 100, &message);
    }
}

#[test]
fn an_identity_that_is_not_in_the_file_is_a_wrong_configuration() {
    let site = site(&format!("a:{KEY}\n"));
    let outcome = check(&site, &["-k", "file=a.psk id='b c'"]);
    fails(
        &outcome,
        96,
        "tlssrv: no identity \"b c\" in PSK file \"a.psk\"\n",
    );
    let outcome = site.run(&["-k", "file=a.psk id=b", "cat"]);
    assert_eq!(outcome.status, Some(96));
}

#[test]
fn mistakes_in_the_file_have_its_name_and_line_and_show_no_key() {
    let site = site(&format!("a:{KEY}:{}\n{KEY}\nb:{KEY}0\n", ordinary_user()));
    let outcome = check(&site, &["-a", "-k", "a.psk"]);
    fails(
        &outcome,
        96,
        "\na.psk:3: unable to use key: not pairs of hexadecimal digits: ",
    );
    fails(&outcome, 96, "a.psk:2: unable to use line: no key; ");
    let outcome = check(&site, &["-k", "b.psk"]);
    let message = "tlssrv: unable to read PSK file \"b.psk\": No such file or directory\n";
    fails(&outcome, 96, message);
}

#[test]
fn with_a_each_identity_needs_a_user_and_with_capital_a_none_does() {
    let site = site(&format!("a:{KEY}\nb:{KEY}:no-such-user\n"));
    check(&site, &["-k", "a.psk"]).is_fine();
    check(&site, &["-A", "-k", "a.psk"]).is_fine();
    let outcome = check(&site, &["-a", "-k", "a.psk"]);
    fails(&outcome, 96, "a.psk:2: unknown user\n");
    fails(
        &outcome,
        96,
        "a.psk:1: warning: identity \"a\" has no user: ",
    );
    let outcome = check(&site, &["-a", "-k", "file=a.psk id=a"]);
    fails(
        &outcome,
        96,
        "tlssrv: no identity in PSK file \"a.psk\" has a user: nobody can be served\n",
    );
}

#[test]
fn a_command_line_lets_no_identity_run_as_root() {
    if skipped_without_root() {
        return;
    }
    let site = site(&format!("a:{KEY}:root\n"));
    let message = "a.psk:1: the command would run as root: give the identity another user; only a file with -f can allow root\n";
    fails(&check(&site, &["-a", "-k", "a.psk"]), 96, message);
    check(&site, &["-A", "-k", "a.psk"]).is_fine();
}

#[test]
fn a_server_that_gives_each_identity_a_user_gets_no_warning_about_root() {
    if skipped_without_root() {
        return;
    }
    let site = site(&format!("a:{KEY}:nobody\n"));
    let listen = ["--listen", "127.0.0.1:0", "-k", "a.psk"];
    check(&site, &[&["-a"][..], &listen].concat()).is_fine();
    let warning = "warning: the command runs as root: a file with -f can give it a user";
    fails(&check(&site, &[&["-A"][..], &listen].concat()), 0, warning);
}

#[test]
fn a_psk_file_may_come_through_a_pipe() {
    let site = Site::new();
    let tlssrv = tlssrv_testing::tlssrv_path();
    let script = format!("printf 'a:{KEY}\\n' | {tlssrv} --check -k /dev/stdin cat");
    let ran = Command::new("sh")
        .args(["-c", &script])
        .current_dir(site.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        said.starts_with("ok: 1 listener, 1 host, 1 PSK identity\n"),
        "{said}"
    );
}
