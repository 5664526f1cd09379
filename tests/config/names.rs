//! Server names, and the hosts that they belong to.

use crate::site::{LISTENER, Site, host, with_host};

#[test]
fn a_malformed_name_or_wildcard_is_refused() {
    let site = Site::new();
    for name in ["*example.com", "a.*.com", "*.*"] {
        let reason = "a `*` must be the whole first label, as in *.example.com";
        let message = format!("unable to use name {name:?}: {reason}");
        site.check(&format!("{LISTENER}{}", host(name)))
            .refuses("names", &message);
    }
    for name in ["", "a b", "192.0.2.1", "a..b"] {
        let message = format!("unable to use name {name:?}: not a host name");
        site.check(&format!("{LISTENER}{}", host(name)))
            .refuses("names", &message);
    }
}

#[test]
fn a_name_for_every_name_is_answered_with_what_to_write() {
    let site = Site::new();
    for name in ["*", "_"] {
        let message = format!(
            "unable to use name {name:?}: for every name, write default = true in place of names and, if other \
             hosts of the listener have names, unknown-name = \"default\" in its [[listen]]"
        );
        site.check(&format!("{LISTENER}{}", host(name)))
            .refuses("names", &message);
    }
}

/// A default host without names, on a listener with these lines, beside other hosts.
fn with_default(listener: &str, others: &str) -> String {
    let default = host("").replace("names = [\"\"]", "default = true");
    format!("{LISTENER}{listener}\n{default}{others}")
}

#[test]
fn a_default_host_that_no_name_leads_to_gets_a_warning() {
    let site = Site::new();
    let only = "only clients that send no name reach this host on listener \"tls\"";
    let message = format!(
        "{only}: unknown-name = \"default\" in its [[listen]] gives the host all others, too, and unknown-name = \
         \"reject\" says that it is meant so"
    );
    let other = host("a.example");
    site.check(&with_default("", &other))
        .warns("[[host]]", &message);
    site.check(&with_default("unknown-name = \"reject\"", &other))
        .is_fine();
    site.check(&with_default("unknown-name = \"default\"", &other))
        .is_fine();
    let message =
        format!("{only}: the listener has unknown-name = \"reject\", and no host on it has names");
    site.check(&with_default("unknown-name = \"reject\"", ""))
        .warns("[[host]]", &message);
    site.check(&with_default("", "")).is_fine();
    // It has a name of its own.
    let named = host("b.a.example").replace("names", "default = true\nnames");
    site.check(&format!("{LISTENER}{other}{named}")).is_fine();
}

#[test]
fn explain_gives_every_name_to_the_default_host_where_no_host_has_names() {
    let site = Site::new();
    let explain = |text: &str| site.run_with(text, &["--explain", "any.example"]).stdout;
    let alone = explain(&with_default("", ""));
    assert!(
        alone.starts_with("a client that asks for any.example gets host default (line 6): "),
        "{alone}"
    );
    let beside = explain(&with_default("", &host("a.example")));
    assert!(
        beside.contains("is rejected with unrecognized_name"),
        "{beside}"
    );
    // It holds for each listener by itself.
    let other = "[[listen]]\nname = \"other\"\naddress = \"127.0.0.1:0\"\n";
    let named = format!("{}listen = [\"other\"]\n", host("a.example"));
    let text = explain(&with_default(other, &named));
    let unknown = "a client that asks for any.example on listener";
    assert!(
        text.contains(&format!("{unknown} tls gets host default")),
        "{text}"
    );
    assert!(
        text.contains(&format!("{unknown} other is rejected")),
        "{text}"
    );
}

#[test]
fn a_name_belongs_to_one_host_on_each_listener() {
    let site = Site::new();
    let text = format!(
        "{}{}",
        with_host(""),
        host("A.Example.").replace("[[host]]", "[[host]] # 2")
    );
    let message = "name \"a.example\" belongs to the host on line 5 already, on listener \"tls\"";
    site.check(&text).refuses("A.Example.", message);

    let other = "[[listen]]\nname = \"other\"\naddress = \"127.0.0.1:0\"\n";
    let apart = format!(
        "{LISTENER}{other}{}listen = [\"tls\"]\n{}listen = [\"other\"]\n",
        host("a.example"),
        host("a.example")
    );
    site.check(&apart).is_fine();
}

#[test]
fn a_listener_has_one_default_host() {
    let text = format!(
        "{}{}default = true # 2\n",
        with_host("default = true"),
        host("b.a.example")
    );
    let message = "the host on line 5 is the default of listener \"tls\" already";
    Site::new().check(&text).refuses("# 2", message);
}

