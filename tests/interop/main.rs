//! Pre-shared keys with the clients of other TLS libraries.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod both;
mod check;
mod compiled;
mod data;
mod gnutls;
mod mbedtls;
mod node;
mod offer;
mod openssl;
mod setup;
mod sizes;
mod stunnel;
mod wolfssl;
