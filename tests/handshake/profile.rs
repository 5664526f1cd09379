//! Versions, suites, groups and record sizes of a host.

use std::fs;

use tlssrv_testing::pki::write_secret;
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::{Server, Site};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";
const WITH_KEY: [&str; 4] = ["-psk_identity", "me", "-psk", KEY];
const VERSIONS: [&str; 2] = ["-tls1_3", "-tls1_2"];

/// A server whose default host has a certificate, or keys, or both, and these lines.
fn server(authentication: &str, lines: &str) -> Server {
    let site = Site::new();
    write_secret(&site.file("c.psk"), &format!("me:{KEY}\n"));
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\ndefault = true\n{authentication}\n{lines}\n\
         command = [\"sh\", \"-c\", \"echo $SSL_PROTOCOL $SSL_CIPHER\"]\nallow-root = true\n"
    );
    Server::with_config_in(site, &toml)
}

const CERT: &str = "cert = [\"cert.pem\"]";
const PSK: &str = "psk = \"c.psk\"";
const BOTH: &str = "cert = [\"cert.pem\"]\npsk = \"c.psk\"";

/// What a client gets: a line, or the number of an alert.
fn asks(server: &Server, args: &[&str]) -> Result<String, String> {
    let mut client = program("openssl");
    client
        .args(["s_client", "-quiet", "-connect"])
        .arg(server.address().to_string())
        .args(args);
    let ran = run(&mut client);
    let said = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    let alert = ran.stderr.split_once("SSL alert number ");
    match (said.is_empty(), alert) {
        (false, None) => Ok(said),
        (true, Some((_, rest))) => Err(rest.lines().next().unwrap().to_owned()),
        _ => panic!("{said:?} {}", ran.stderr),
    }
}

fn refused(alert: &str) -> Result<String, String> {
    Err(alert.to_owned())
}

const HANDSHAKE_FAILURE: &str = "40";
const PROTOCOL_VERSION: &str = "70";

#[test]
fn a_host_of_tls_1_3_refuses_tls_1_2_with_certificates_and_with_keys() {
    if missing(&["openssl"]) {
        return;
    }
    for (authentication, args) in [
        (CERT, &[][..]),
        (PSK, &WITH_KEY),
        (BOTH, &[]),
        (BOTH, &WITH_KEY),
    ] {
        let server = server(authentication, "min-version = \"1.3\"");
        let [new, old] = VERSIONS.map(|version| asks(&server, &[args, &[version]].concat()));
        assert!(new.unwrap().starts_with("TLSv1.3 "), "{authentication}");
        assert_eq!(old, refused(PROTOCOL_VERSION), "{authentication}");
    }
    let server = server(BOTH, "min-version = \"1.2\"");
    for args in [&[][..], &WITH_KEY] {
        let old = asks(&server, &[args, &["-tls1_2"]].concat()).unwrap();
        assert!(old.starts_with("TLSv1.2 "), "{old}");
    }
}

#[test]
fn a_client_that_is_too_old_gets_protocol_version_and_the_log_says_what_it_offered() {
    if missing(&["openssl"]) {
        return;
    }
    let ancient = ["-cipher", "ALL:@SECLEVEL=0"];
    let most = |version, needed| {
        format!("handshake: the client offers {version} at most: {needed} is needed")
    };
    let both = "TLS 1.2 or TLS 1.3";
    for (authentication, args) in [
        (CERT, &[][..]),
        (PSK, &WITH_KEY),
        (BOTH, &[]),
        (BOTH, &WITH_KEY),
    ] {
        for (lines, version, end) in [
            ("", "-tls1", most("TLS 1.0", both)),
            ("", "-tls1_1", most("TLS 1.1", both)),
            ("min-version = \"1.3\"", "-tls1_1", most("TLS 1.1", both)),
            (
                "min-version = \"1.3\"",
                "-tls1_2",
                most("TLS 1.2", "TLS 1.3"),
            ),
        ] {
            let server = server(authentication, lines);
            let said = asks(&server, &[args, &ancient, &[version]].concat());
            assert_eq!(said, refused(PROTOCOL_VERSION), "{authentication}");
            let line = server.wait_for_connection();
            assert_eq!(line.value("end"), end, "{authentication}");
            assert_eq!(line.level, "info");
        }
    }
    let server = server(
        BOTH,
        "suites = [\"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\", \"TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256\"]",
    );
    for args in [&[][..], &WITH_KEY] {
        let said = asks(&server, &[args, &["-tls1_3"]].concat());
        assert_eq!(said, refused(PROTOCOL_VERSION));
    }
    for line in server.wait_for_connections(2) {
        let end = "handshake: the client does not offer TLS 1.2, which is needed";
        assert_eq!(line.value("end"), end);
    }
}

