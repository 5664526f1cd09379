//! Real services behind tlssrv, and their real clients.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod clients;
mod examples;
mod git;
mod https;
mod readme;
mod rsync;
mod setuid;
mod supers;
mod superservers;
mod tables;

/// A command line for sh(1) that is a TLS client on its descriptors 0 and 1. It checks the server's
/// certificate, passes on end-of-file both ways, and changes no byte.
fn tls_client(name: &str, port: &str, cafile: &std::path::Path) -> String {
    let cafile = cafile.display();
    format!(
        "exec socat -t 120 - OPENSSL:127.0.0.1:{port},cafile={cafile},commonname={name},snihost={name}"
    )
}
