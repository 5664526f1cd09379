//! The configuration file as a whole: TOML, keys, types, ranges, listeners.

use std::fs;

use crate::site::{LISTENER, Site, host, with_host};

#[test]
fn a_good_file_is_summed_up() {
    let outcome = Site::new().check(&with_host(""));
    outcome.is_fine();
    assert_eq!(outcome.summary(), "ok: 1 listener, 1 host, 1 certificate");
}

#[test]
fn the_summary_names_the_limits_that_hold() {
    let site = Site::new();
    for (limits, held) in [
        (
            "",
            r#"connections = 4096, per-source = 1024, handshake = "10s", linger = "60s""#,
        ),
        (
            "[limits]\nconnections = 100\nidle = \"30m\"\nper-source-rate = 20\n",
            r#"connections = 100, per-source = 25, per-source-rate = 20, handshake = "10s", idle = "1800s", linger = "60s""#,
        ),
        (
            "[limits]\nconnections = 2\n",
            r#"connections = 2, per-source = 1, handshake = "10s", linger = "60s""#,
        ),
        (
            "[limits]\nper-source = 7\n",
            r#"connections = 4096, per-source = 7, handshake = "10s", linger = "60s""#,
        ),
        (
            "[limits]\nper-source = 0\n",
            r#"connections = 4096, handshake = "10s", linger = "60s""#,
        ),
    ] {
        let outcome = site.check(&format!("{limits}{}", with_host("")));
        outcome.is_fine();
        let lines: Vec<_> = outcome.stdout.lines().collect();
        assert_eq!(lines[1..], [format!("limits: {held}")], "{limits}");
    }
    // One connection has no limit on many.
    let outcome = site.run_with(&with_host(""), &["--check", "--inetd"]);
    let line = "\nlimits: handshake = \"10s\", linger = \"60s\"\n";
    assert!(outcome.stdout.ends_with(line), "{}", outcome.stdout);
}

