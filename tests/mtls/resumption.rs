//! Resumption of sessions with client certificates: only as long as the certificate is accepted.

use std::fs;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::setup::{Setup, s_client, served, table, value};
use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::Valid;
use tlssrv_testing::programs::missing;
use tlssrv_testing::{Server, eventually};

const VERSIONS: [&str; 2] = ["-tls1_3", "-tls1_2"];

/// The file in which a client keeps its session of this version.
fn session(server: &Server, version: &str) -> String {
    let file = server.site.file(&format!("session{version}"));
    file.to_str().unwrap().to_owned()
}

/// Has a client with the certificate `WHO.pem` (none, when it is empty) keep a session in each version.
fn keep_sessions(server: &Server, who: &str) {
    for version in VERSIONS {
        let file = session(server, version);
        served(server, who, &[version, "-sess_out", &file]);
    }
}

/// Fails unless the kept sessions are resumed; returns what the commands say.
fn assert_resumed(server: &Server, who: &str) -> [String; 2] {
    VERSIONS.map(|version| {
        let file = session(server, version);
        let text = served(server, who, &[version, "-sess_in", &file]);
        assert_eq!(value(&text, "SSL_SESSION_RESUMED"), Some("Resumed"));
        text
    })
}

/// Fails unless clients with the kept sessions get this alert.
fn assert_refused(server: &Server, who: &str, alert: u8) {
    for version in VERSIONS {
        let file = session(server, version);
        let ran = s_client(server, who, &[version, "-sess_in", &file]);
        let said = format!("SSL alert number {alert}\n");
        assert!(ran.stderr.contains(&said), "{version}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{version}");
    }
}

/// Reloads, with these lines of the host.
fn reload(server: &Server, lines: &str, times: usize) {
    fs::write(server.site.file("tlssrv.toml"), table(lines)).unwrap();
    server.signal(Signal::SIGHUP);
    eventually("it is reloaded", || {
        let lines = server.lines();
        let done = lines.iter().filter(|line| line.contains("reloaded"));
        (done.count() >= times).then_some(())
    });
}

#[test]
fn a_reloaded_crl_refuses_a_revoked_client_with_a_ticket() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let crl = |revoked: &[u8]| setup.ca.crl(revoked, Valid::Now);
    let (before, renewed, after) = (crl(&[]), crl(&[7]), crl(&[1, 7]));
    fs::write(setup.site.file("crl.pem"), before).unwrap();
    let lines = "client-auth = \"require\"\nclient-crl = \"crl.pem\"";
    let server = setup.start(lines);
    keep_sessions(&server, "alice");
    assert_resumed(&server, "alice");
    // A CRL that does not list alice leaves her session as it was.
    fs::write(server.site.file("crl.pem"), renewed).unwrap();
    reload(&server, lines, 1);
    assert_resumed(&server, "alice");
    fs::write(server.site.file("crl.pem"), after).unwrap();
    reload(&server, lines, 2);
    assert_refused(&server, "alice", 44);
    // A client with the session but without the certificate is refused, too.
    for version in VERSIONS {
        let file = session(&server, version);
        let ran = s_client(&server, "", &[version, "-sess_in", &file]);
        assert!(ran.stdout.is_empty(), "{version}");
    }
}

#[test]
fn a_reloaded_allow_list_holds_for_old_sessions() {
    if missing(&["openssl"]) {
        return;
    }
    let allow = |name: &str| format!("client-auth = \"require\"\nallow = [{{ cn = \"{name}\" }}]");
    let server = Setup::new().start(&allow("alice"));
    keep_sessions(&server, "alice");
    reload(&server, &allow("bob"), 1);
    assert_refused(&server, "alice", 49);
    // With the old list, the old tickets are good again.
    reload(&server, &allow("alice"), 2);
    assert_resumed(&server, "alice");
}

#[test]
fn a_session_is_not_resumed_after_its_certificate_has_expired() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let until = SystemTime::now() + Duration::from_secs(10);
    let brief = setup.ca.client_with("brief", 3, Valid::Now, |params| {
        params.not_after = until.into();
    });
    let server = setup.with("brief", &brief).require("");
    keep_sessions(&server, "brief");
    assert_resumed(&server, "brief");
    let known = server.wait_for_connections(4).len();
    // Its dates have no fractions of seconds.
    eventually("it has expired", || {
        let end = until + Duration::from_secs(1);
        (SystemTime::now() > end).then_some(())
    });
    assert_refused(&server, "brief", 45);
    let lines = server.wait_for_connections(known + 2);
    for line in &lines[known..] {
        assert_eq!(line.value("resumed"), "true");
        let end = "handshake: the certificate of the client is refused: it has expired: CN=brief";
        assert_eq!(line.value("end"), end);
    }
}

#[test]
fn a_session_without_a_certificate_is_not_resumed_where_one_is_required() {
    if missing(&["openssl"]) {
        return;
    }
    let server = Setup::new().start("client-auth = \"request\"");
    keep_sessions(&server, "");
    for text in assert_resumed(&server, "") {
        assert_eq!(value(&text, "SSL_CLIENT_VERIFY"), Some("NONE"));
    }
    reload(&server, "client-auth = \"require\"", 1);
    for version in VERSIONS {
        let file = session(&server, version);
        let ran = s_client(&server, "", &[version, "-sess_in", &file]);
        assert!(ran.stdout.is_empty(), "{version}");
    }
}

#[test]
fn a_session_is_not_resumed_after_its_ca_was_removed() {
    if missing(&["openssl"]) {
        return;
    }
    let lines = "client-auth = \"require\"";
    let server = Setup::new().start(lines);
    keep_sessions(&server, "alice");
    let other = Authority::new("Another CA");
    fs::write(server.site.file("ca.pem"), other.pem()).unwrap();
    reload(&server, lines, 1);
    assert_refused(&server, "alice", 48);
}

#[test]
fn a_session_of_a_host_without_client_auth_is_not_resumed_at_one_with_it() {
    if missing(&["openssl"]) {
        return;
    }
    let second = "client-auth = \"require\"\n[[host]]\nnames = [\"b.example\"]\ncert = [\"cert.pem\"]\n\
                  command = [\"env\"]\nallow-root = true\n";
    let server = Setup::new().start(second);
    for (version, alert) in VERSIONS.iter().zip([116, 40]) {
        let file = session(&server, version);
        let at = |name| ["-servername", name, version];
        served(
            &server,
            "",
            &[&at("b.example")[..], &["-sess_out", &file]].concat(),
        );
        let text = served(
            &server,
            "",
            &[&at("b.example")[..], &["-sess_in", &file]].concat(),
        );
        assert_eq!(value(&text, "SSL_SESSION_RESUMED"), Some("Resumed"));
        let ran = s_client(
            &server,
            "",
            &[&at("a.example")[..], &["-sess_in", &file]].concat(),
        );
        let said = format!("SSL alert number {alert}\n");
        assert!(ran.stderr.contains(&said), "{version}: {}", ran.stderr);
    }
}
