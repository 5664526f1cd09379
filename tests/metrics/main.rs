//! `[metrics]`, as a scraper sees it, and `--status`.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::float_cmp,
    reason = "tests may stop where they stand; counts are whole numbers"
)]

mod counts;
mod dashboard;
mod http;
mod life;
mod scrape;
mod status;
