//! `[metrics]`: the address that metrics are served at.

use crate::site::{LISTENER, Outcome, Site, host};

fn check(listen: &str) -> Outcome {
    let host = host("a.example");
    Site::new().check(&format!(
        "[metrics]\nlisten = {listen:?} # 2\n{LISTENER}\n{host}"
    ))
}

#[test]
fn an_address_of_this_machine_is_accepted() {
    for listen in ["127.0.0.1:9464", "localhost:0", "unix:m.sock"] {
        check(listen).is_fine();
    }
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        check("[::1]:9464").is_fine();
    }
}

#[test]
fn an_address_that_other_machines_reach_gets_a_warning() {
    for listen in [":9464", "0.0.0.0:9464", "192.0.2.1:9464", "[::]:9464"] {
        let outcome = check(listen);
        // A server could not start with an address of the documentation.
        let status = if listen.starts_with("192") { 97 } else { 0 };
        assert_eq!(outcome.status, Some(status), "{}", outcome.stderr);
        let warning = "other machines can ask for metrics on ";
        assert!(outcome.stderr.contains(warning), "{}", outcome.stderr);
    }
}

#[test]
fn a_wrong_address_is_refused_at_its_line() {
    let reasons = [
        ("systemd", "write HOST:PORT or unix:PATH"),
        ("systemd:metrics", "write HOST:PORT or unix:PATH"),
        ("9464", "write HOST:PORT or unix:PATH"),
        ("unix:", "no path"),
    ];
    for (listen, reason) in reasons {
        let message = format!("unable to give metrics on {listen:?}: {reason}");
        check(listen).refuses("# 2", &message);
    }
    let site = Site::new();
    let rest = format!("{LISTENER}\n{}", host("a.example"));
    let none = format!("[metrics] # 1\n{rest}");
    site.check(&none)
        .refuses("# 1", "[metrics] without \"listen\"");
    let unknown = format!("[metrics]\nlisten = \"unix:m.sock\"\nport = 1\n{rest}");
    site.check(&unknown).refuses(
        "port",
        "unknown key \"port\" in [metrics]: known are listen",
    );
}

#[test]
fn the_address_of_a_listener_is_refused() {
    let rest = host("a.example");
    let rest = format!("{}\n{rest}", LISTENER.replace("127.0.0.1:0", ":4711"));
    let text = format!("[metrics]\nlisten = \"127.0.0.1:4711\" # 2\n{rest}");
    Site::new()
        .check(&text)
        .refuses("# 2", "listener \"tls\" has this address already");
}
