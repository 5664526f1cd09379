//! The server at work: listeners, engines, limits, load, the log, reloading and stopping.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may stop where they stand"
)]

mod control;
mod engines;
mod exhausted;
mod limits;
mod listen;
mod load;
mod log;
mod quiet;
mod reload;
mod sockets;
mod stall;
mod stop;
mod stuck;
mod syslog;
