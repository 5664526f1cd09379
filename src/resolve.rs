//! A process that looks names up: what they are comes as arguments, what it finds goes to descriptor 1.
//!
//! getaddrinfo(3) waits for the network, and parses what comes from there, so the monitor does neither: it
//! starts its own program anew under this name, as the engines' user, without anything that it has in its
//! memory. A fork would be a copy of that, keys and all.
//!
//! The answer to the `n`th name is a line `n ADDRESS` for each address and a line `n .`, or a line `n !REASON`.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};

use crate::config::{BackendName, Resolved};
use crate::exit::Exit;

/// What such a process is called in its argument 0.
pub const NAME: &str = "tlssrv-resolve";

/// Whether this is what we were started as.
pub fn is_wanted(argv0: Option<&OsString>) -> bool {
    argv0.map(OsString::as_os_str) == Some(OsStr::new(NAME))
}

/// Looks up the names that the arguments are.
pub fn answer(arguments: impl Iterator<Item = OsString>) -> Exit {
    let mut out = io::stdout().lock();
    for (place, argument) in arguments.enumerate() {
        let name = argument.to_str().and_then(|text| {
            let (host, port) = text.rsplit_once(':')?;
            let (host, port) = (host.to_owned(), port.parse().ok()?);
            Some(BackendName { host, port })
        });
        let Some(name) = name else {
            return Exit::Usage;
        };
        let lines = match name.resolve() {
            Ok(addresses) => {
                let lines = addresses.iter().map(|a| format!("{place} {a}\n"));
                lines.collect::<String>() + &format!("{place} .\n")
            }
            Err(reason) => format!("{place} !{}\n", reason.replace(char::is_control, " ")),
        };
        if out.write_all(lines.as_bytes()).is_err() || out.flush().is_err() {
            return Exit::System; // nobody waits for it any more
        }
    }
    Exit::Success
}

/// Reads what such a process has written about so many names; of those that it has not come to, nothing.
///
/// Errors: it has written something else.
pub fn read(output: &[u8], names: usize) -> Result<Vec<Option<Resolved>>, Nonsense> {
    let text = str::from_utf8(output).map_err(|_| Nonsense)?;
    let mut found: Vec<Option<Resolved>> = vec![None; names];
    let mut addresses = Vec::new();
    // What follows the last newline is a line that is not complete.
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else {
            break;
        };
        let (place, what) = line.split_once(' ').ok_or(Nonsense)?;
        let place: usize = place.parse().map_err(|_| Nonsense)?;
        let slot = found.get_mut(place).ok_or(Nonsense)?;
        if slot.is_some() {
            return Err(Nonsense);
        }
        if let Some(reason) = what.strip_prefix('!') {
            *slot = Some(Err(reason.to_owned()));
        } else if what != "." {
            addresses.push((place, what.parse().map_err(|_| Nonsense)?));
        } else if addresses.iter().any(|(of, _)| *of != place) || addresses.is_empty() {
            return Err(Nonsense);
        } else {
            *slot = Some(Ok(addresses.drain(..).map(|(_, a)| a).collect()));
        }
    }
    Ok(found)
}

/// What a process that looks names up never says.
#[derive(Debug, PartialEq, Eq)]
pub struct Nonsense;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_read_name_by_name() {
        let addresses = |text: &str| Ok(vec![text.parse().unwrap()]);
        let output = b"0 192.0.2.1:80\n0 .\n1 !no such name\n2 [2001:db8::1]:8";
        assert_eq!(
            read(output, 3),
            Ok(vec![
                Some(addresses("192.0.2.1:80")),
                Some(Err("no such name".to_owned())),
                None
            ])
        );
        assert_eq!(read(b"", 1), Ok(vec![None]));
    }

    #[test]
    fn nothing_else_is_believed() {
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
            assert_eq!(read(output, 2), Err(Nonsense), "{}", output.escape_ascii());
        }
    }
}