#[test]
fn every_key_is_understood() {
    let text = format!(
        r#"
engines = 0
engine-user = "nobody"

[log]
to = "syslog"
format = "text"

[limits]
connections = 4096
handshake = "10s"
idle = "0s"
linger = "1m30s"

[[listen]]
name = "tls"
address = "127.0.0.1:0"
unknown-name = "default"
missing-name = "default"

[[listen]]
address = "unix:x.sock"

{}
default = true
listen = ["tls", "unix:x.sock"]
alpn = ["imap"]
directory = "/"
env = {{ LANG = "C.UTF-8" }}
pass-env = ["TZ"]
umask = "022"
rlimits = {{ nofile = 64, core = 0, cpu = {{ soft = 10, hard = 20 }}, stack = "unlimited" }}
stderr = "log"
stdio = "socket"
new-privileges = false
on-truncation = "eof"
"#,
        host("a.example")
    );
    let outcome = Site::new().check(&text);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let outcome = Site::new().run(&["-f", "none.toml", "--check"]);
    assert_eq!(outcome.status, Some(96));
    let message = "none.toml: unable to read configuration: No such file or directory\n";
    assert_eq!(outcome.stderr, message);
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_at_its_line() {
    let site = Site::new();
    fs::write(site.path().join("site.toml"), b"engines = 1\n# caf\xe9\n").unwrap();
    let outcome = site.run(&["-f", "site.toml", "--check"]);
    assert_eq!(outcome.status, Some(96));
    let message = "site.toml:2: unable to read configuration: not UTF-8\n  2 | # caf";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
}

#[test]
fn a_mistake_in_toml_is_refused_at_its_line() {
    let site = Site::new();
    site.check("engines = 1\nengine-user = \"x\n").refuses(
        "engine-user",
        "unable to read TOML: invalid basic string, expected `\"`",
    );
    site.check("engines = 1\nengines = 2 # again\n")
        .refuses("again", "unable to read TOML: duplicate key");
}

#[test]
fn an_unknown_key_is_refused_with_a_guess_or_with_the_list_of_known_ones() {
    let site = Site::new();
    site.check(&with_host("nmaes = []")).refuses(
        "nmaes",
        "unknown key \"nmaes\" in [[host]]: did you mean \"names\"?",
    );
    let text = format!("[limits]\ncolour = 1\n{}", with_host(""));
    let known = "known are connections, per-source, per-source-rate, handshake, idle, linger, \
             keep-alive, send-buffer, receive-buffer";
    site.check(&text).refuses(
        "colour",
        &format!("unknown key \"colour\" in [limits]: {known}"),
    );
}

#[test]
fn a_wrong_type_is_refused() {
    let site = Site::new();
    for (line, message) in [
        ("alpn = [1]", "expected a string, found an integer"),
        (
            "default = \"yes\"",
            "expected true or false, found a string",
        ),
        ("env = []", "expected a table, found an array"),
        ("umask = 0o022", "expected a string, found an integer"),
        (
            "stdio = true",
            "expected \"socket\" or \"pipe\", found a boolean",
        ),
        (
            "stderr = \"file\"",
            "expected \"log\" or \"inherit\" or \"null\", found \"file\"",
        ),
        (
            "new-privileges = \"yes\"",
            "expected true or false, found a string",
        ),
        (
            "on-truncation = 2000-01-01",
            "expected \"eof\" or \"kill\", found a date",
        ),
    ] {
        site.check(&with_host(line)).refuses(line, message);
    }
    site.check("host = 1.5").refuses(
        "host",
        "expected an array of tables: [[host]], found a float",
    );
    site.check("log = \"stderr\"")
        .refuses("log", "expected a table: [log], found a string");
}

#[test]
fn a_command_is_a_list_of_words_and_never_a_line_for_a_shell() {
    let text = with_host("").replace("[\"cat\"]", "\"cat -n\"");
    Site::new()
        .check(&text)
        .refuses("cat -n", "expected an array of strings, found a string")
        .refuses("cat -n", "there is no shell: write [\"cat\", \"-n\"]");
}

#[test]
fn numbers_out_of_range_are_refused() {
    let site = Site::new();
    for (line, message) in [
        (
            "engines = 1025",
            "1025 is out of range: it must be 0 to 1024",
        ),
        ("engines = -1", "-1 is out of range"),
        (
            "limits.connections = 0",
            "0 is out of range: it must be 1 to 1048576",
        ),
        (
            "limits.handshake = \"0s\"",
            "out of range: it must be longer than 0s",
        ),
        (
            "limits.linger = \"0s\"",
            "out of range: it must be longer than 0s",
        ),
        (
            "limits.keep-alive = \"500ms\"",
            "out of range: it must be whole seconds, 9h at most",
        ),
        (
            "limits.keep-alive = \"10h\"",
            "out of range: it must be whole seconds, 9h at most",
        ),
        (
            "limits.send-buffer = 4095",
            "4095 is out of range: it must be 4096 to 1073741824",
        ),
        (
            "limits.receive-buffer = 1",
            "1 is out of range: it must be 4096 to 1073741824",
        ),
    ] {
        site.check(&format!("{line}\n{}", with_host("")))
            .refuses(line, message);
    }
}

#[test]
fn a_duration_needs_a_unit_and_is_at_most_a_year() {
    let site = Site::new();
    for (line, message) in [
        (
            "limits.idle = \"10\"",
            "unable to read duration \"10\": time unit needed, for example 10sec or 10ms",
        ),
        (
            "limits.idle = \"ten\"",
            "unable to read duration \"ten\": expected number at 0",
        ),
        (
            "limits.idle = \"2years\"",
            "unable to read duration \"2years\": longer than a year",
        ),
        (
            "limits.idle = 10",
            "expected a duration, as \"10s\" or \"1m30s\", found an integer",
        ),
    ] {
        site.check(&format!("{line}\n{}", with_host("")))
            .refuses(line, message);
    }
}

#[test]
fn a_log_goes_to_a_known_place_or_to_a_path() {
    let site = Site::new();
    let text = |to| format!("log.to = \"{to}\"\n{}", with_host(""));
    for to in ["stderr", "./log", "/dev/null"] {
        site.check(&text(to)).is_fine();
    }
    // Where there is no syslog, it is a warning.
    assert_eq!(site.check(&text("syslog")).status, Some(0));
    let message = "expected \"syslog\", \"stderr\" or a path with a slash, found \"sysolg\"";
    site.check(&text("sysolg")).refuses("sysolg", message);
}

#[test]
fn a_server_without_listener_or_host_is_refused() {
    let outcome = Site::new().check("");
    assert_eq!(outcome.status, Some(96));
    assert!(
        outcome
            .stderr
            .contains("site.toml: no [[listen]]: nothing to listen on\n")
    );
    assert!(
        outcome
            .stderr
            .contains("site.toml: no [[host]]: nothing to serve\n")
    );
}

#[test]
fn one_connection_needs_no_listener() {
    let outcome = Site::new().run_with(&host("a.example"), &["--inetd", "--check"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
}

#[test]
fn a_bad_address_is_refused() {
    let site = Site::new();
    for (address, reason) in [
        (
            "993",
            "no port; write HOST:PORT, :PORT, unix:PATH or systemd:NAME",
        ),
        (
            "localhost:no-such",
            "no such port: \"no-such\", and /etc/services has no such service",
        ),
        ("::1:993", "write an IPv6 address as [ADDRESS]:PORT"),
        ("unix:", "no path"),
    ] {
        let text = with_host("").replace("127.0.0.1:0", address);
        let message = format!("unable to listen on {address:?}: {reason}");
        site.check(&text).refuses("address =", &message);
    }
    let text = with_host("").replace("address =", "name2 =");
    site.check(&text).refuses(
        "[[listen]]",
        "[[listen]] without \"address\" or \"systemd\"",
    );
}

#[test]
fn a_listener_has_an_address_or_the_name_of_passed_sockets() {
    let site = Site::new();
    let listen = "address = \"127.0.0.1:0\"";
    let text = with_host("").replace(listen, "systemd = \"tls\"");
    assert_eq!(site.check(&text).status, Some(0));
    let text = with_host("").replace(listen, &format!("{listen}\nsystemd = \"tls\""));
    site.check(&text)
        .refuses("systemd =", "\"systemd\" contradicts \"address\"");
    let text = with_host("").replace(listen, "systemd = \"a:b\"");
    site.check(&text).refuses(
        "systemd =",
        "the name of a passed socket is 1 to 255 printable ASCII characters, none of them a colon",
    );
    let text = with_host("").replace(listen, "systemd = \"tls\"");
    let text = format!("{text}[[listen]]\nname = \"other\"\nsystemd = \"tls\" # 2\n");
    site.check(&text)
        .refuses("# 2", "listener \"tls\" has this address already");
}

#[test]
fn two_listeners_share_neither_name_nor_address() {
    let site = Site::new();
    let text = format!(
        "{}[[listen]] # 2\nname = \"tls\" # 2\naddress = \"127.0.0.1:0\"\n",
        with_host("")
    );
    site.check(&text)
        .refuses("\"tls\" # 2", "another listener is called \"tls\" already");

    let text = with_host("").replace("127.0.0.1:0", "[::]:993");
    let text = format!("{text}[[listen]]\naddress = \"127.0.0.1:993\"\n");
    site.check(&text)
        .refuses("127.0.0.1:993", "listener \"tls\" has this address already");
}

#[test]
fn a_listener_without_hosts_or_without_its_default_gets_a_warning() {
    let site = Site::new();
    let text = format!(
        "{}listen = [\"tls\"]\n[[listen]] # idle\naddress = \"127.0.0.1:0\"\n",
        with_host("")
    );
    let message = "no host is on listener \"127.0.0.1:0\": it rejects everybody";
    site.check(&text).warns("# idle", message);

    let text = with_host("").replace(
        "name = \"tls\"",
        "name = \"tls\"\nunknown-name = \"default\"",
    );
    let message = "listener \"tls\" has no default host: such clients are rejected";
    site.check(&text).warns("unknown-name", message);
}

#[test]
fn all_mistakes_are_shown_at_once_in_the_order_of_the_file() {
    let text = format!(
        "engines = -5\nlimit = 1\n{LISTENER}[[host]]\nnames = [\"*bad\"]\ncert = [\"none.pem\"]\n\
         command = [\"/none/command\"]\nuser = \"no-such-user\"\nlisten = [\"imaps\"]\n"
    );
    let outcome = Site::new().check(&text);
    outcome
        .refuses("engines", "-5 is out of range")
        .refuses(
            "limit = 1",
            "unknown key \"limit\" in the file: did you mean \"limits\"?",
        )
        .refuses(
            "*bad",
            "unable to use name \"*bad\": a `*` must be the whole first label, as in *.example.com",
        )
        .refuses(
            "/none/command",
            "unable to run command \"/none/command\": No such file or directory",
        )
        .refuses("no-such-user", "unknown user \"no-such-user\"")
        .refuses("imaps", "unknown listener \"imaps\": known are tls");
    let places: Vec<usize> = outcome
        .stderr
        .lines()
        .filter_map(|line| {
            line.strip_prefix("site.toml:")?
                .split(':')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert!(places.len() > 6 && places.is_sorted(), "{}", outcome.stderr);
}

#[test]
fn five_thousand_hosts_load() {
    let site = Site::new();
    let mut text = LISTENER.to_owned();
    for number in 0..5000 {
        text += &host(&format!("h{number}.a.example"));
    }
    let outcome = site.check(&text);
    outcome.is_fine();
    assert_eq!(
        outcome.summary(),
        "ok: 1 listener, 5000 hosts, 1 certificate"
    );
    let outcome = site.run_with(&text, &["--explain", "h4321.a.example"]);
    assert!(
        outcome.stdout.contains("gets host h4321.a.example"),
        "{}",
        outcome.stdout
    );
}
