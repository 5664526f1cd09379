//! System calls: new processes, privileges that are given up, descriptors that are passed on, sockets.
//!
//! This is the only room with `unsafe` code. It knows no TLS and no configuration file. Every process has one
//! thread, so `fork` and `clone` leave no lock behind that another thread held.
#![expect(unsafe_code, reason = "system calls that no safe interface covers")]

mod address;
mod channel;
mod descriptors;
mod fork;
mod itself;
mod jail;
mod passed;
mod signals;
pub mod socket;
mod spawn;
mod wait;

pub use address::{address_text, ip_text};
pub use channel::{Channel, MAX_DESCRIPTORS, Received};
pub use descriptors::{Standard, null_standard, raise_descriptor_limit, take_standard};
pub use fork::{Forked, exit_now, fork_engine};
pub use itself::start_itself;
pub use jail::{Jail, JailError};
pub use passed::{take_passed, take_variable};
pub use signals::Signals;
pub use spawn::{Launch, LaunchError, Launcher, Step};
pub use wait::{Ended, is_exiting, reap, reap_child, wait_until_ended};
