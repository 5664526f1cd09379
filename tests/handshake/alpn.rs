//! ALPN: which of the hosts that share a name a client gets, and when it gets none.

use rustls::AlertDescription;

use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::{Dial, Ended, Server, Site};

/// Hosts that share a name, a wildcard, and the default; each command prints its own.
fn hosts(keys: &str) -> String {
    let mut hosts = String::new();
    for (command, names, protocols) in [
        ("acme", "names = [\"a.example\"]", "\"acme-tls/1\""),
        ("h2", "names = [\"a.example\", \"localhost\"]", "\"h2\""),
        (
            "http",
            "names = [\"a.example\"]",
            "\"http/1.1\", \"http/1.0\"",
        ),
        ("wild imap", "names = [\"*.wild.example\"]", "\"imap\""),
        ("wild rest", "names = [\"*.wild.example\"]", ""),
        ("default smtp", "default = true", "\"smtp\""),
        ("default rest", "default = true", ""),
    ] {
        hosts.push_str(&format!(
            "[[host]]\n{names}\n{keys}\nalpn = [{protocols}]\nallow-root = true\n\
             command = [\"sh\", \"-c\", \"echo {command}, ${{TLSSRV_ALPN-none}}\"]\n"
        ));
    }
    format!("[[listen]]\naddress = \"127.0.0.1:0\"\nunknown-name = \"default\"\n{hosts}")
}

const ANSWERS: [(&str, &[&str], &str); 12] = [
    ("a.example", &["h2", "http/1.1"], "h2, h2"),
    // The order of the file decides, not that of the client.
    ("a.example", &["http/1.1", "h2"], "h2, h2"),
    ("a.example", &["http/1.0"], "http, http/1.0"),
    ("A.Example", &["x", "http/1.1"], "http, http/1.1"),
    ("a.example", &["acme-tls/1"], "acme, acme-tls/1"),
    ("a.example", &[], "acme, none"),
    ("localhost", &["h2"], "h2, h2"),
    ("x.wild.example", &["imap"], "wild imap, imap"),
    ("x.wild.example", &["h2"], "wild rest, none"),
    ("x.wild.example", &[], "wild rest, none"),
    ("unknown.example", &["smtp"], "default smtp, smtp"),
    ("unknown.example", &["h2"], "default rest, none"),
];

/// Protocols that no host of the name lists. Another name's host does, but the name decides first.
const REFUSED: [(&str, &[&str]); 4] = [
    ("a.example", &["imap"]),
    ("localhost", &["http/1.1", "acme-tls/1"]),
    // Only a host that lists acme-tls/1 may answer a certification authority.
    ("x.wild.example", &["acme-tls/1"]),
    ("unknown.example", &["acme-tls/1"]),
];

#[test]
fn alpn_chooses_among_hosts_that_share_a_name() {
    let server = Server::with_config(&hosts("cert = [\"cert.pem\"]"));
    for (name, offered, answer) in ANSWERS {
        let mut client = Dial::new().alpn(offered).connect(server.address(), name);
        assert_eq!(client.read_line(), answer, "{name} {offered:?}");
        let (_, protocol) = answer.split_once(", ").unwrap();
        let agreed = client.tls.alpn_protocol().unwrap_or(b"none");
        assert_eq!(agreed, protocol.as_bytes(), "{name} {offered:?}");
    }
}

#[test]
fn alpn_that_no_host_of_the_name_has_gets_no_application_protocol() {
    for (name, offered) in REFUSED {
        let server = Server::with_config(&hosts("cert = [\"cert.pem\"]"));
        let refused = Dial::new()
            .alpn(offered)
            .try_connect(server.address(), name);
        let alert = Ended::Alert(AlertDescription::NoApplicationProtocol);
        assert_eq!(refused.err(), Some(alert), "{name} {offered:?}");
        let line = server.wait_for_connection();
        let reason = "handshake: no host of this name has a protocol that the client offers";
        assert_eq!(line.value("end"), reason);
        assert_eq!((line.get("pid"), line.value("sni")), (None, name));
        // Where several hosts could be meant, the log names none.
        assert_eq!(line.get("host").is_some(), name == "localhost", "{line:?}");
    }
}

#[test]
fn curl_gets_the_host_of_the_protocol_that_it_speaks() {
    if missing(&["curl"]) {
        return;
    }
    let server = Server::with_config(&hosts("cert = [\"cert.pem\"]"));
    let port = server.address().port();
    for (option, answer) in [
        ("--http1.1", "http, http/1.1"),
        ("--http1.0", "http, http/1.0"),
        ("--no-alpn", "acme, none"),
    ] {
        let mut curl = program("curl");
        // The answer is not HTTP.
        curl.args(["-sk", "--http0.9", option, "--resolve"])
            .arg(format!("a.example:{port}:127.0.0.1"))
            .arg(format!("https://a.example:{port}/"));
        assert_eq!(run(&mut curl).text().trim_end(), answer, "{option}");
    }
}

#[test]
fn openssl_gets_the_host_of_its_protocols_with_a_key_and_without() {
    if missing(&["openssl"]) {
        return;
    }
    let key = "000102030405060708090a0b0c0d0e0f";
    let with_key = ["-psk_identity", "me", "-psk", key];
    let each = ["-tls1_3", "-tls1_2"];
    let each = each.map(|version| {
        [
            ("cert = [\"cert.pem\"]", version, &[][..]),
            ("psk = \"c.psk\"", version, &with_key),
        ]
    });
    for (authentication, version, args) in each.into_iter().flatten() {
        let site = Site::new();
        tlssrv_testing::pki::write_secret(&site.file("c.psk"), &format!("me:{key}\n"));
        let server = Server::with_config_in(site, &hosts(authentication));
        let connect = |name: &str, offered: &[&str]| {
            let mut command = program("openssl");
            command
                .args(["s_client", "-quiet", version, "-servername", name])
                .args(["-connect", &server.address().to_string()])
                .args(args);
            if !offered.is_empty() {
                command.args(["-alpn", &offered.join(",")]);
            }
            run(&mut command)
        };
        for (name, offered, answer) in ANSWERS {
            let ran = connect(name, offered);
            let said = String::from_utf8_lossy(&ran.stdout);
            assert_eq!(
                said.trim_end(),
                answer,
                "{name} {offered:?}\n{}",
                ran.stderr
            );
        }
        for (name, offered) in REFUSED {
            let ran = connect(name, offered);
            assert!(ran.stderr.contains("alert number 120"), "{}", ran.stderr);
        }
    }
}