#[test]
fn only_suites_of_the_host_are_agreed() {
    if missing(&["openssl"]) {
        return;
    }
    let lines = "suites = [\"TLS13_CHACHA20_POLY1305_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]";
    let certified = server(CERT, lines);
    let with_keys = server(
        PSK,
        "suites = [\"TLS_CHACHA20_POLY1305_SHA256\", \"TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256\"]",
    );
    // Clients that prefer another suite, and clients that have only this one.
    let new = "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256";
    assert_eq!(asks(&certified, &["-tls1_3"]).as_deref(), Ok(new));
    assert_eq!(
        asks(&with_keys, &[&WITH_KEY[..], &["-tls1_3"]].concat()).as_deref(),
        Ok(new)
    );
    let other = ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"];
    assert_eq!(asks(&certified, &other), refused(HANDSHAKE_FAILURE));
    let other = [&WITH_KEY[..], &other].concat();
    assert_eq!(asks(&with_keys, &other), refused(HANDSHAKE_FAILURE));

    let old = "TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    assert_eq!(asks(&certified, &["-tls1_2"]).as_deref(), Ok(old));
    let other = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"];
    assert_eq!(asks(&certified, &other), refused(HANDSHAKE_FAILURE));
    // OpenSSL has no AES-GCM with ECDHE_PSK.
    let other = [&WITH_KEY[..], &["-tls1_2"]].concat();
    assert_eq!(asks(&with_keys, &other), refused(HANDSHAKE_FAILURE));
}

#[test]
fn a_host_without_suites_of_tls_1_3_speaks_tls_1_2_with_clients_that_know_both() {
    if missing(&["openssl"]) {
        return;
    }
    let lines = "suites = [\"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\", \
                 \"TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256\"]";
    let server = server(BOTH, lines);
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    assert_eq!(asks(&server, &[]), Ok(format!("TLSv1.2 {suite}")));
    // The downgrade sentinel (RFC 8446 §4.1.3) must be absent, or OpenSSL would close.
    let keyed = [&WITH_KEY[..], &["-cipher", "ECDHE-PSK-CHACHA20-POLY1305"]].concat();
    let suite = "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256";
    assert_eq!(asks(&server, &keyed), Ok(format!("TLSv1.2 {suite}")));
    // The host has no higher version, so this is no fallback (RFC 7507 §3).
    let fallen = [&keyed[..], &["-tls1_2", "-fallback_scsv"]].concat();
    assert_eq!(asks(&server, &fallen), Ok(format!("TLSv1.2 {suite}")));
}

#[test]
fn only_groups_of_the_host_are_agreed() {
    if missing(&["openssl"]) {
        return;
    }
    let server = server(BOTH, "kx-groups = [\"secp384r1\"]");
    for (count, args) in [
        vec!["-tls1_3"],
        vec!["-tls1_2"],
        [&WITH_KEY[..], &["-tls1_3"]].concat(),
        [
            &WITH_KEY[..],
            &["-tls1_2", "-cipher", "ECDHE-PSK-CHACHA20-POLY1305"],
        ]
        .concat(),
    ]
    .into_iter()
    .enumerate()
    {
        // X25519 first, and the key share for it; P-256 for the certificate.
        let both = [&args[..], &["-groups", "X25519:P-256:P-384"]].concat();
        asks(&server, &both).unwrap();
        let line = server.wait_for_connections(2 * count + 1).remove(2 * count);
        assert_eq!(line.value("group"), "secp384r1", "{args:?}");
        let other = [&args[..], &["-groups", "X25519:P-256"]].concat();
        assert_eq!(
            asks(&server, &other),
            refused(HANDSHAKE_FAILURE),
            "{args:?}"
        );
        server.wait_for_connections(2 * count + 2);
    }
}

#[test]
fn no_record_is_longer_than_its_host_says() {
    if missing(&["openssl"]) {
        return;
    }
    for limit in [Some(512), None] {
        let lines = limit.map_or(String::new(), |limit| format!("max-fragment = {limit}"));
        let command = "command = [\"head\", \"-c\", \"100000\", \"/dev/zero\"]\nallow-root = true";
        let site = Site::new();
        write_secret(&site.file("c.psk"), &format!("me:{KEY}\n"));
        let toml = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\ndefault = true\n{BOTH}\n{lines}\n{command}\n"
        );
        let server = Server::with_config_in(site, &toml);
        let old_key = [
            &WITH_KEY[..],
            &["-tls1_2", "-cipher", "ECDHE-PSK-CHACHA20-POLY1305"],
        ];
        for (args, overhead) in [
            (vec!["-tls1_3"], 1 + 16),
            (vec!["-tls1_2"], 8 + 16),
            ([&WITH_KEY[..], &["-tls1_3"]].concat(), 1 + 16),
            (old_key.concat(), 16),
        ] {
            let records = server.site.file("records");
            let mut client = program("openssl");
            client
                .args(["s_client", "-quiet", "-msg", "-msgfile"])
                .arg(&records)
                .args(["-connect", &server.address().to_string()])
                .args(&args);
            assert_eq!(run(&mut client).stdout.len(), 100_000);
            let longest = longest_record(&fs::read_to_string(&records).unwrap());
            match limit {
                Some(limit) => assert_eq!(longest, limit + overhead, "{args:?}"),
                None => assert!(longest > 2048, "{args:?}: {longest}"),
            }
        }
    }
}

/// The length of the longest data record in the trace of the client.
fn longest_record(trace: &str) -> usize {
    let mut lines = trace.lines();
    let mut longest = 0;
    while let Some(line) = lines.next() {
        if !line.starts_with("<<<") || !line.contains("RecordHeader") {
            continue;
        }
        let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        if header[0] == "17" {
            let length = usize::from_str_radix(&header[3..5].concat(), 16).unwrap();
            longest = longest.max(length);
        }
    }
    longest
}
