//! The examples in `etc/examples`, running.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::unistd::{User, chown};

use crate::{git, tls_client};
use tlssrv_testing::account::is_root;
use tlssrv_testing::examples::{Programs, site_of};
use tlssrv_testing::programs::{Ran, missing, program, run, run_with};
use tlssrv_testing::{Client, Server, Site};

/// Starts an example on a free port, with other directories for what it serves.
fn start(name: &str, places: &[(&str, &str)]) -> Server {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let port = |line: &str| match line.starts_with("address = ") {
        true => "address = \"127.0.0.1:0\"\n".to_owned(),
        false => format!("{line}\n"),
    };
    let mut text: String = text.lines().map(port).collect();
    for (old, new) in places {
        assert!(text.contains(old), "{name}: {old}");
        text = text.replace(old, new);
    }
    let site = site_of(&text, &folder(), Programs::Real);
    Server::start_in(site, &["-f", "tlssrv.toml"])
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/examples")
}

/// A path as text.
fn place(directory: &Path) -> &str {
    directory.to_str().unwrap()
}

/// What curl gets with these arguments and this host's port.
fn curl(server: &Server, certificate: &str, host: &str, args: &[&str], url: &str) -> Ran {
    let port = server.address().port();
    run(program("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", "--cacert"])
        .arg(server.site.file(certificate))
        .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
        .args(args)
        .arg(url.replace("PORT", &port.to_string())))
}

/// What `openssl s_client` gets when it sends this, with the first key of a PSK file.
fn with_first_key(server: &Server, psk: &str, args: &[&str], input: &[u8]) -> String {
    let text = fs::read_to_string(server.site.file(psk)).unwrap();
    let line = text.lines().find(|line| !line.starts_with('#')).unwrap();
    let mut fields = line.split(':');
    let (identity, key) = (fields.next().unwrap(), fields.next().unwrap());
    run_with(
        program("openssl")
            .args(["s_client", "-quiet", "-psk_identity", identity, "-psk", key])
            .args(["-connect", &server.address().to_string()])
            .args(args),
        input,
    )
    .text()
}

#[test]
fn the_gopher_server_sends_files_but_no_hidden_ones_and_none_outside() {
    if missing(&["curl"]) {
        return;
    }
    let files = Site::new().with_file("about.txt", "what this is\n");
    fs::create_dir(files.file("more")).unwrap();
    fs::write(files.file("more/data"), [0, 1, 2]).unwrap();
    fs::write(files.file(".hidden"), "secret").unwrap();
    fs::remove_file(files.file("cert.pem")).unwrap();
    // The server must be able to list them.
    fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = start("gopher.toml", &[("/srv/gopher", place(files.path()))]);
    let get = |path: &str| {
        let url = format!("gophers://gopher.example.com:PORT/{path}");
        let ran = curl(&server, "gopher.pem", "gopher.example.com", &[], &url);
        ran.succeeded().stdout
    };
    let port = server.address().port();
    let menu = format!(
        "0about.txt\t/about.txt\tgopher.example.com\t{port}\r\n\
         1more\t/more\tgopher.example.com\t{port}\r\n.\r\n"
    );
    assert_eq!(String::from_utf8(get("")).unwrap(), menu);
    assert_eq!(get("0/about.txt"), b"what this is\n");
    assert_eq!(get("9/more/data"), [0, 1, 2]);
    for selector in [
        "/.hidden",
        "/../etc/passwd",
        "..",
        "/more/../.hidden",
        "/none",
    ] {
        let mut client = Client::connect(server.address(), "gopher.example.com");
        let answer = client.exchange(format!("{selector}\r\n").as_bytes());
        assert!(answer.bytes.starts_with(b"3not found\t"), "{selector}");
    }
}

#[test]
fn the_web_server_of_scripts_answers_get_head_and_post() {
    if missing(&["curl"]) {
        return;
    }
    let server = start("http.toml", &[]);
    let get = |args: &[&str]| {
        let url = "https://www.example.com:PORT/a/path?and=query";
        curl(&server, "www.pem", "www.example.com", args, url).text()
    };
    let hello = "hello 127.0.0.1, this is www.example.com over TLSv1.3\n";
    let line = |method| format!("method {method}, path /a/path, query and=query\n");
    assert_eq!(get(&[]), format!("{hello}{}body: \n", line("GET")));
    let body = "x".repeat(100_000);
    let posted = get(&["--data", &body]);
    assert_eq!(posted, format!("{hello}{}body: {body}\n", line("POST")));
    let head = get(&["--head"]);
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
    assert_eq!(head, expected);
    let status = [
        "--request",
        "DELETE",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    ];
    assert_eq!(get(&status), "501");
}

