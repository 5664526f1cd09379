//! PSK files, and the keys of the configuration that belong to them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tlssrv::config::{self, ConfigSource, Form, Options, Trace};
use tlssrv::types::HandshakeInfo;
use tlssrv::types::{HostId, PskIdentity};

use crate::site::{
    CERTIFIED, LISTENER, Outcome, Site, host, skipped_as_root, skipped_without_root, user,
    with_host,
};
use tlssrv_testing::account::{me, ordinary_user};
use tlssrv_testing::pki::write_secret;

/// Two keys, which no message may show.
pub(crate) const KEY: &str = "5ec4e75ec4e75ec4e75ec4e75ec4e75e";
const OTHER: &str = "0DDBA110DDBA110DDBA110DDBA11FACE";
/// The line of a host that has keys in place of a certificate.
const PSK: &str = "psk = \"a.psk\"\n";

/// A site with this PSK file.
pub(crate) fn site(table: &str) -> Site {
    let site = Site::new();
    write_secret(&path(&site), table);
    site
}

pub(crate) fn path(site: &Site) -> PathBuf {
    site.path().join("a.psk")
}

/// A table whose host has a PSK file, and more lines.
pub(crate) fn with_psk(lines: &str) -> String {
    with_host(lines).replace(CERTIFIED, PSK)
}

/// A table whose host has a PSK file that gives the users, and more lines.
fn with_users(lines: &str) -> String {
    let own = host("a.example")
        .replace(CERTIFIED, PSK)
        .replace(user(), "");
    format!("{LISTENER}{own}run-as = \"psk\"\n{lines}\n")
}