#[test]
fn a_host_is_on_listeners_that_exist() {
    let text = with_host("listen = [\"tls\", \"imaps\"]");
    let message = "unknown listener \"imaps\": known are tls";
    Site::new().check(&text).refuses("imaps", message);
}

#[test]
fn a_host_on_a_listener_of_a_table_without_listeners_is_told_so() {
    let text = format!("{}listen = [\"https\"]\n", host("a.example"));
    let site = Site::new();
    let message = "unknown listener \"https\": the table has no [[listen]]";
    site.check(&text).refuses("https", message);
    site.run_with(&text, &["--inetd", "--check"])
        .refuses("https", message);
}

#[test]
fn an_unreachable_host_is_refused() {
    let site = Site::new();
    let nameless = with_host("").replace("names = [\"a.example\"]", "");
    let message = "no client can reach this host: it has no names, and is not the default";
    site.check(&nameless).refuses("[[host]]", message);

    let rejected = nameless.replace(
        "name = \"tls\"",
        "name = \"tls\"\nmissing-name = \"reject\"\nunknown-name = \"reject\"",
    );
    let message = "no client can reach this host: it has no names, and its listeners give nobody the default host";
    site.check(&format!("{rejected}default = true\n"))
        .refuses("[[host]]", message);

    let message = "no client can reach this host: it is on no listener";
    site.check(&with_host("listen = []"))
        .refuses("[[host]]", message);
}

#[test]
fn u_labels_become_a_labels() {
    let text = format!("{LISTENER}{}", host("B\u{dc}CHER.a.example"));
    let outcome = Site::new().run_with(&text, &["--explain", "b\u{fc}cher.a.example"]);
    assert!(
        outcome.stdout.contains("gets host xn--bcher-kva.a.example"),
        "{}",
        outcome.stdout
    );
}

/// A host for `a.example` with these protocols, as a TOML array.
fn speaking(protocols: &str) -> String {
    format!("{}alpn = {protocols}\n", host("a.example"))
}

#[test]
fn hosts_share_a_name_if_their_protocols_differ() {
    let site = Site::new();
    let [h2, http, none] = ["[\"h2\"]", "[\"http/1.1\", \"http/1.0\"]", "[]"].map(speaking);
    for hosts in [[&h2, &http, &none], [&none, &h2, &http]] {
        let hosts: String = hosts.into_iter().map(String::as_str).collect();
        site.check(&format!("{LISTENER}{hosts}")).is_fine();
        // Wildcards and defaults are shared in the same way.
        let wildcards = hosts.replace("names = [\"a.example\"]", "names = [\"*.a.example\"]");
        site.check(&format!("{LISTENER}{wildcards}")).is_fine();
        let defaults = hosts.replace("names = [\"a.example\"]", "default = true");
        site.check(&format!("{LISTENER}{defaults}")).is_fine();
    }
}

#[test]
fn hosts_that_share_a_name_have_no_protocol_in_common() {
    let site = Site::new();
    let [first, last] = ["[\"h2\", \"x\"]", "[\"x\", \"http/1.1\"]"].map(speaking);
    let text = format!(
        "{LISTENER}{first}{}{}",
        speaking("[]"),
        last.replace("names =", "names  =")
    );
    let message = "name \"a.example\" with protocol \"x\" belongs to the host on line 5 already, on listener \"tls\"";
    site.check(&text).refuses("names  =", message);

    let text = text.replace("[[host]]", "[[host]]\ndefault = true");
    let text = text.replace("names  =", "names = [\"b.a.example\"]\n#");
    let last = text.rfind("default = true").unwrap();
    let text = format!("{}default  = true{}", &text[..last], &text[last + 14..]);
    let message =
        "the host on line 5 is the default of listener \"tls\" already with protocol \"x\"";
    site.check(&text).refuses("default  =", message);
}

#[test]
fn of_hosts_that_share_a_name_only_one_may_have_no_protocols() {
    let text = format!(
        "{LISTENER}{}{}{}",
        speaking("[\"h2\"]"),
        speaking("[]"),
        host("A.example")
    );
    let line = text[..text.match_indices("[[host]]").nth(1).unwrap().0]
        .lines()
        .count()
        + 1;
    let message = format!(
        "name \"a.example\" belongs to the host on line {line} already, on listener \"tls\""
    );
    Site::new().check(&text).refuses("A.example", &message);
}