#[test]
fn the_collector_keeps_what_each_device_sends_in_whole_lines() {
    if missing(&["openssl"]) {
        return;
    }
    let spool = tempfile::tempdir().unwrap();
    fs::set_permissions(spool.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let server = start(
        "devices.toml",
        &[("/var/spool/readings", place(spool.path()))],
    );
    // The client does not wait for the answer.
    with_first_key(&server, "devices.psk", &["-no_ign_eof"], b"21.5\n21.7\nhal");
    let line = server.wait_for_connection();
    assert_eq!(line.value("identity"), "sensor-17");
    assert_eq!((line.value("exit"), line.value("in")), ("0", "13"));
    let kept = fs::read_to_string(spool.path().join("sensor-17")).unwrap();
    let kept: Vec<&str> = (kept.lines())
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    assert_eq!(kept, ["21.5", "21.7"]);
}

#[test]
fn git_clones_what_its_example_exports() {
    if missing(&["git", "socat"]) {
        return;
    }
    let at = Site::new();
    let work = at.file("work");
    git::make_repository(at.path(), &work);
    fs::write(at.file("project.git/git-daemon-export-ok"), "").unwrap();
    if is_root() {
        give_to_nobody(&at.file("project.git"));
    }
    let server = start("git.toml", &[("/srv/git", place(at.path()))]);
    let proxy = at.file("proxy");
    let client = tls_client("$1", "$2", &server.site.file("git.pem"));
    at.write_program("proxy", &format!("#!/bin/sh\n{client}\n"));
    let url = format!(
        "git://git.example.com:{}/project.git",
        server.address().port()
    );
    run(git::git(at.path())
        .env("GIT_PROXY_COMMAND", &proxy)
        .args(["clone", "--quiet", &url, "clone"]))
    .succeeded();
    git::assert_same(&work, &at.file("clone"));
}

#[test]
fn rsync_gets_the_files_of_its_example_and_cannot_write() {
    if missing(&["rsync", "socat"]) {
        return;
    }
    let data = Site::new().with_file("readme", "for everybody\n");
    fs::remove_file(data.file("cert.pem")).unwrap();
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let server = start("rsync.toml", &[]);
    let conf = fs::read_to_string(folder().join("rsyncd.conf")).unwrap();
    let conf = conf.replace("/srv/data", place(data.path()));
    fs::write(server.site.file("rsyncd.conf"), conf).unwrap();
    let port = server.address().port().to_string();
    let connect = tls_client("%H", &port, &server.site.file("rsync.pem"));
    // A refused client leaves its connection open until a timeout.
    let connect = connect.replace("-t 120", "-t 1");
    let got = server.site.file("got");
    let rsync = |from: &str, to: &str| {
        run(program("rsync").env("RSYNC_CONNECT_PROG", &connect).args([
            "--archive",
            "--timeout=60",
            from,
            to,
        ]))
    };
    let url = "rsync://rsync.example.com/data/";
    rsync(url, place(&got)).succeeded();
    assert_eq!(
        fs::read_to_string(got.join("readme")).unwrap(),
        "for everybody\n"
    );
    assert!(!rsync(&format!("{}/", place(&got)), url).status.success());
}

#[test]
fn mail_goes_to_dovecot_and_clients_with_a_key_get_their_own_imap() {
    if missing(&["openssl", "socat", "/usr/lib/dovecot/imap"]) {
        return;
    }
    let dovecot = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("TCP:{}", dovecot.local_addr().unwrap());
    let server = start("imap.toml", &[("TCP:127.0.0.1:143", &address)]);
    let greeter = thread::spawn(move || {
        let (mut client, _) = dovecot.accept().unwrap();
        client.write_all(b"* OK who are you?\r\n").unwrap();
    });
    let mut client = Client::connect(server.address(), "imap.example.com");
    assert_eq!(client.read_line(), "* OK who are you?\r");
    greeter.join().unwrap();

    let name = ["-servername", "keys.imap.example.com"];
    let said = with_first_key(&server, "imap.psk", &name, b"a LOGOUT\r\n");
    assert!(said.starts_with("* PREAUTH "), "{said}");
    assert!(said.contains("\r\na OK Logout completed"), "{said}");
}

/// Gives a directory tree to the user that examples run as, where root runs the tests.
fn give_to_nobody(tree: &Path) {
    let nobody = User::from_name("nobody").unwrap().unwrap();
    chown(tree, Some(nobody.uid), Some(nobody.gid)).unwrap();
    if tree.is_dir() {
        for entry in fs::read_dir(tree).unwrap() {
            give_to_nobody(&entry.unwrap().path());
        }
    }
}
