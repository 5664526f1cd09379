//! Clients that are refused: the alert in both versions, and the log line.

use std::fs;

use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};

use crate::setup::{Setup, s_client, served};
use tlssrv_testing::Server;
use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::{Valid, write_secret};
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::raw::codes::alert::{
    ACCESS_DENIED, CERTIFICATE_EXPIRED, CERTIFICATE_REQUIRED, CERTIFICATE_REVOKED,
    CERTIFICATE_UNKNOWN, HANDSHAKE_FAILURE, UNKNOWN_CA, UNSUPPORTED_CERTIFICATE,
};

/// Fails unless a client gets this alert in both versions, and the log tells why in these words.
fn assert_refused(server: &Server, who: &str, alerts: [u8; 2], words: &str) {
    for (version, alert) in ["-tls1_3", "-tls1_2"].iter().zip(alerts) {
        let before = server.connection_lines().len();
        let ran = s_client(server, who, &[version]);
        let said = format!("SSL alert number {alert}\n");
        assert!(ran.stderr.contains(&said), "{version}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{version}: {:?}", ran.stdout);
        let line = server.wait_for_connections(before + 1).pop().unwrap();
        assert_eq!(line.value("end"), format!("handshake: {words}"));
        assert_eq!(line.level, "info");
        assert_eq!((line.get("auth"), line.get("identity")), (None, None));
        assert_eq!(line.get("pid"), None);
    }
}

fn refusal(why: &str, whose: &str) -> String {
    format!("the certificate of the client is refused: {why}: {whose}")
}

#[test]
fn a_client_with_a_certificate_of_the_ca_is_served_and_others_are_not() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let wrong = Authority::new("Test CA").client("mallory", 1);
    let expired = setup.ca.client_with("eve", 3, Valid::Yesterday, |_| {});
    let early = setup.ca.client_with("zoe", 4, Valid::Tomorrow, |_| {});
    let of_a_server = setup.ca.client_with("www", 5, Valid::Now, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let server = setup
        .with("mallory", &wrong)
        .with("eve", &expired)
        .with("zoe", &early)
        .with("www", &of_a_server)
        .require("");
    for version in ["-tls1_3", "-tls1_2"] {
        served(&server, "alice", &[version]);
    }
    let lines = server.wait_for_connections(2);
    for line in lines {
        assert_eq!(line.value("auth"), "mtls");
        assert_eq!(line.value("identity"), "CN=alice");
        assert_eq!(line.value("end"), "closed");
    }
    let unknown = refusal("nobody in client-ca has issued it", "CN=mallory");
    // Its CA has the same name but another key.
    let bad = server.connection_lines().len();
    let ran = s_client(&server, "mallory", &[]);
    let alert = format!("SSL alert number {UNKNOWN_CA}\n");
    assert!(ran.stderr.contains(&alert), "{}", ran.stderr);
    let line = server.wait_for_connections(bad + 1).pop().unwrap();
    assert_eq!(line.value("end"), format!("handshake: {unknown}"));

    let expired = refusal("it has expired", "CN=eve");
    assert_refused(&server, "eve", [CERTIFICATE_EXPIRED; 2], &expired);
    let early = refusal("it is not valid yet", "CN=zoe");
    assert_refused(&server, "zoe", [CERTIFICATE_EXPIRED; 2], &early);
    let other = refusal("it is not for clients", "CN=www");
    assert_refused(&server, "www", [UNSUPPORTED_CERTIFICATE; 2], &other);
}

#[test]
fn a_client_without_a_certificate_is_refused_or_served_as_the_host_wants_it() {
    if missing(&["openssl"]) {
        return;
    }
    let required = [CERTIFICATE_REQUIRED, HANDSHAKE_FAILURE];
    let none = "peer sent no certificates";
    assert_refused(&Setup::new().require(""), "", required, none);

    let server = Setup::new().start("client-auth = \"request\"");
    for version in ["-tls1_3", "-tls1_2"] {
        let text = served(&server, "", &[version]);
        assert!(text.contains("SSL_CLIENT_VERIFY=NONE\n"), "{text}");
        let text = served(&server, "alice", &[version]);
        assert!(text.contains("SSL_CLIENT_VERIFY=SUCCESS\n"), "{text}");
    }
    let auths: Vec<String> = server
        .wait_for_connections(4)
        .iter()
        .map(|line| line.value("auth").to_owned())
        .collect();
    assert_eq!(auths, ["cert", "mtls", "cert", "mtls"]);

    // A certificate in a list is required.
    let listed = "client-auth = \"request\"\nallow = [{ cn = \"alice\" }]";
    let server = Setup::new().start(listed);
    assert_refused(&server, "", required, none);
    served(&server, "alice", &[]);
}

