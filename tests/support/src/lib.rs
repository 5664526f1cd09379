//! What the tests of tlssrv share: the program under test started and stopped, clients, certificates, and
//! the programs of others that tests talk to.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::new_without_default,
    reason = "what helps tests fails as tests do: by a panic"
)]

pub mod account;
pub mod authority;
pub mod client;
pub mod dial;
pub mod examples;
pub mod host;
pub mod line;
pub mod ocsp;
pub mod pki;
pub mod proc;
pub mod programs;
pub mod raw;
pub mod server;
pub mod site;
pub mod socket;
pub mod vectors;
pub mod wait;

use std::env;
use std::path::PathBuf;
use std::sync::LazyLock;

pub use client::{Client, Ended, Received};
pub use dial::Dial;
pub use host::Host;
pub use line::Line;
pub use server::Server;
pub use site::Site;
pub use socket::Socket;
pub use wait::{DEADLINE, eventually};

/// The program under test, by its path.
///
/// Cargo sets `CARGO_BIN_EXE_tlssrv` for tests since 1.94. Without it, the program lies one directory above
/// that of the test program.
pub fn tlssrv_path() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        let told = env::var_os("CARGO_BIN_EXE_tlssrv").map(PathBuf::from);
        let program = told.unwrap_or_else(|| {
            let test = env::current_exe().unwrap();
            let deps = test.parent().unwrap();
            deps.with_file_name("tlssrv")
        });
        assert!(program.is_file(), "no {}: `cargo build`", program.display());
        program.into_os_string().into_string().unwrap()
    });
    &PROGRAM
}

/// Reports that a test leaves something out, and why. It writes to standard error itself, because the output
/// of a test that passes is not shown.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    programs::aloud(&format!("SKIPPED {}: {why}", thread.name().unwrap_or("?")));
}
