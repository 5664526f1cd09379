//! Sessions that are resumed: with the same certificate, and only as long as it is good.

use std::fs;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::setup::{Setup, s_client, served, table, value};
use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::Valid;
use tlssrv_testing::programs::missing;
use tlssrv_testing::{Server, eventually};

const VERSIONS: [&str; 2] = ["-tls1_3", "-tls1_2"];

/// Where a client keeps its session of this version.
fn session(server: &Server, version: &str) -> String {
    let file = server.site.file(&format!("session{version}"));
    file.to_str().unwrap().to_owned()
}

/// Reads the table anew, with these lines of a host.
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
    for version in VERSIONS {
        let file = session(&server, version);
        served(&server, "alice", &[version, "-sess_out", &file]);
        let text = served(&server, "alice", &[version, "-sess_in", &file]);
        assert_eq!(value(&text, "SSL_SESSION_RESUMED"), Some("Resumed"));
    }
    // One that says nothing of him leaves his session as it was.
    fs::write(server.site.file("crl.pem"), renewed).unwrap();
    reload(&server, lines, 1);
    for version in VERSIONS {
        let file = session(&server, version);
        let text = served(&server, "alice", &[version, "-sess_in", &file]);
        assert_eq!(value(&text, "SSL_SESSION_RESUMED"), Some("Resumed"));
    }
    fs::write(server.site.file("crl.pem"), after).unwrap();
    reload(&server, lines, 2);
    for version in VERSIONS {
        let file = session(&server, version);
        let ran = s_client(&server, "alice", &[version, "-sess_in", &file]);
        assert!(
            ran.stderr.contains("SSL alert number 44\n"),
            "{version}: {}",
            ran.stderr
        );
        // Nor does he get in who has left his certificate at home.
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
    for version in VERSIONS {
        let file = session(&server, version);
        served(&server, "alice", &[version, "-sess_out", &file]);
    }
    reload(&server, &allow("bob"), 1);
    for version in VERSIONS {
        let file = session(&server, version);
        let ran = s_client(&server, "alice", &[version, "-sess_in", &file]);
        assert!(
            ran.stderr.contains("SSL alert number 49\n"),
            "{version}: {}",
            ran.stderr
        );
    }
    // With the old list, the old tickets are good again.
    reload(&server, &allow("alice"), 2);
    for version in VERSIONS {
        let file = session(&server, version);
        let text = served(&server, "alice", &[version, "-sess_in", &file]);
        assert_eq!(value(&text, "SSL_SESSION_RESUMED"), Some("Resumed"));
    }
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
    for version in VERSIONS {
        let file = session(&server, version);
        served(&server, "brief", &[version, "-sess_out", &file]);
        let text = served(&server, "brief", &[version, "-sess_in", &file]);
        assert_eq!(value(&text, "SSL_SESSION_RESUMED"), Some("Resumed"));
    }
    let known = server.wait_for_connections(4).len();
    // Its dates have no fractions of seconds.
    eventually("it has expired", || {
        let end = until + Duration::from_secs(1);
        (SystemTime::now() > end).then_some(())
    });
    for version in VERSIONS {
        let file = session(&server, version);
        let ran = s_client(&server, "brief", &[version, "-sess_in", &file]);
        assert!(
            ran.stderr.contains("SSL alert number 45\n"),
            "{version}: {}",
            ran.stderr
        );
        assert!(ran.stdout.is_empty(), "{version}");
    }
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
    for version in VERSIONS {
        let file = session(&server, version);
        served(&server, "", &[version, "-sess_out", &file]);
        let text = served(&server, "", &[version, "-sess_in", &file]);
        assert_eq!(value(&text, "SSL_SESSION_RESUMED"), Some("Resumed"));
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
    for version in VERSIONS {
        let file = session(&server, version);
        served(&server, "alice", &[version, "-sess_out", &file]);
    }
    let other = Authority::new("Another CA");
    fs::write(server.site.file("ca.pem"), other.pem()).unwrap();
    reload(&server, lines, 1);
    for version in VERSIONS {
        let file = session(&server, version);
        let ran = s_client(&server, "alice", &[version, "-sess_in", &file]);
        assert!(
            ran.stderr.contains("SSL alert number 48\n"),
            "{version}: {}",
            ran.stderr
        );
    }
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
