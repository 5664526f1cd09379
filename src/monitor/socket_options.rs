//! Socket options of connections: kernel buffers and TCP keep-alive.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBuf, SndBuf, TcpKeepIdle, TcpKeepInterval};

use crate::config::{KeepAlive, Limits};

/// Sets the options that `[limits]` gives; the others stay as the socket has them.
///
/// Errors are ignored: a connection that is gone needs no options, and a Unix-domain socket needs no
/// keep-alive.
pub(super) fn apply_limits(socket: &impl AsFd, limits: &Limits) {
    if let Some(bytes) = limits.send_buffer {
        let _ = setsockopt(socket, SndBuf, &bytes);
    }
    if let Some(bytes) = limits.receive_buffer {
        let _ = setsockopt(socket, RcvBuf, &bytes);
    }
    match limits.keep_alive {
        KeepAlive::System => {}
        KeepAlive::Off => {
            let _ = setsockopt(socket, nix::sys::socket::sockopt::KeepAlive, &false);
        }
        KeepAlive::After(silence) => {
            let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
            let _ = setsockopt(socket, TcpKeepIdle, &seconds(silence));
            let _ = setsockopt(socket, TcpKeepInterval, &seconds(silence.min(INTERVAL)));
        }
    }
}

/// Longest time between two keep-alive probes; it is Linux's default (tcp(7)).
const INTERVAL: Duration = Duration::from_secs(75);
