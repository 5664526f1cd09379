//! The keys, and servers that have them.

use crate::offer::Suite;
use tlssrv_testing::pki::write_secret;
use tlssrv_testing::vectors::digits_of;
use tlssrv_testing::{Server, Site};

/// A key, as a client has it.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) identity: String,
    /// The key itself, in hexadecimal digits.
    pub(crate) digits: String,
    /// The end of its line in the PSK file of the server.
    hash: &'static str,
}

impl Key {
    /// The usual key for TLS 1.2, and for suites with SHA-256.
    pub(crate) fn alice() -> Self {
        Self::new("alice", 1..=32)
    }

    /// The usual key for SHA-384, which is also that of `bob384.pem`.
    pub(crate) fn bob() -> Self {
        Self {
            hash: "::sha384",
            ..Self::new("bob", 0x10..=0x3f)
        }
    }

    /// The usual key that goes with a suite.
    pub(crate) fn for_suite(suite: Suite) -> Self {
        match suite {
            Suite::Aes256 => Self::bob(),
            _ => Self::alice(),
        }
    }

    /// The same key, under an identity for which the server has another.
    pub(crate) fn wrong(self) -> Self {
        let identity = format!("not-{}", self.identity);
        Self { identity, ..self }
    }

    /// The same key, under an identity that the server does not know.
    pub(crate) fn unknown(self) -> Self {
        let identity = "nobody".to_owned();
        Self { identity, ..self }
    }

    /// A key of this length; 16 to 1024 bytes are allowed.
    pub(crate) fn of_length(length: usize) -> Self {
        let secret = (1..=128).cycle().take(length);
        Self::new(&format!("{length}"), secret)
    }

    /// A key whose identity has this length; up to 256 bytes are allowed.
    pub(crate) fn with_identity_of_length(length: usize) -> Self {
        Self::new(&"i".repeat(length), 33..=64)
    }

    fn new(identity: &str, secret: impl IntoIterator<Item = u8>) -> Self {
        let secret: Vec<u8> = secret.into_iter().collect();
        Self {
            identity: identity.to_owned(),
            digits: digits_of(&secret),
            hash: "",
        }
    }
}

/// A directory with `psk.txt`, which has all the keys of a server.
pub(crate) fn site() -> Site {
    let another_for = |key: Key| Key {
        digits: "ff".repeat(32),
        ..key.wrong()
    };
    let keys = [
        Key::alice(),
        Key::bob(),
        another_for(Key::alice()),
        another_for(Key::bob()),
        Key::of_length(16),
        Key::of_length(64),
        Key::of_length(256),
        Key::of_length(512),
        Key::of_length(1024),
        Key::with_identity_of_length(128),
        Key::with_identity_of_length(255),
        Key::with_identity_of_length(256),
    ];
    let line = |key: &Key| format!("{}:{}{}\n", key.identity, key.digits, key.hash);
    let lines: String = keys.iter().map(line).collect();
    let site = Site::new();
    write_secret(&site.file("psk.txt"), &lines);
    site
}

/// A server with keys only, and with every mode and suite that there is.
pub(crate) fn serve(command: &[&str]) -> Server {
    serve_with("psk-only-ke = true\npsk-plain = true", command)
}

/// A server with keys, and with these lines in its only host.
pub(crate) fn serve_with(host: &str, command: &[&str]) -> Server {
    // Strings of JSON are strings of TOML, too.
    let command = serde_json::to_string(command).unwrap();
    let toml = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\nnames = [\"a.example\"]\ndefault = true\n\
         psk = \"psk.txt\"\ncommand = {command}\nallow-root = true\n{host}\n"
    );
    Server::with_config_in(site(), &toml)
}

/// A command that reads a line, prints it after what it knows of the connection, and ends, because some
/// clients do not end by themselves.
pub(crate) const ANSWER: [&str; 3] = [
    "sh",
    "-c",
    r#"read -r line; echo "$SSL_PROTOCOL $SSL_CIPHER ${TLSSRV_PSK_IDENTITY-none} $line""#,
];
