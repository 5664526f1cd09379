//! `--completions`: scripts that make shells complete command lines of tlssrv.
#![forbid(unsafe_code)]

use clap::{Command, ValueEnum};
use clap_complete::{generate, shells};

/// A shell that has completion scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash(1).
    #[value(help = None)]
    Bash,
    /// zsh(1).
    #[value(help = None)]
    Zsh,
    /// fish(1).
    #[value(help = None)]
    Fish,
}

/// The script for a shell.
pub(super) fn script(shell: Shell, mut cli: Command) -> String {
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut cli, NAME, &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut cli, NAME, &mut script),
        Shell::Fish => generate(shells::Fish, &mut cli, NAME, &mut script),
    }
    String::from_utf8_lossy(&script).into_owned()
}

/// The name of the program.
const NAME: &str = "tlssrv";
