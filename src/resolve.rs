//! The resolver: a process that looks up the names of backends. The names are its arguments, the addresses
//! go to standard output.
//!
//! getaddrinfo(3) waits for the network, and parses what comes from there, so the monitor does neither. It
//! starts its own program anew under another name, as the engines' user. A fork would have a copy of the
//! monitor's memory, private keys included.
//!
//! The answer to the `n`th name is a line `n ADDRESS` for each address and a line `n .`, or a line `n !REASON`.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};

use crate::config::{self, BackendName, Resolved};
use crate::exit::Exit;

/// Argument 0 of a resolver.
pub const ARGUMENT_0: &str = "tlssrv-resolve";

/// Whether a process with this argument 0 is a resolver.
pub fn is_resolver(argument_0: Option<&OsString>) -> bool {
    argument_0.map(OsString::as_os_str) == Some(OsStr::new(ARGUMENT_0))
}

/// Looks up the names in the arguments. Returns the exit status.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Exit {
    let mut out = io::stdout().lock();
    for (index, argument) in arguments.enumerate() {
        let name = argument.to_str().and_then(|text| {
            let (host, port) = text.rsplit_once(':')?;
            let (host, port) = (host.to_owned(), port.parse().ok()?);
            Some(BackendName { host, port })
        });
        let Some(name) = name else {
            return Exit::Usage;
        };
        let lines = match config::resolve(&name) {
            Ok(addresses) => {
                let lines = addresses.iter().map(|a| format!("{index} {a}\n"));
                lines.collect::<String>() + &format!("{index} .\n")
            }
            Err(reason) => format!("{index} !{}\n", reason.replace(char::is_control, " ")),
        };
        if out.write_all(lines.as_bytes()).is_err() || out.flush().is_err() {
            return Exit::System; // the monitor does not wait any more
        }
    }
    Exit::Success
}

/// Parses the output of a resolver about so many names; `None`: it did not come to this name.
///
/// Errors: the output is not that of a resolver.
pub fn parse(output: &[u8], names: usize) -> Result<Vec<Option<Resolved>>, Malformed> {
    let text = str::from_utf8(output).map_err(|_| Malformed)?;
    let mut found: Vec<Option<Resolved>> = vec![None; names];
    let mut addresses = Vec::new();
    // The text after the last newline is a line that is not complete.
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else {
            break;
        };
        let (index, what) = line.split_once(' ').ok_or(Malformed)?;
        let index: usize = index.parse().map_err(|_| Malformed)?;
        let slot = found.get_mut(index).ok_or(Malformed)?;
        if slot.is_some() {
            return Err(Malformed);
        }
        if let Some(reason) = what.strip_prefix('!') {
            *slot = Some(Err(reason.to_owned()));
        } else if what != "." {
            addresses.push((index, what.parse().map_err(|_| Malformed)?));
        } else if addresses.iter().any(|(of, _)| *of != index) || addresses.is_empty() {
            return Err(Malformed);
        } else {
            *slot = Some(Ok(addresses.drain(..).map(|(_, a)| a).collect()));
        }
    }
    Ok(found)
}

/// Output that no resolver writes.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_parsed_name_by_name() {
        let addresses = |text: &str| Ok(vec![text.parse().unwrap()]);
        let output = b"0 192.0.2.1:80\n0 .\n1 !no such name\n2 [2001:db8::1]:8";
        assert_eq!(
            parse(output, 3),
            Ok(vec![
                Some(addresses("192.0.2.1:80")),
                Some(Err("no such name".to_owned())),
                None
            ])
        );
        assert_eq!(parse(b"", 1), Ok(vec![None]));
    }

    #[test]
    fn malformed_output_is_refused() {
        for output in [
            &b"hello\n"[..],
            b"1 .\n",
            b"0 .\n",
            b"0 192.0.2.1\n",
            b"0 192.0.2.1:80\n1 192.0.2.1:80\n1 .\n",
            b"0 !a\n0 !b\n",
            b"2 !a\n",
            b"\xff\n",
        ] {
            assert_eq!(
                parse(output, 2),
                Err(Malformed),
                "{}",
                output.escape_ascii()
            );
        }
    }
}
