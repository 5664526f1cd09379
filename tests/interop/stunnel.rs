//! stunnel as a client with a key that is text, as its manual has it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use tlssrv_testing::pki::write_secret;
use tlssrv_testing::programs::{Daemon, missing, program};
use tlssrv_testing::{DEADLINE, Server, Site, eventually, socket::free_address};

use crate::setup::ANSWER;

/// The lines of both sides. The file of stunnel has no `text:`.
const KEY: &str = "sesame, open: 0123456789";

/// The answer to a word that goes through stunnel, which offers an identity; empty where the handshake fails.
fn answer(server: &Server, identity: &str) -> String {
    let (site, accept) = (&server.site, free_address());
    write_secret(
        &site.file("secrets"),
        &format!("alice:{KEY}\nbob:0123456789abcdeg\n"),
    );
    let (secrets, connect) = (site.file("secrets"), server.address());
    let config = format!(
        "foreground = yes\npid =\nsyslog = no\n[tlssrv]\nclient = yes\naccept = {accept}\nconnect = {connect}\n\
         PSKsecrets = {}\nPSKidentity = {identity}\n",
        secrets.display()
    );
    std::fs::write(site.file("stunnel.conf"), config).unwrap();
    let mut stunnel = program("stunnel");
    stunnel.arg(site.file("stunnel.conf"));
    let _stunnel = Daemon::silent(&mut stunnel);
    let mut stream = eventually("stunnel listens", || TcpStream::connect(accept).ok());
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut text = String::new();
    let _ = stream.write_all(b"hello\n");
    let _ = stream.read_to_string(&mut text);
    let _ = stream.shutdown(Shutdown::Both);
    text
}

fn serve(lines: &str) -> Server {
    let site = Site::new();
    write_secret(&site.file("psk.txt"), lines);
    let command = serde_json::to_string(&ANSWER).unwrap();
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nunknown-name = \"default\"\n[[host]]\ndefault = true\n\
         psk = \"psk.txt\"\ncommand = {command}\nallow-root = true\n"
    );
    Server::with_config_in(site, &toml)
}

#[test]
fn stunnel_with_a_key_that_is_text_is_served() {
    if missing(&["stunnel"]) {
        return;
    }
    let server = serve(&format!(
        "\u{feff}alice:text:{KEY}\r\nbob:text:0123456789abcdeg\r\n"
    ));
    for identity in ["alice", "bob"] {
        let answer = answer(&server, identity);
        assert!(
            answer.ends_with(&format!(" {identity} hello\n")),
            "{answer}"
        );
    }
}

#[test]
fn stunnel_with_another_key_that_is_text_is_refused() {
    if missing(&["stunnel"]) {
        return;
    }
    let server = serve(&format!("alice:text:{KEY}.\n"));
    assert_eq!(answer(&server, "alice"), "");
    let line = server.wait_for_connection();
    assert_eq!(
        line.value("end"),
        "handshake: unknown PSK identity, or wrong key"
    );
}
