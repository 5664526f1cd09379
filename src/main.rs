//! The program: passes its arguments to the library, and exits with the status that the library returns.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    tlssrv::run(std::env::args_os()).into()
}
