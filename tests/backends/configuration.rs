//! Configuration of backends and load balancers: mistakes, `--check` and `--explain`.

use std::process::Command;

use crate::backend::table;
use tlssrv_testing::programs::{Ran, run};
use tlssrv_testing::{Site, tlssrv_path};

fn tlssrv(toml: &str, arguments: &[&str]) -> Ran {
    let site = Site::new().with_file("tlssrv.toml", toml);
    let mut command = Command::new(tlssrv_path());
    run(command
        .arg("-f")
        .arg(site.file("tlssrv.toml"))
        .args(arguments))
}

#[track_caller]
fn assert_refused(listen: &str, host: &str, why: &str) {
    let ran = tlssrv(&table(listen, host), &["--check"]);
    assert_eq!(ran.status.code(), Some(96), "{}", ran.stderr);
    assert!(ran.stderr.contains(why), "{host}: {}", ran.stderr);
}

const CONNECT: &str = "connect = \"127.0.0.1:80\"";

#[test]
fn a_host_has_either_a_command_or_backends() {
    assert_refused("", "", "\"command\" or \"connect\"");
    let both = format!("{CONNECT}\ncommand = [\"cat\"]\nallow-root = true");
    assert_refused("", &both, "\"connect\" contradicts \"command\"");
}

#[test]
fn keys_of_commands_and_keys_of_backends_exclude_each_other() {
    for key in [
        "user = \"nobody\"",
        "directory = \"/\"",
        "env = { A = \"b\" }",
        "stdio = \"pipe\"",
        "stderr = \"null\"",
        "allow-root = true",
        "new-privileges = true",
    ] {
        assert_refused("", &format!("{CONNECT}\n{key}"), "contradicts \"connect\"");
    }
    for key in [
        "connect-timeout = \"1s\"",
        "resolve = \"1s\"",
        "proxy-protocol = \"v1\"",
    ] {
        let host = format!("command = [\"cat\"]\nallow-root = true\n{key}");
        assert_refused("", &host, "connect");
    }
}

#[test]
fn each_wrong_backend_is_refused_with_its_reason() {
    for (connect, why) in [
        ("[]", "a host needs one"),
        ("\"127.0.0.1\"", "no port"),
        ("\":80\"", "no host"),
        ("\"127.0.0.1:0\"", "no such port"),
        ("\"unix:\"", "no path"),
        (
            "\"no/host:80\"",
            "unable to connect to \"no/host:80\": no such host",
        ),
        ("\"a..b:80\"", "no such host"),
        (
            "\"10.0.0.256:80\"",
            "unable to connect to \"10.0.0.256:80\"",
        ),
        ("[\"127.0.0.1:80\", \"127.0.0.1:80\"]", "already"),
        ("80", "a string or an array of strings"),
    ] {
        assert_refused("", &format!("connect = {connect}"), why);
    }
    let zero = format!("{CONNECT}\nconnect-timeout = \"0s\"");
    assert_refused("", &zero, "longer than 0s");
    let version = format!("{CONNECT}\nproxy-protocol = \"v3\"");
    assert_refused("", &version, "\"v1\"");
    let kill = "connect = \"unix:x\"\non-truncation = \"kill\"";
    assert_refused("", kill, "Unix-domain socket");
}

#[test]
fn a_name_that_does_not_resolve_is_a_warning_of_check_and_explain_shows_it() {
    let toml = table(
        "",
        "connect = [\"no-such-host.invalid:80\", \"127.0.0.1:80\"]",
    );
    let ran = tlssrv(&toml, &["--check"]).succeeded();
    let warning = "tlssrv.toml:8: warning: unable to look up \"no-such-host.invalid\": ";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    let away = "; the backend is away until that works\n";
    assert!(ran.stderr.contains(away), "{}", ran.stderr);
    let said = tlssrv(&toml, &["--explain", ""]).text();
    let backend = "  backend: no-such-host.invalid:80 (away: its name does not resolve)\n";
    assert!(said.contains(backend), "{said}");
}

#[test]
fn a_listener_with_proxy_headers_needs_the_addresses_of_load_balancers() {
    assert_refused("proxy-protocol = true", CONNECT, "proxy-from");
    assert_refused("proxy-from = [\"127.0.0.1\"]", CONNECT, "proxy-protocol");
    let expects = |from: &str| format!("proxy-protocol = true\nproxy-from = {from}");
    assert_refused(&expects("[]"), CONNECT, "nobody could connect");
    assert_refused(&expects("[\"10.0.0.0/33\"]"), CONNECT, "unable to take");
    assert_refused(&expects("[\"localhost\"]"), CONNECT, "unable to take");
    let listen = expects("[\"10.0.0.1/8\", \"::1\", \"2001:db8::/32\", \"unix\"]");
    let ran = tlssrv(&table(&listen, CONNECT), &["--check"]).succeeded();
    assert!(
        ran.stderr.contains("10.0.0.1/8 is taken as 10.0.0.0/8"),
        "{}",
        ran.stderr
    );
}

#[test]
fn check_counts_backends_and_explain_shows_them() {
    let host = "connect = [\"127.0.0.1:80\", \"unix:/run/b.sock\", \"localhost:81\"]\n\
                proxy-protocol = \"v2\"";
    let listen = "proxy-protocol = true\nproxy-from = [\"10.0.0.0/8\", \"unix\"]";
    let ran = tlssrv(&table(listen, host), &["--check"]).succeeded();
    let said = String::from_utf8(ran.stdout).unwrap() + &ran.stderr;
    assert!(said.contains("3 backends"), "{said}");
    let said = tlssrv(&table(listen, host), &["--explain", ""]).text();
    for line in [
        "takes PROXY headers, and only from 10.0.0.0/8, unix\n",
        "  backend: 127.0.0.1:80\n",
        "  backend: unix:/run/b.sock\n",
        "  backend: localhost:81 (",
        "  proxy-protocol: v2\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(!said.contains("command"), "{said}");
}