/// Fails unless it was refused with exactly these messages about lines of the PSK file, and without a key.
#[track_caller]
fn refuses_lines(site: &Site, outcome: &Outcome, messages: &[(usize, &str)]) {
    assert_eq!(
        outcome.status,
        Some(96),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    let path = path(site).display().to_string();
    let expected: Vec<String> = messages
        .iter()
        .map(|(line, message)| format!("{path}:{line}: {message}"))
        .collect();
    let found = outcome
        .stderr
        .lines()
        .filter(|line| !line.contains("notice:"));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    shows_no_key(outcome);
}

#[track_caller]
pub(crate) fn shows_no_key(outcome: &Outcome) {
    let said = format!("{}{}", outcome.stdout, outcome.stderr).to_lowercase();
    for part in ["5ec4e7", "0ddba1", "face"] {
        assert!(!said.contains(part), "{said}");
    }
}

#[test]
fn a_host_authenticates_by_certificates_by_keys_or_by_both() {
    let site = site(&format!("# identities\n\na:{KEY}\nb:{OTHER}::sha384\r\n"));
    let outcome = site.check(&with_psk(""));
    outcome.is_fine();
    assert_eq!(
        outcome.summary(),
        "ok: 1 listener, 1 host, 2 PSK identities"
    );
    let outcome = site.check(&with_host(PSK));
    outcome.is_fine();
    assert_eq!(
        outcome.summary(),
        "ok: 1 listener, 1 host, 1 certificate, 2 PSK identities"
    );
    let outcome = site.run_with(&with_host(PSK), &["--explain", "a.example"]);
    let (certificate, psk) = (site.path().join("a.pem"), path(&site));
    let both = format!(
        "  certificate: {}\n  psk: {}\n",
        certificate.display(),
        psk.display()
    );
    assert!(outcome.stdout.ends_with(&both), "{}", outcome.stdout);
    let outcome = site.run_with(&with_psk(""), &["--explain", "a.example"]);
    assert!(
        !outcome.stdout.contains("certificate"),
        "{}",
        outcome.stdout
    );
    shows_no_key(&outcome);
}

#[test]
fn every_key_about_psk_is_understood() {
    let site = site(&format!("a:{KEY}\n"));
    for value in ["true", "false"] {
        let lines = format!("psk-only-ke = {value}\npsk-plain = {value}\nrun-as = \"user\"");
        site.check(&with_psk(&lines)).is_fine();
    }
    site.check(&with_psk("run-as = \"root\"")).refuses(
        "run-as",
        "expected \"user\" or \"psk\" or \"cert-cn\", found \"root\"",
    );
    site.check(&with_psk("psk-plain = 1"))
        .refuses("psk-plain", "expected true or false, found an integer");
}

#[test]
fn keys_about_psk_need_a_psk_file() {
    let site = Site::new();
    for (key, value) in [
        ("psk-only-ke", "false"),
        ("psk-plain", "true"),
        ("run-as", "\"psk\""),
    ] {
        site.check(&with_host(&format!("{key} = {value}")))
            .refuses(key, &format!("{key:?} without \"psk\""));
    }
    site.check(&with_host("run-as = \"user\"")).is_fine();
}

#[test]
fn a_psk_file_that_cannot_be_used_is_named() {
    let site = site("# nobody yet\n\n");
    let quoted = format!("{:?}", path(&site).display().to_string());
    site.check(&with_psk("")).refuses(
        "psk =",
        &format!("unable to use PSK file {quoted}: no key in it"),
    );

    write_secret(&path(&site), &format!("a:{KEY}\n").repeat(40_000));
    site.check(&with_psk("")).refuses(
        "psk =",
        &format!("unable to read PSK file {quoted}: larger than a mebibyte"),
    );

    fs::remove_file(path(&site)).unwrap();
    site.check(&with_psk("")).refuses(
        "psk =",
        &format!("unable to read PSK file {quoted}: No such file or directory"),
    );
}

#[test]
fn a_psk_file_that_everybody_can_read_is_refused() {
    let site = site(&format!("a:{KEY}\n"));
    let quoted = format!("{:?}", path(&site).display().to_string());
    for mode in [0o640, 0o660] {
        fs::set_permissions(path(&site), fs::Permissions::from_mode(mode)).unwrap();
        site.check(&with_psk("")).is_fine();
    }
    for mode in [0o644, 0o604] {
        fs::set_permissions(path(&site), fs::Permissions::from_mode(mode)).unwrap();
        let outcome = site.check(&with_psk(""));
        let message = format!("unable to use PSK file {quoted}: everybody can read it");
        outcome.refuses("psk =", &message);
        shows_no_key(&outcome);
    }
}

#[test]
fn every_mistake_in_a_psk_file_is_shown_with_its_line_and_without_the_line_itself() {
    let long = "i".repeat(257);
    let table = format!(
        "# comment\n\
         {KEY}\n\
         {KEY}:a\n\
         :{KEY}\n\
         {long}:{KEY}\n\
         a:{KEY}0\n\
         b:5ec4e7\n\
         c:{KEY}:nobody:md5\n\
         x:c:{KEY}:nobody:sha256\n\
         fine:{OTHER}\n\
         \x20 # another\n\
         fine:{KEY}\r\n\
         d: {KEY}\n\
         {KEY}:{KEY}x:{OTHER}:{OTHER}\n"
    );
    let site = site(&table);
    let outcome = site.check(&with_psk(""));
    let digits = "unable to use key: not pairs of hexadecimal digits: a key that is text is written as \
                  identity:text:key, or in the digits that \"printf %s KEY | od -An -v -tx1 | tr -d ' \\n'\" prints";
    let hash = "unable to use hash: known are sha256 and sha384";
    let identity = "unable to use identity: an identity has 1 to 256 bytes";
    let expected = [
        (
            2,
            "unable to use line: no key; write identity:hexkey[:user[:hash]] or identity:text:key",
        ),
        (3, digits),
        (4, identity),
        (5, identity),
        (6, digits),
        (
            7,
            "unable to use key: a key has 16 to 1024 bytes; whoever records one handshake can find out a shorter one \
             by trial",
        ),
        (8, hash),
        (
            9,
            "unable to use line: too many colons; write identity:hexkey[:user[:hash]] or identity:text:key",
        ),
        (12, "unable to use identity: line 10 has it already"),
        (13, digits),
        (14, hash),
        (14, digits),
    ];
    refuses_lines(&site, &outcome, &expected);
}

#[test]
fn mistakes_in_a_psk_file_are_reported_where_the_table_names_the_file() {
    let site = site(&format!("a:{KEY}x\n"));
    let text = with_psk("umask = \"999\"").replace("names = [\"a", "names = [\"*a");
    let outcome = site.check(&text);
    let at = |what: &str| outcome.stderr.find(what).unwrap();
    assert!(
        at("unable to use name") < at("a.psk:1: "),
        "{}",
        outcome.stderr
    );
    assert!(
        at("a.psk:1: ") < at("unable to use umask"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_psk_file_of_many_hosts_is_read_once() {
    let site = site(&format!("a:{KEY}\nb:{KEY}\n"));
    let two = |text: &str| {
        let second = host("b.a.example").replace(CERTIFIED, PSK);
        format!("{}{second}", with_psk(text))
    };
    let outcome = site.check(&two(""));
    outcome.is_fine();
    assert_eq!(
        outcome.summary(),
        "ok: 1 listener, 2 hosts, 2 PSK identities"
    );
    write_secret(&path(&site), &format!("a:{KEY}\nb\n"));
    let message =
        "unable to use line: no key; write identity:hexkey[:user[:hash]] or identity:text:key";
    refuses_lines(&site, &site.check(&two("")), &[(2, message)]);
}

#[test]
fn with_run_as_psk_each_user_in_the_psk_file_must_exist() {
    let site = site(&format!(
        "a:{KEY}:{0}\nb:{KEY}:{0}:sha384\n",
        ordinary_user()
    ));
    site.check(&with_users("")).is_fine();

    let table = format!(
        "a:{KEY}:{}\nb:{KEY}:no-such-user\nc:{KEY}:{OTHER}\n",
        ordinary_user()
    );
    write_secret(&path(&site), &table);
    let unknown = [(2, "unknown user"), (3, "unknown user")];
    refuses_lines(&site, &site.check(&with_users("")), &unknown);
    // Without run-as the users are not looked up.
    site.check(&with_psk("")).is_fine();
}

#[test]
fn an_identity_without_user_gets_a_warning_and_a_file_of_them_is_refused() {
    let site = site(&format!("a:{KEY}:{}\nb \x01\"c:{KEY}\n", ordinary_user()));
    let outcome = site.check(&with_users(""));
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    let warning = format!(
        "{}:2: warning: identity \"b \\x01\\\"c\" has no user: clients with this identity are refused\n",
        path(&site).display()
    );
    assert!(outcome.stderr.contains(&warning), "{}", outcome.stderr);
    shows_no_key(&outcome);

    write_secret(&path(&site), &format!("a:{KEY}\nb:{KEY}::sha256\n"));
    let outcome = site.check(&with_users(""));
    let message = format!(
        "no identity in PSK file {:?} has a user: nobody can be served",
        path(&site).display().to_string()
    );
    outcome.refuses("psk =", &message);
    assert!(!outcome.stderr.contains("warning"), "{}", outcome.stderr);
}

#[test]
fn a_user_of_the_host_contradicts_users_of_identities_unless_there_is_a_certificate() {
    let site = site(&format!("a:{KEY}:{}\n", ordinary_user()));
    for key in ["user", "group", "groups"] {
        let value = if key == "groups" {
            "[\"root\"]"
        } else {
            "\"root\""
        };
        let message = format!(
            "{key:?} contradicts run-as = \"psk\": without \"cert\" each client gets the user of its identity"
        );
        site.check(&with_users(&format!("{key} = {value}")))
            .refuses(&format!("{key} ="), &message);
    }
    site.check(&with_host(&format!("{PSK}run-as = \"psk\"")))
        .is_fine();
}

#[test]
fn clients_without_a_key_need_the_user_of_the_host() {
    if skipped_without_root() {
        return;
    }
    let site = site(&format!("a:{KEY}:nobody\n"));
    let text = with_host(&format!("{PSK}run-as = \"psk\"")).replace(user(), "");
    site.check(&text).refuses(
        "[[host]]",
        "the command would run as root: give it a user, or allow-root = true",
    );
}

#[test]
fn an_identity_runs_as_root_only_with_allow_root() {
    if skipped_without_root() {
        return;
    }
    let site = site(&format!("a:{KEY}:nobody\nb:{KEY}:root\n"));
    let message = "the command would run as root: give the identity another user, or the host allow-root = true";
    refuses_lines(&site, &site.check(&with_users("")), &[(2, message)]);
    site.check(&with_users("allow-root = true")).is_fine();
}

#[test]
fn only_root_can_give_an_identity_another_user() {
    if skipped_as_root() {
        return;
    }
    let site = site(&format!("a:{KEY}:{}\nb:{KEY}:root\n", me().name));
    let message = "unable to change the command's user: tlssrv does not run as root";
    refuses_lines(
        &site,
        &site.check(&with_users("allow-root = true")),
        &[(2, message)],
    );
}

#[test]
fn an_engine_can_report_only_identities_of_its_host() {
    let site = site(&format!("a:{KEY}\nb:{KEY}\n"));
    let file = site.path().join("site.toml");
    let load = |text: &str| {
        fs::write(&file, text).unwrap();
        let options = Options {
            passed: None,
            log: None,
            level: None,
            remote_name: None,
            trace: Trace::Off,
        };
        let source = ConfigSource::File(file.clone());
        let Ok(loaded) = config::load(&source, Form::Server, &options) else {
            panic!("{text} does not load");
        };
        loaded.config.hosts
    };
    let [a, c] = [b"a", b"c"].map(|name| PskIdentity::try_from(name.to_vec()).unwrap());
    let claims = |text: &str| {
        let hosts = load(text);
        let host = hosts.get(HostId::new(0)).unwrap();
        [Some(&a), Some(&c), None].map(|identity| {
            host.can_authenticate(&HandshakeInfo {
                psk_identity: identity.cloned(),
                ..HandshakeInfo::default()
            })
        })
    };
    assert_eq!(claims(&with_host("")), [false, false, true]);
    assert_eq!(claims(&with_psk("")), [true, false, false]);
    assert_eq!(claims(&with_host(PSK)), [true, false, true]);
}
