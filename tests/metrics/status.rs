//! `tlssrv --status`: the table for people.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use crate::scrape::CAT;
use tlssrv_testing::pki::write_secret;
use tlssrv_testing::programs::{Daemon, Ran, missing, program, run};
use tlssrv_testing::{Server, Site, Socket, eventually, tlssrv_path};

const KEY: &str = "000102030405060708090a0b0c0d0e0f";

fn table(host: &str) -> String {
    format!(
        "[limits]\nper-source = 0\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\nnames = [\"a.example\"]\n\
         default = true\ncert = [\"cert.pem\"]\nallow-root = true\n{CAT}\n{host}\n"
    )
}

fn ask(server: &Server) -> Ran {
    let mut command = program(tlssrv_path());
    command.args(["--status", "-f", "tlssrv.toml"]);
    run(command.current_dir(server.site.path()))
}

/// The rows of the table under this title, each cut at its columns.
fn rows(text: &str, title: &str) -> Vec<Vec<String>> {
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with(title))
        .skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[test]
fn hosts_and_open_connections_are_shown_with_age_bytes_and_name() {
    let server = Server::with_config(&table(""));
    let mut client = server.connect("a.example");
    client.send(&[b'x'; 1500]);
    client.read_exactly(1500);
    let silent = Socket::connect(server.address());
    let said = eventually("both connections", || {
        let text = ask(&server).text();
        let both = rows(&text, "ID ").len() == 2 && text.contains("1.5k");
        both.then_some(text)
    });
    let head = format!(
        "tlssrv {}, process {}, ready, up ",
        env!("CARGO_PKG_VERSION"),
        server.pid()
    );
    assert!(said.starts_with(&head), "{said}");
    let hosts = rows(&said, "HOST ");
    assert_eq!(
        hosts[0][..6],
        ["a.example", "1", "1", "0", "0", "1"],
        "{said}"
    );
    assert_eq!(hosts[0][7..9], ["1.5k", "1.5k"], "{said}");
    assert!(hosts[0][9].ends_with('Z'), "{said}");
    assert_eq!(hosts[1][..4], ["-", "1", "0", "0"], "{said}");
    let connections = rows(&said, "ID ");
    let [open, handshake] = &connections[..] else {
        panic!("{said}")
    };
    assert_eq!(open[1..3], ["a.example", "open"], "{said}");
    assert!(open[4].ends_with('s'), "an age: {said}");
    assert_eq!(open[5..8], ["1.5k", "1.5k", "TLSv1.3"], "{said}");
    let peer = client.socket.local_address().to_string();
    assert_eq!(open[8..], [peer.as_str(), "a.example", "-"], "{said}");
    assert_eq!(handshake[1..4], ["-", "handshake", "-"], "{said}");
    drop(silent);
}

#[test]
fn an_identity_with_control_characters_is_shown_without_them() {
    if missing(&["openssl"]) {
        return;
    }
    let identity = b"c\x1b[31md\xe2\x80\xae";
    let site = Site::new();
    let table_of_keys = [identity, &b":"[..], KEY.as_bytes(), b"\n"].concat();
    write_secret(
        &site.file("c.psk"),
        std::str::from_utf8(&table_of_keys).unwrap(),
    );
    let server = Server::with_config_in(site, &table("psk = \"c.psk\""));
    let mut s_client = program("openssl");
    s_client
        .args(["s_client", "-quiet", "-psk", KEY, "-psk_identity"])
        .arg(OsStr::from_bytes(identity))
        .args(["-connect", &server.address().to_string()]);
    s_client
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut s_client = Daemon::start(&mut s_client);
    s_client
        .0
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"hello\n")
        .unwrap();
    let said = eventually("the identity", || {
        let text = ask(&server).text();
        text.contains("c\\x1b[31md").then_some(text)
    });
    assert!(said.is_ascii(), "{said}");
    assert!(
        said.chars().all(|c| c == '\n' || !c.is_control()),
        "{said:?}"
    );
    let connections = rows(&said, "ID ");
    let identity = connections[0].last().unwrap();
    assert_eq!(identity, "c\\x1b[31md\\xe2\\x80\\xae");
}

#[test]
fn an_answer_larger_than_the_socket_buffer_arrives_complete() {
    let server = Server::with_config(&table(""));
    let silent: Vec<Socket> = (0..400)
        .map(|_| Socket::connect(server.address()))
        .collect();
    let all = || {
        let text = ask(&server).text();
        (rows(&text, "ID ").len() == silent.len()).then_some(())
    };
    // The socket of a server takes 208 KiB or so; a row has about 70 bytes.
    eventually("all connections", all);
    let fast: Vec<_> = (0..20)
        .map(|_| {
            std::thread::spawn({
                let path = server.site.path().to_owned();
                move || {
                    let mut command = program(tlssrv_path());
                    command
                        .args(["--status", "-f", "tlssrv.toml"])
                        .current_dir(path);
                    rows(&run(&mut command).text(), "ID ").len()
                }
            })
        })
        .collect();
    for asked in fast {
        assert_eq!(asked.join().unwrap(), 400);
    }
}

#[test]
fn status_of_a_server_that_does_not_run_is_an_error() {
    let server = Server::with_config(&table(""));
    let mut command = program(tlssrv_path());
    command.args(["--status", "-f", "other.toml"]);
    let other = run(command.current_dir(server.site.path()));
    assert_eq!(other.status.code(), Some(97));
    let why = "tlssrv: unable to ask the server of other.toml: no server of root's or of yours has this table";
    assert!(other.stderr.contains(why), "{}", other.stderr);
    let usage = run(program(tlssrv_path()).args(["--status"]));
    assert_eq!(usage.status.code(), Some(100));
}
