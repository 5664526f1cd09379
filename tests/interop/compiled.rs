//! Clients in C: `peer.c`, linked with one TLS library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, id};
use std::sync::OnceLock;

use crate::offer::{Mode, Offer, Version};
use tlssrv_testing::Server;
use tlssrv_testing::programs::{missing, program, run};

/// A client that is compiled when the first test needs it.
pub(crate) struct Compiled {
    /// Its source file, without `.c`.
    pub(crate) name: &'static str,
    /// A file of the library, which exists where the library is installed.
    pub(crate) header: &'static str,
    pub(crate) libraries: &'static [&'static str],
    pub(crate) executable: OnceLock<PathBuf>,
}

impl Compiled {
    /// Whether it cannot be compiled because something is not installed; reports that as skipped.
    pub(crate) fn missing(&self) -> bool {
        missing(&["cc", self.header])
    }

    /// The command line for an offer; the suite is what the library calls it.
    pub(crate) fn command(&self, server: &Server, offer: &Offer, suite: &str) -> Command {
        let address = server.address();
        let version = match offer.suite.version() {
            Version::Tls12 => "12",
            Version::Tls13 => "13",
        };
        let executable = self.executable.get_or_init(|| self.compile());
        let mut command = program(executable.to_str().unwrap());
        command
            .args([address.ip().to_string(), address.port().to_string()])
            .args([version, suite, &offer.key.identity, &offer.key.digits])
            .args(offer.settings());
        if !offer.groups.is_empty() {
            let numbers = offer.groups.iter().map(|group| group.number().to_string());
            let numbers: Vec<String> = numbers.collect();
            command.arg(format!("groups={}", numbers.join(",")));
        }
        if offer.mode == Mode::PskKe {
            command.arg("mode=psk_ke");
        }
        command
    }

    /// Compiles to a file of its own first, because another run of the tests may do the same at the same time.
    fn compile(&self) -> PathBuf {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let executable = directory.join(format!("peer-{}", self.name));
        let unnamed = directory.join(format!("peer-{}.{}", self.name, id()));
        run(program("cc")
            .args(["-O1", "-Wall", "-Wextra", "-o"])
            .arg(&unnamed)
            .arg(sources.join("peer.c"))
            .arg(sources.join(format!("{}.c", self.name)))
            .args(self.libraries))
        .succeeded();
        fs::rename(&unnamed, &executable).unwrap();
        executable
    }
}
