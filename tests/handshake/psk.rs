//! Pre-shared keys: which clients are served, which user their command runs as, and what it and the log get.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use nix::unistd::User;

use tlssrv_testing::account::{is_root, me, path_of};
use tlssrv_testing::pki::write_secret;
use tlssrv_testing::programs::{Ran, missing, program, run, run_with};
use tlssrv_testing::{Dial, Ended, Line, Server, Site, skip, tlssrv_path};

const KEY: &str = "00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100";
/// A script that prints its user and the identity of the client.
const WHO: &str = "echo $(id -un) ${TLSSRV_PSK_IDENTITY-none}";
const FORWARD_SECRET: &str = "ECDHE-PSK-CHACHA20-POLY1305";
const PLAIN: &str = "PSK-AES128-GCM-SHA256";

/// A site with this PSK file as `c.psk`.
fn site(table: &str) -> Site {
    let site = Site::new();
    write_secret(&site.file("c.psk"), table);
    site
}

/// A server with this command line: `tlssrv --listen … ARGS… sh -c SCRIPT`.
fn serve(table: &str, args: &[&str], script: &str) -> Server {
    let args = [&["--listen", "127.0.0.1:0"], args, &["sh", "-c", script]].concat();
    Server::start_in(site(table), &args)
}

/// A server with a default host that has these lines and runs this script.
fn serve_host(table: &str, lines: &str, script: &str) -> Server {
    let script = serde_json::to_string(script).unwrap();
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\ndefault = true\npsk = \"c.psk\"\n\
         command = [\"sh\", \"-c\", {script}]\n{lines}\n"
    );
    Server::with_config_in(site(table), &toml)
}

/// Runs `openssl s_client` with this key and no input.
fn ask(server: &Server, identity: &[u8], key: &str, more: &[&str]) -> Ran {
    let mut s_client = program("openssl");
    s_client
        .args(["s_client", "-quiet", "-psk", key, "-psk_identity"])
        .arg(OsStr::from_bytes(identity))
        .args(["-connect", &server.address().to_string()])
        .args(more);
    run(&mut s_client)
}

/// The line that a client with the key gets.
#[track_caller]
fn told(server: &Server, identity: &str) -> String {
    let text = ask(server, identity.as_bytes(), KEY, &[]).text();
    text.trim_end().to_owned()
}

/// Two users that commands can run as; without root, both are the user of the tests.
fn two_users() -> [User; 2] {
    match is_root() {
        true => ["nobody", "daemon"].map(|name| User::from_name(name).unwrap().unwrap()),
        false => [me(), me()],
    }
}

#[test]
fn with_a_the_command_runs_as_the_user_of_the_identity_with_its_variables() {
    if missing(&["openssl"]) {
        return;
    }
    let users = two_users();
    let table = format!(
        "a:{KEY}:{}\nb:{KEY}:{}:sha256\n",
        users[0].name, users[1].name
    );
    let script = "id -u; id -g; id -G; echo $HOME; echo $USER; echo $LOGNAME; echo $SHELL; echo $PATH; \
                  echo $TLSSRV_PSK_IDENTITY";
    let server = serve(&table, &["-a", "-k", "c.psk"], script);
    for (identity, user) in ["a", "b"].into_iter().zip(&users) {
        let groups = run(program("id").args(["-G", &user.name])).text();
        let path = path_of(user);
        let expected = [
            &user.uid.to_string(),
            &user.gid.to_string(),
            groups.trim_end(),
            user.dir.to_str().unwrap(),
            &user.name,
            &user.name,
            user.shell.to_str().unwrap(),
            path,
            identity,
        ];
        assert_eq!(told(&server, identity), expected.join("\n"));
    }
}

#[test]
fn with_capital_a_the_command_runs_as_the_user_of_tlssrv() {
    if missing(&["openssl"]) {
        return;
    }
    // The user in the file is not looked up.
    let server = serve(
        &format!("a:{KEY}:no-such-user\n"),
        &["-A", "-k", "c.psk"],
        WHO,
    );
    assert_eq!(told(&server, "a"), format!("{} a", me().name));
}

#[test]
fn keys_work_in_both_versions_and_the_log_names_the_identity() {
    if missing(&["openssl"]) {
        return;
    }
    let server = serve(
        &format!("a:{KEY}\n"),
        &["-k", "c.psk"],
        "echo $SSL_PROTOCOL $SSL_CIPHER",
    );
    for (count, version) in ["TLSv1.3", "TLSv1.2"].into_iter().enumerate() {
        let option = version.replace("TLSv", "-tls").replace('.', "_");
        let said = ask(&server, b"a", KEY, &[&option]).text();
        let line = server.wait_for_connections(count + 1).remove(count);
        assert_eq!(line.value("tls"), version);
        assert_eq!(
            said.trim_end(),
            format!("{version} {}", line.value("suite"))
        );
        assert_eq!((line.value("auth"), line.value("identity")), ("psk", "a"));
        assert_eq!(
            (line.value("resumed"), line.value("end")),
            ("false", "closed")
        );
        let place = |key: &str| line.keys.iter().position(|k| k == key);
        assert_eq!(place("identity"), place("auth").map(|place| place + 1));
    }
}

