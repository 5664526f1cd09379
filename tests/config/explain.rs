//! `--explain`: which host a client gets, and why.

use crate::site::{LISTENER, Site, host, with_host};

#[track_caller]
fn explained(text: &str, name: &str) -> String {
    let outcome = Site::new().run_with(text, &["--explain", name]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    outcome.stdout
}

#[test]
fn an_exact_name_goes_before_a_wildcard_and_that_before_the_default() {
    let text = format!(
        "{}{}{}default = true\n",
        with_host("").replace(
            "name = \"tls\"",
            "name = \"tls\"\nunknown-name = \"default\""
        ),
        host("*.a.example"),
        host("c.a.example")
    );
    for (name, answer) in [
        (
            "A.example.",
            "host a.example (line 6): the name is one of its names",
        ),
        (
            "b.a.example",
            "host *.a.example (line 13): its wildcard *.a.example stands for the name",
        ),
        (
            "c.a.example",
            "host c.a.example (line 18): the name is one of its names",
        ),
        (
            "b.b.a.example",
            "host c.a.example (line 18): no host has the name, and this is the default",
        ),
        ("", "host c.a.example (line 18): this is the default"),
    ] {
        // Without the line for the user of the command, there are fewer lines.
        let answer = answer.split(" (line").next().unwrap();
        let explained = explained(&text, name);
        assert!(
            explained.contains(&format!("gets {answer} (line ")),
            "{explained}"
        );
    }
}

#[test]
fn the_host_is_shown_with_its_command_and_its_certificates() {
    let site = Site::new();
    let outcome = site.run_with(&with_host(""), &["--explain", "a.example"]);
    let first = "a client that asks for a.example gets host a.example (line 5): the name is one of its names\n";
    assert!(outcome.stdout.starts_with(first), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("/cat\"\n"), "{}", outcome.stdout);
    let certificate = format!("  certificate: {}\n", site.path().join("a.pem").display());
    assert!(outcome.stdout.ends_with(&certificate), "{}", outcome.stdout);
}

#[test]
fn a_client_without_a_host_is_explained_as_rejected() {
    let unknown = "a client that asks for b.example is rejected with unrecognized_name: no host has the name\n";
    assert_eq!(explained(&with_host(""), "b.example"), unknown);
    let missing =
        "a client that sends no name is rejected with missing_extension: no default host for it\n";
    assert_eq!(explained(&with_host(""), ""), missing);
}

#[test]
fn listeners_with_different_answers_are_explained_one_by_one() {
    let other = "[[listen]]\nname = \"other\"\naddress = \"127.0.0.1:0\"\n";
    let text = format!(
        "{LISTENER}{other}{}listen = [\"tls\"]\n{}listen = [\"other\"]\n",
        host("a.example"),
        host("b.a.example")
    );
    let explained = explained(&text, "a.example");
    assert!(
        explained.contains("asks for a.example on listener tls gets host a.example"),
        "{explained}"
    );
    assert!(
        explained.contains("on listener other is rejected with unrecognized_name"),
        "{explained}"
    );
}

#[test]
fn a_name_that_no_client_can_send_is_wrong_usage() {
    let outcome = Site::new().run_with(&with_host(""), &["--explain", "192.0.2.1"]);
    assert_eq!(outcome.status, Some(100));
    let message = "no client can ask for \"192.0.2.1\": it is not a host name";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
}

#[test]
fn explain_says_what_becomes_of_a_name_that_no_host_can_have() {
    let outcome = Site::new().run_with(&with_host(""), &["--explain", "a.test:443"]);
    assert_eq!(outcome.status, Some(100));
    let message = "\"a.test:443\" is not a host name: a client that asks for it gets the default host where \
                   unknown-name is \"default\", and is rejected with illegal_parameter elsewhere";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
}

#[test]
fn a_command_line_is_explained_too() {
    let outcome = Site::new().run(&[
        "-c",
        "a.pem",
        "--key",
        "a.key",
        "--explain",
        "x.example",
        "cat",
        "-n",
    ]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    let answer = "a client that asks for x.example gets host default: no host has the name, and this is the default\n";
    assert!(outcome.stdout.starts_with(answer), "{}", outcome.stdout);
    assert!(
        outcome
            .stdout
            .contains("/cat\" \"-n\"\n  certificate: a.pem\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn the_host_that_a_protocol_chooses_is_explained() {
    let speaking = |protocols: &str, command: &str| {
        let host = host("a.example").replace("[\"cat\"]", &format!("[\"{command}\"]"));
        format!("{host}alpn = {protocols}\n")
    };
    let shared = format!(
        "{LISTENER}{}{}",
        speaking("[\"acme-tls/1\"]", "true"),
        speaking("[\"h2\", \"http/1.1\"]", "cat")
    );
    let with_rest = format!("{shared}{}", host("a.example"));
    let rejected = "rejected with no_application_protocol: no host of the name has such a protocol";
    for (text, offered, answer) in [
        (
            &shared,
            vec!["acme-tls/1"],
            "the first that has \"acme-tls/1\"\n  command: \"/",
        ),
        (
            &shared,
            vec!["http/1.1", "h2"],
            "of the hosts that share it, this is the first that has \"h2\"\n",
        ),
        (
            &shared,
            vec![],
            "of the hosts that share it, this is the first\n",
        ),
        (&shared, vec!["imap"], rejected),
        (
            &with_rest,
            vec!["imap"],
            "this is the one that lists no protocols\n",
        ),
        (
            &with_rest,
            vec![],
            "this is the one that lists no protocols\n",
        ),
        (
            &with_rest,
            vec!["h2"],
            "this is the first that has \"h2\"\n",
        ),
    ] {
        let mut arguments = vec!["--explain", "a.example"];
        arguments.extend(offered.iter().flat_map(|name| ["--alpn", name]));
        let outcome = Site::new().run_with(text, &arguments);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert!(
            outcome.stdout.contains(answer),
            "{offered:?}: {}",
            outcome.stdout
        );
        let offers = outcome.stdout.contains(" and offers \"");
        assert_eq!(offers, !offered.is_empty(), "{}", outcome.stdout);
    }
}

#[test]
fn acme_tls_1_is_explained_as_rejected_where_no_host_lists_it() {
    let outcome = Site::new().run_with(
        &with_host(""),
        &["--explain", "a.example", "--alpn", "acme-tls/1"],
    );
    let answer = "a client that asks for a.example and offers \"acme-tls/1\" is rejected with no_application_protocol";
    assert!(outcome.stdout.starts_with(answer), "{}", outcome.stdout);
}

#[test]
fn a_wrong_protocol_or_one_without_explain_is_wrong_usage() {
    let long = "x".repeat(256);
    for protocol in ["", &long] {
        let outcome = Site::new().run_with(
            &with_host(""),
            &["--explain", "a.example", "--alpn", protocol],
        );
        assert_eq!(outcome.status, Some(100), "{}", outcome.stderr);
    }
    let outcome = Site::new().run_with(&with_host(""), &["--alpn", "h2"]);
    assert_eq!(outcome.status, Some(100));
    assert!(outcome.stderr.contains("--explain"), "{}", outcome.stderr);
}