#[test]
fn a_wrong_certificate_is_refused_although_none_is_required() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let expired = setup.ca.client_with("eve", 3, Valid::Yesterday, |_| {});
    let server = setup
        .with("eve", &expired)
        .start("client-auth = \"request\"");
    let expired = refusal("it has expired", "CN=eve");
    assert_refused(&server, "eve", [CERTIFICATE_EXPIRED; 2], &expired);
}

#[test]
fn a_revoked_certificate_is_refused() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let crl = setup.ca.crl(&[2], Valid::Now);
    fs::write(setup.site.file("crl.pem"), crl).unwrap();
    let server = setup.require("client-crl = [\"crl.pem\"]");
    served(&server, "alice", &[]);
    let revoked = refusal("it is revoked", "CN=bob");
    assert_refused(&server, "bob", [CERTIFICATE_REVOKED; 2], &revoked);
}

#[test]
fn a_missing_or_expired_crl_refuses_the_client() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let other = Authority::new("Another CA");
    fs::write(setup.site.file("crl.pem"), other.crl(&[], Valid::Now)).unwrap();
    let server = setup.require("client-crl = \"crl.pem\"");
    let unknown = refusal("no CRL in client-crl is of its issuer", "CN=alice");
    assert_refused(&server, "alice", [UNKNOWN_CA; 2], &unknown);

    let setup = Setup::new();
    let crl = setup.ca.crl(&[], Valid::Yesterday);
    fs::write(setup.site.file("crl.pem"), crl).unwrap();
    let server = setup.require("client-crl = \"crl.pem\"");
    server.wait_for_line("a warning", |line| {
        line.contains("expired at") && line.contains("clients of its issuer are refused")
    });
    let old = refusal("its issuer's CRL has expired", "CN=alice");
    assert_refused(&server, "alice", [UNKNOWN_CA; 2], &old);
}

#[test]
fn a_client_that_is_not_allowed_gets_access_denied() {
    if missing(&["openssl"]) {
        return;
    }
    let server = Setup::new().require("allow = [{ cn = \"alice\" }]");
    served(&server, "alice", &[]);
    let other = refusal("it is not in allow", "CN=bob");
    assert_refused(&server, "bob", [ACCESS_DENIED; 2], &other);
}

#[test]
fn a_subject_cannot_forge_a_log_line() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let odd = setup
        .ca
        .client_with("x\" end=closed", 9, Valid::Now, |_| {});
    let control = setup.ca.client_with("x\nend=closed", 9, Valid::Now, |_| {});
    let server = setup
        .with("odd", &odd)
        .with("control", &control)
        .require("allow = [{ cn = \"alice\" }]");
    let whose = refusal("it is not in allow", "CN=x\\\" end=closed");
    assert_refused(&server, "odd", [ACCESS_DENIED; 2], &whose);
    s_client(&server, "control", &[]);
    let line = server.wait_for_connections(3).pop().unwrap();
    let end = line.value("end").rsplit(": ").next().unwrap().to_owned();
    let (kind, hash) = end.split_once(':').unwrap();
    assert_eq!((kind, hash.len()), ("SHA256", 64));
}

#[test]
fn a_chain_with_an_intermediate_ca_is_accepted() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let between = setup.ca.intermediate("Test CA 2");
    let mut carol = between.client("carol", 7);
    let dave = between.client("dave", 8);
    carol.certificate.push_str(&between.pem());
    let expired = setup.ca.intermediate_with("Test CA 3", |params| {
        params.not_after = date_time_ymd(2026, 1, 1);
    });
    let mut erin = expired.client("erin", 9);
    erin.certificate.push_str(&expired.pem());
    let server = setup
        .with("carol", &carol)
        .with("dave", &dave)
        .with("erin", &erin)
        .require("");
    served(&server, "carol", &[]);
    let unknown = refusal("nobody in client-ca has issued it", "CN=dave");
    assert_refused(&server, "dave", [UNKNOWN_CA; 2], &unknown);
    let why = "a CA between it and client-ca is refused: it has expired";
    let expired = refusal(why, "CN=erin");
    assert_refused(&server, "erin", [CERTIFICATE_EXPIRED; 2], &expired);
}

#[test]
fn a_certificate_of_version_1_is_refused_and_the_log_says_why() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    write_secret(&setup.site.file("ca.key"), &setup.ca.key());
    // openssl makes a certificate of version 1 when no extensions are requested.
    let steps = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ivan -keyout ivan.key \
                 -out ivan.csr && \
                 openssl x509 -req -in ivan.csr -CA ca.pem -CAkey ca.key -out ivan.crt && \
                 cat ivan.crt ivan.key >ivan.pem";
    let ran = run(program("sh")
        .current_dir(setup.site.path())
        .args(["-c", steps]));
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    let why = "it is of an old version of X.509, and has to be of version 3";
    let server = setup.require("");
    assert_refused(
        &server,
        "ivan",
        [CERTIFICATE_UNKNOWN; 2],
        &refusal(why, "CN=ivan"),
    );
}