#[test]
fn a_wrong_key_or_a_key_with_another_hash_starts_no_command() {
    if missing(&["openssl"]) {
        return;
    }
    let table = format!("a:{KEY}\nc:{KEY}::sha384\n");
    let server = serve(&table, &["-k", "c.psk"], WHO);
    let strangers: [(&[u8], _); 3] = [(b"a", OTHER), (b"b", KEY), (b"c", KEY)];
    for (count, (identity, key)) in strangers.into_iter().enumerate() {
        assert_eq!(ask(&server, identity, key, &["-tls1_3"]).stdout, b"");
        let line = server.wait_for_connections(count + 1).remove(count);
        assert!(line.value("end").starts_with("handshake: "), "{line:?}");
        assert_eq!((line.get("auth"), line.get("identity")), (None, None));
        assert_eq!((line.get("pid"), line.level.as_str()), (None, "info"));
    }
}

#[test]
fn an_id_in_the_key_spec_excludes_other_identities() {
    if missing(&["openssl"]) {
        return;
    }
    let table = format!("a:{KEY}\nit's b:{KEY}\n");
    let server = serve(&table, &["-k", "file=c.psk id='it''s b'"], WHO);
    assert_eq!(told(&server, "it's b"), format!("{} it's b", me().name));
    assert_eq!(ask(&server, b"a", KEY, &[]).stdout, b"");
}

#[test]
fn only_the_options_of_plan_9_allow_keys_without_forward_secrecy_by_default() {
    if missing(&["openssl"]) {
        return;
    }
    let table = format!("a:{KEY}:{}\n", two_users()[0].name);
    let script = "echo $SSL_CIPHER";
    let offers = |server: &Server, cipher: &str| {
        let ran = ask(server, b"a", KEY, &["-tls1_2", "-cipher", cipher]);
        !ran.stdout.is_empty()
    };
    for (args, plain) in [
        (&["-k", "c.psk"][..], false),
        (&["-A", "-k", "c.psk"], true),
        (&["-a", "-k", "c.psk"], true),
    ] {
        let server = serve(&table, args, script);
        assert_eq!(offers(&server, PLAIN), plain, "{args:?}");
        assert!(offers(&server, FORWARD_SECRET), "{args:?}");
    }
    for (lines, plain) in [
        ("", false),
        ("psk-only-ke = true", false),
        ("psk-plain = true", true),
    ] {
        let server = serve_host(&table, &format!("allow-root = true\n{lines}"), script);
        assert_eq!(offers(&server, PLAIN), plain, "{lines}");
    }
}

#[test]
fn psk_only_ke_allows_tls_1_3_without_forward_secrecy() {
    if missing(&["gnutls-cli"]) {
        return;
    }
    let table = format!("a:{KEY}\n");
    for (lines, possible) in [
        ("", false),
        ("psk-plain = true", false),
        ("psk-only-ke = true", true),
    ] {
        let server = serve_host(
            &table,
            &format!("allow-root = true\n{lines}"),
            "echo served",
        );
        let mut gnutls = program("gnutls-cli");
        gnutls
            .args([
                "--pskusername=a",
                &format!("--pskkey={KEY}"),
                "--logfile=/dev/null",
            ])
            .arg("--priority=NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+PSK")
            .args([&format!("--port={}", server.address().port()), "127.0.0.1"]);
        let ran = run_with(&mut gnutls, b"");
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert_eq!(
            text.contains("served"),
            possible,
            "{lines}: {text}{}",
            ran.stderr
        );
        let line = server.wait_for_connection();
        assert_eq!(line.value("end") == "closed", possible, "{line:?}");
        assert_eq!(line.get("group"), None);
    }
}

#[test]
fn a_host_with_keys_and_certificates_serves_clients_of_both() {
    if missing(&["openssl"]) {
        return;
    }
    let server = serve(
        &format!("a:{KEY}\n"),
        &["-k", "c.psk", "-c", "cert.pem"],
        WHO,
    );
    assert_eq!(told(&server, "a"), format!("{} a", me().name));
    let mut client = Dial::new().connect(server.address(), "a.example");
    assert_eq!(client.read_line(), format!("{} none", me().name));
    client.read_close_notify();
    drop(client);
    let lines = server.wait_for_connections(2);
    let auth = |line: &Line| {
        (
            line.value("auth").to_owned(),
            line.get("identity").map(str::to_owned),
        )
    };
    assert_eq!(auth(&lines[0]), ("psk".into(), Some("a".into())));
    assert_eq!(auth(&lines[1]), ("cert".into(), None));
}

#[test]
fn with_run_as_psk_identities_run_as_their_users_and_other_clients_as_that_of_the_host() {
    if missing(&["openssl"]) {
        return;
    }
    if !is_root() {
        return skip("only root can become somebody else");
    }
    let lines =
        "run-as = \"psk\"\ncert = [\"cert.pem\"]\nuser = \"bin\"\nenv = { HOME = \"/here\" }";
    let script = "echo $(id -un) $USER $HOME";
    let table = format!("a:{KEY}:nobody\nb:{KEY}:daemon\nr:{KEY}:bin\n");
    let server = serve_host(&table, lines, script);
    assert_eq!(told(&server, "a"), "nobody nobody /here");
    assert_eq!(told(&server, "b"), "daemon daemon /here");
    let mut client = Dial::new().connect(server.address(), "");
    assert_eq!(client.read_line(), "bin bin /here");
}

