//! Messages that say what to write: keys of other tables, words of other servers, lines for a shell, URLs, names of
//! services and of openssl.

use tlssrv_testing::examples::known_keys;
use tlssrv_testing::programs::{missing, program, run};

use crate::site::{LISTENER, Site, host, with_host};

#[test]
fn a_key_of_another_table_is_answered_with_that_table() {
    let known = known_keys();
    let place = |table: &str| match table {
        "" => "the top of the file".to_owned(),
        "listen" | "host" => format!("[[{table}]]"),
        table => format!("[{table}]"),
    };
    let text = |table: &str, key: &str| {
        let header = match table {
            "" => String::new(),
            table => format!("{}\n", place(table)),
        };
        format!("{header}{key} = 1\n")
    };
    for (owner, keys) in &known {
        for key in keys {
            // These are tables.
            if owner.is_empty() && ["listen", "host"].contains(&key.as_str()) {
                continue;
            }
            let others = known.iter().filter(|(_, keys)| !keys.contains(key));
            for (table, _) in others {
                let said = Site::new().check(&text(table, key)).stderr;
                let line = said.lines().find(|line| line.contains("unknown key"));
                let line = line.unwrap_or_else(|| panic!("{table}: {key}: {said}"));
                let answered = line.contains(&place(owner))
                    || line.contains("did you mean")
                    // A listener's own word for it.
                    || line.ends_with("write address in [[listen]]");
                assert!(answered, "src/config/text/hints.rs: {line}");
            }
        }
    }
    let message = "unknown key \"idle\" in [[host]]: it belongs to [limits]";
    Site::new()
        .check(&with_host("idle = \"5m\""))
        .refuses("idle", message);
}

#[test]
fn the_words_of_other_servers_are_answered_with_ours() {
    let site = Site::new();
    for (word, ours) in [
        // stunnel
        ("accept", "address in [[listen]]"),
        ("exec", "command = [\"PROGRAM\", \"ARGUMENT\"] in [[host]]"),
        ("CAfile", "client-ca in [[host]]"),
        (
            "verifyPeer",
            "client-auth = \"require\" or \"request\" in [[host]]",
        ),
        ("PSKsecrets", "psk in [[host]]"),
        ("TIMEOUTidle", "idle in [limits]"),
        // nginx
        ("server_name", "names in [[host]]"),
        ("ssl_certificate_key", "key in [[host]]"),
        ("proxy_pass", "connect in [[host]]"),
        ("worker_processes", "engines at the top of the file"),
        // HAProxy
        ("bind", "address in [[listen]]"),
        ("ca-file", "client-ca in [[host]]"),
        ("maxconn", "connections in [limits] or [[host]]"),
        (
            "send-proxy-v2",
            "proxy-protocol = \"v2\" beside connect in [[host]]",
        ),
        // hitch
        ("pem-file", "cert in [[host]]"),
        ("backend", "connect in [[host]]"),
        ("sni-nomatch-abort", "unknown-name in [[listen]]"),
        // Plain words
        ("certificate", "cert in [[host]]"),
        ("port", "address in [[listen]]"),
    ] {
        let message = format!("unknown key {word:?} in [[host]]: write {ours}");
        site.check(&with_host(&format!("{word} = 1")))
            .refuses(word, &message);
    }
    let text = format!("[[frontend]]\n{}", with_host(""));
    site.check(&text).refuses(
        "frontend",
        "unknown key \"frontend\" in the file: write [[listen]]",
    );
    let text = with_host("").replace("address = ", "listen = ");
    site.check(&text).refuses(
        "listen = ",
        "unknown key \"listen\" in [[listen]]: write address in [[listen]]",
    );
}

#[test]
fn one_string_stands_for_a_list_of_one() {
    let site = Site::new();
    let text = host("a.example")
        .replace("[\"a.example\"]", "\"a.example\"")
        .replace("[\"a.pem\"]", "\"a.pem\"")
        .replace("[\"a.key\"]", "\"a.key\"");
    let more = "alpn = \"imap\"\nlisten = \"tls\"\nsuites = \"TLS13_AES_128_GCM_SHA256\"\nkx-groups = \"X25519\"\n\
                pass-env = \"TZ\"\n";
    site.check(&format!("{LISTENER}{text}{more}")).is_fine();
    let message = "expected a string or an array of strings, found an integer";
    site.check(&with_host("alpn = 5")).refuses("alpn", message);
}

#[test]
fn a_command_that_is_a_line_for_a_shell_is_answered_with_words() {
    let site = Site::new();
    for (line, words) in [
        ("cat -n", "[\"cat\", \"-n\"]"),
        ("cat $HOME", "[\"sh\", \"-c\", \"cat $HOME\"]"),
    ] {
        let hint = format!("there is no shell: write {words}");
        let reason = format!("unable to run command {line:?}: not in PATH");
        let text = with_host("").replace("\"cat\"", &format!("{line:?}"));
        site.check(&text)
            .refuses("command", &reason)
            .refuses("command", &hint);
    }
    let outcome = site.run(&["--self-signed", "x", "--check", "cat -n"]);
    let message = "tlssrv: unable to run command \"cat -n\": not in PATH; there is no shell: leave out the quotation \
                   marks, or run sh -c \"cat -n\"\n";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
}

