//! tlssrv answers TLS connections and gives each one to a plaintext program.
//!
//! The rooms, in reading order:
//!
//! - [`cli`]: the command line, as one struct, and what it asks for;
//! - [`config`]: text → checked values; every error with file, line and the line itself;
//! - [`tls`]: bytes → session; no descriptors, no processes;
//! - [`message`]: what monitor and engine say to each other;
//! - [`monitor`]: the privileged side: listeners, engines, commands, the log;
//! - [`engine`]: the unprivileged side: TLS and the relay, nothing else;
//! - [`process`]: fork, exec, privileges, descriptors: the only room with `unsafe`;
//! - [`environment`]: the variables that a command gets;
//! - [`log`]: one line per fact, to syslog, stderr or a file.
//!
//! What always holds:
//!
//! - The monitor never parses what a stranger sent. An engine never opens a file, starts a process
//!   or creates a socket.
//! - A secret is in zeroizing memory, never in an argument, an environment, a log line or a core dump.
//! - A command sees descriptors 0, 1, 2 and no others, default signal dispositions, an empty signal
//!   mask and an environment made from nothing.
//! - Nothing that a stranger can do ends the monitor, leaks a descriptor, leaves a zombie, or fills
//!   the log without bound.
//! - A byte read from one side is written to the other, or the connection is reported as broken.
//! - Every process has one thread.

pub mod config;
pub mod tls;