#[test]
fn an_identity_runs_as_root_where_the_host_has_allow_root() {
    if missing(&["openssl"]) {
        return;
    }
    if !is_root() {
        return skip("only root can become root");
    }
    let lines = "run-as = \"psk\"\nallow-root = true";
    let server = serve_host(&format!("a:{KEY}:nobody\nr:{KEY}:root\n"), lines, WHO);
    assert_eq!(told(&server, "r"), "root r");
    assert_eq!(told(&server, "a"), "nobody a");
}

#[test]
fn an_identity_without_user_starts_no_command_and_gets_close_notify() {
    if missing(&["openssl"]) {
        return;
    }
    let table = format!("a:{KEY}:{}\nb:{KEY}\n", two_users()[0].name);
    let server = serve(&table, &["-a", "-k", "c.psk"], WHO);
    assert_eq!(told(&server, "b"), "");
    let line = server.wait_for_connection();
    let end = "launch: the identity has no user in the PSK file";
    assert_eq!((line.value("end"), line.level.as_str()), (end, "info"));
    assert_eq!((line.value("auth"), line.value("identity")), ("psk", "b"));
    assert_eq!((line.get("pid"), line.get("exit")), (None, None));
    // Other clients are not affected.
    assert_eq!(told(&server, "a"), format!("{} a", two_users()[0].name));
}

#[test]
fn an_identity_that_is_not_utf_8_is_unset_in_the_environment_and_escaped_in_the_log() {
    if missing(&["openssl"]) {
        return;
    }
    let table = format!("c\x1bd:{KEY}\nb\u{fc}cher \"x\":{KEY}\n");
    let server = serve(&table, &["-k", "c.psk"], WHO);
    assert_eq!(told(&server, "c\x1bd"), format!("{} none", me().name));
    let line = server.wait_for_connection();
    assert_eq!(line.value("identity"), r"c\x1bd");
    let left_out = format!(
        "id={} TLSSRV_PSK_IDENTITY is left out: c\\x1bd is not text without control characters",
        line.value("id")
    );
    server.wait_for_line("the variable is left out", |line| line.contains(&left_out));
    let text = "b\u{fc}cher \"x\"";
    assert_eq!(told(&server, text), format!("{} {text}", me().name));
    let line = server.wait_for_connections(2).remove(1);
    assert_eq!(line.value("identity"), r#"b\xc3\xbccher \"x\""#);
    let lines = server.lines();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.contains("left out"))
            .count(),
        1
    );
}

#[test]
fn a_host_with_keys_and_a_host_with_certificates_share_a_port() {
    if missing(&["openssl"]) {
        return;
    }
    let toml = "[[listen]]\naddress = \"127.0.0.1:0\"\n\
                [[host]]\nnames = [\"a.example\"]\ncert = [\"cert.pem\"]\ncommand = [\"echo\", \"cert\"]\n\
                allow-root = true\n\
                [[host]]\nnames = [\"psk.example\"]\npsk = \"c.psk\"\ncommand = [\"echo\", \"psk\"]\n\
                allow-root = true\n";
    let server = Server::with_config_in(site(&format!("a:{KEY}\n")), toml);
    let asks = |name: &str| ask(&server, b"a", KEY, &["-servername", name]);
    assert_eq!(asks("psk.example").text(), "psk\n");
    assert_eq!(server.wait_for_connection().value("host"), "psk.example");
    // It shows its certificate to clients with keys of other hosts.
    assert_eq!(asks("a.example").stdout, b"cert\n");
    assert_eq!(server.wait_for_connections(2)[1].value("auth"), "cert");
    let refused = Dial::new().try_connect(server.address(), "psk.example");
    assert!(matches!(refused.err(), Some(Ended::Alert(_))));
}

#[test]
fn one_connection_on_descriptor_0_ends_with_the_status_of_its_command() {
    if missing(&["openssl"]) {
        return;
    }
    let table = format!("a:{KEY}:{}\nb:{KEY}\n", two_users()[0].name);
    for (identity, status, said) in [("a", 7, "hello\n"), ("b", 126, "")] {
        let site = site(&table);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let client = std::thread::spawn(move || {
            let options = ["s_client", "-quiet", "-psk", KEY, "-psk_identity", identity];
            run(program("openssl")
                .args(options)
                .args(["-connect", &address]))
        });
        let connection: OwnedFd = listener.accept().unwrap().0.into();
        let mut tlssrv = Command::new(tlssrv_path());
        tlssrv
            .args(["-a", "-k", "c.psk", "sh", "-c", "echo hello; exit 7"])
            .current_dir(site.path())
            .stdin(connection)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert_eq!(tlssrv.status().unwrap().code(), Some(status));
        drop(tlssrv);
        assert_eq!(client.join().unwrap().text(), said);
    }
}
