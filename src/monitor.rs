//! The privileged side: listeners, engines, commands, the log.
#![forbid(unsafe_code)]

use crate::Exit;
use crate::config::Config;

/// Serves until told to stop.
pub fn serve(config: Config) -> Exit {
    drop(config);
    Exit::CannotStart
}

/// Serves the one connection on descriptor 0.
pub fn inetd(config: Config) -> Exit {
    drop(config);
    Exit::CannotStart
}
