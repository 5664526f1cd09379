//! What the kernel is to do with a client's socket: how much it keeps, and when it asks whether the client is
//! still there.
#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBuf, SndBuf, TcpKeepIdle, TcpKeepInterval};

use crate::config::{KeepAlive, Limits};

/// Sets what the configuration says; for the rest the socket stays as it was accepted.
///
/// Nothing fails: a client that is gone already needs none of it, and one of a Unix-domain socket is kept alive
/// by the kernel itself.
pub(super) fn limit(socket: &impl AsFd, limits: &Limits) {
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

/// What lies between one question and the next where the first comes later than that, as Linux has it
/// (tcp(7)).
const INTERVAL: Duration = Duration::from_secs(75);
