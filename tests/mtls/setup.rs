//! A server that asks for certificates, and clients that have some.

use std::fs;
use std::net::SocketAddr;

use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::Certificate;
use tlssrv_testing::programs::{Ran, program, run};
use tlssrv_testing::{Server, Site};

/// A CA for clients, in `ca.pem`, and the directory of that.
pub(crate) struct Setup {
    pub(crate) ca: Authority,
    pub(crate) site: Site,
}

impl Setup {
    /// With `alice.pem` (serial number 1) and `bob.pem` (2).
    pub(crate) fn new() -> Self {
        let (ca, site) = (Authority::new("Test CA"), Site::new());
        fs::write(site.file("ca.pem"), ca.pem()).unwrap();
        for (name, serial) in [("alice", 1), ("bob", 2)] {
            let made = ca.client(name, serial);
            made.write_combined(&site.file(&format!("{name}.pem")));
        }
        Self { ca, site }
    }

    /// With this certificate as `NAME.pem`, too.
    pub(crate) fn with(self, name: &str, certificate: &Certificate) -> Self {
        certificate.write_combined(&self.site.file(&format!("{name}.pem")));
        self
    }

    /// Starts it with `client-auth = "require"` and these lines of a host, running `env`.
    pub(crate) fn require(self, lines: &str) -> Server {
        self.start(&format!("client-auth = \"require\"\n{lines}"))
    }

    /// Starts it with `client-ca = "ca.pem"` and these lines of a host, running `env`.
    pub(crate) fn start(self, lines: &str) -> Server {
        let toml = table(lines);
        Server::with_config_in(self.site, &toml)
    }
}

/// A table of one host with these lines.
pub(crate) fn table(lines: &str) -> String {
    let user = match lines.contains("run-as") {
        true => "",
        false => "allow-root = true\n",
    };
    format!(
        "engines = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\nnames = [\"a.example\"]\n\
         cert = [\"cert.pem\"]\nclient-ca = \"ca.pem\"\ncommand = [\"env\"]\n{user}{lines}\n"
    )
}

/// Runs `openssl s_client` with the certificate `WHO.pem` (none, when it is empty).
pub(crate) fn s_client(server: &Server, who: &str, options: &[&str]) -> Ran {
    s_client_at(server.address(), &server.site, who, options)
}

/// The same, with the server at this address.
pub(crate) fn s_client_at(address: SocketAddr, site: &Site, who: &str, options: &[&str]) -> Ran {
    let mut command = program("openssl");
    command
        .current_dir(site.path())
        .args(["s_client", "-quiet", "-servername", "a.example"])
        .args(["-connect", &address.to_string()]);
    if !who.is_empty() {
        let file = format!("{who}.pem");
        // The rest of the chain comes from the same file.
        command.args(["-cert", &file, "-key", &file, "-cert_chain", &file]);
    }
    run(command.args(options))
}

/// Fails unless a client is served; returns the output of the command. The connection is in the log then.
pub(crate) fn served(server: &Server, who: &str, options: &[&str]) -> String {
    let before = server.connection_lines().len();
    let ran = s_client(server, who, options);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains("SSL_CIPHER="), "{who}: {}", ran.stderr);
    server.wait_for_connections(before + 1);
    text
}

/// The value of a variable.
pub(crate) fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}
