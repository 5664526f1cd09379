//! Files of certificates and keys as people have them: what clients get to see of them.

use std::fs;
use std::process::Command;

use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;

use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::{Certificate, encrypt, write_secret};
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::{Dial, Host, Server, Site, tlssrv_path};

/// Password of the encrypted key in `leaf.key`.
const PASSWORD: &str = "sesame";

/// A leaf with its key, and the certificates above it.
struct Chain {
    leaf: Certificate,
    intermediate: String,
}

impl Chain {
    fn new() -> Self {
        let intermediate = Authority::new("Root").intermediate("Intermediate");
        Self {
            leaf: intermediate.server(&["a.example"], 1, &KeyPair::generate().unwrap()),
            intermediate: intermediate.pem(),
        }
    }

    /// A site with this chain in `chain.pem`, its key, encrypted, in `leaf.key`, and the password in `password`.
    fn site(&self, chain: &str) -> Site {
        let site = Site::new().with_file("chain.pem", chain);
        write_secret(&site.file("leaf.key"), &self.leaf.key);
        write_secret(&site.file("password"), &format!("{PASSWORD}\n"));
        encrypt(&site.file("leaf.key"), PASSWORD, &[]);
        site
    }

    /// The chain with a byte order mark at the front, and without a newline between its certificates.
    fn joined(&self) -> String {
        format!(
            "\u{feff}{}{}",
            self.leaf.certificate.trim_end(),
            self.intermediate
        )
    }
}

/// The certificates that a client gets.
fn shown(server: &Server) -> Vec<CertificateDer<'static>> {
    let client = Dial::new().connect(server.address(), "a.example");
    client.tls.peer_certificates().unwrap().to_vec()
}

fn table(lines: &str) -> String {
    let host = Host {
        host: "names = [\"a.example\"]",
        command: &["cat"],
        ..Host::default()
    };
    host.toml().replace("cert = [\"cert.pem\"]", lines)
}

const KEYS: &str = "cert = [\"chain.pem\"]\nkey = [\"leaf.key\"]\nkey-password = \"password\"";

#[test]
fn clients_get_the_whole_chain_of_a_joined_file_and_an_encrypted_key_signs() {
    if missing(&["openssl"]) {
        return;
    }
    let chain = Chain::new();
    let server = Server::with_config_in(chain.site(&chain.joined()), &table(KEYS));
    assert_eq!(shown(&server).len(), 2);

    let site = chain.site(&chain.joined());
    let keys = [
        "-c",
        "chain.pem",
        "--key",
        "leaf.key",
        "--key-password",
        "password",
    ];
    let server = Server::start_in(
        site,
        &[&["--listen", "127.0.0.1:0"], &keys[..], &["cat"]].concat(),
    );
    assert_eq!(shown(&server).len(), 2);
}

#[test]
fn a_password_may_be_a_credential() {
    if missing(&["openssl"]) {
        return;
    }
    let chain = Chain::new();
    let site = chain.site(&chain.joined());
    let toml = table(&KEYS.replace("= \"password", "= \"credential:password"));
    let site = site.with_file("tlssrv.toml", &toml);
    let mut command = Command::new(tlssrv_path());
    command
        .args(["-f", "tlssrv.toml"])
        .env("CREDENTIALS_DIRECTORY", site.path());
    assert_eq!(shown(&Server::run(site, &mut command)).len(), 2);
}

#[test]
fn a_reload_reads_joined_files_and_encrypted_keys_and_refuses_damaged_ones() {
    if missing(&["openssl"]) {
        return;
    }
    let chain = Chain::new();
    let server =
        Server::with_config_in(chain.site(&chain.joined()), &table("cert = [\"cert.pem\"]"));
    assert_eq!(shown(&server).len(), 1);
    let reload = |toml: &str| {
        fs::write(server.site.file("tlssrv.toml"), toml).unwrap();
        let mut tlssrv = program(tlssrv_path());
        run(tlssrv
            .current_dir(server.site.path())
            .args(["--reload", "-f", "tlssrv.toml"]))
    };
    reload(&table(KEYS)).succeeded();
    let before = shown(&server);
    assert_eq!(before.len(), 2);

    let indented = chain
        .joined()
        .replace("CERTIFICATE----------BEGIN", "CERTIFICATE-----  -----BEGIN");
    fs::write(server.site.file("chain.pem"), indented).unwrap();
    let refused = reload(&table(KEYS));
    assert!(!refused.status.success());
    assert!(
        refused.stderr.contains("white space before \"-----BEGIN\""),
        "{}",
        refused.stderr
    );
    fs::write(server.site.file("chain.pem"), chain.joined()).unwrap();
    write_secret(&server.site.file("password"), "another\n");
    let refused = reload(&table(KEYS));
    assert!(
        refused
            .stderr
            .contains("with another password than that in key-password"),
        "{}",
        refused.stderr
    );
    assert_eq!(shown(&server), before);
}