#[test]
fn a_star_and_a_service_are_taken_in_an_address() {
    let site = Site::new();
    for address in ["*:0", ":https", "*:imaps", "localhost:https"] {
        let text = with_host("").replace("127.0.0.1:0", address);
        site.check(&text).is_fine();
    }
    let backend = |address: &str| {
        with_host("")
            .replace("command = [\"cat\"]", &format!("connect = {address:?}"))
            .replace("user = \"nobody\"\n", "")
    };
    site.check(&backend("127.0.0.1:imap")).is_fine();
    site.check(&backend("*:143")).refuses(
        "connect",
        "unable to connect to \"*:143\": no host; write HOST:PORT or unix:PATH",
    );
    for (url, ours) in [
        ("http://localhost:8080/x", "\"localhost:8080\""),
        ("https://localhost/", "\"localhost:443\""),
        ("http://[::1]:80", "\"[::1]:80\""),
        ("tcp://x", "HOST:PORT"),
    ] {
        let message = format!("unable to connect to {url:?}: it is a URL; write {ours}");
        site.check(&backend(url)).refuses("connect", &message);
    }
    let text = with_host("").replace("127.0.0.1:0", "https://127.0.0.1");
    site.check(&text).refuses(
        "address",
        "unable to listen on \"https://127.0.0.1\": it is a URL; write \"127.0.0.1:443\"",
    );
}

#[test]
fn openssls_names_of_suites_and_groups_are_taken() {
    let site = Site::new();
    for lines in [
        "suites = [\"ECDHE-RSA-AES256-GCM-SHA384\", \"ECDHE-ECDSA-CHACHA20-POLY1305\"]",
        "suites = \"TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256\"",
        "kx-groups = \"X25519:P-256:secp384r1\"",
        "kx-groups = [\"prime256v1\", \"P-384\"]",
    ] {
        site.check(&with_host(lines)).is_fine();
    }
    let outcome = site.check(&with_host("suites = \"ECDHE-RSA-AES128-GCM-SHA256:HIGH\""));
    let message = "unable to use suite \"HIGH\": known are ";
    assert!(outcome.stderr.contains(message), "{}", outcome.stderr);

    // Each suite of ours that openssl has, by its name there.
    if missing(&["openssl"]) {
        return;
    }
    let unknown = site.check(&with_host("suites = [\"x\"]")).stderr;
    let ours = unknown.split("known are ").nth(1).unwrap();
    let ours: Vec<&str> = ours.lines().next().unwrap().split(", ").collect();
    let listed = run(program("openssl").args(["ciphers", "-stdname", "ALL"])).text();
    let mut tried = 0;
    for line in listed.lines() {
        let mut words = line.split_whitespace();
        let (iana, name) = (words.next().unwrap(), words.nth(1).unwrap());
        if ours.contains(&iana) {
            site.check(&with_host(&format!("suites = [{name:?}]")))
                .is_fine();
            tried += 1;
        }
    }
    assert_eq!(tried, 6, "{listed}");
}

#[test]
fn a_host_without_a_command_is_not_told_about_its_user() {
    let text = with_host("")
        .replace("command = [\"cat\"]\n", "")
        .replace("user = \"nobody\"\n", "");
    let outcome = Site::new().check(&text);
    outcome.refuses("[[host]]", "[[host]] without \"command\" or \"connect\"");
    assert!(!outcome.stderr.contains("root"), "{}", outcome.stderr);
    let outcome = Site::new().run(&["--listen", ":0", "--self-signed", "x", "--check", "none"]);
    assert!(!outcome.stderr.contains("root"), "{}", outcome.stderr);
}

#[test]
fn client_ca_without_client_auth_is_answered_with_what_to_write() {
    let message = "\"client-ca\" without \"client-auth\": nobody is asked for a certificate; write client-auth = \
                   \"require\", or \"request\" if clients may do without";
    Site::new()
        .check(&with_host("client-ca = \"a.pem\""))
        .refuses("client-ca", message);
}

#[test]
fn errors_of_the_system_are_shown_without_their_number() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    let none = "No such file or directory";
    for (args, message) in [
        (
            &["--listen", "unix:/no/such/socket"][..],
            format!("unable to listen on unix:/no/such/socket: {none}\n"),
        ),
        (
            &["--listen", "127.0.0.1:0", "-l", "/no/such/log"],
            format!("unable to open the log /no/such/log: {none}\n"),
        ),
        (
            &["--listen", &busy],
            format!("unable to listen on {busy}: Address already in use\n"),
        ),
        (
            &[],
            "descriptor 0 is not a connected socket: Socket operation on non-socket; ".to_owned(),
        ),
    ] {
        let args = [&["--self-signed", "x"], args, &["cat"]].concat();
        let outcome = Site::new().run(&args);
        assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("os error"), "{}", outcome.stderr);
    }
}
