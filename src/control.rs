//! Requests to a running server: `tlssrv --reload` and `tlssrv --status`.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

use crate::exit::Exit;
use crate::monitor::{self, Question};
use crate::startup_report::report;
use crate::types::{Severity, cause};

/// Has the server that runs with this table reload it.
pub fn reload(table: &Path) -> Exit {
    match monitor::ask(table, Question::Reload) {
        Ok((answer, done)) => {
            report(Severity::Notice, answer.trim_end());
            match done {
                true => Exit::Success,
                false => Exit::BadConfiguration,
            }
        }
        Err(e) => fail("reload", table, &e),
    }
}

/// Returns the status of the server that runs with this table.
///
/// Errors: the server cannot be asked, which is reported.
pub fn status(table: &Path) -> Result<String, Exit> {
    match monitor::ask(table, Question::Status) {
        Ok((text, _)) => Ok(text),
        Err(e) => Err(fail("ask the server of", table, &e)),
    }
}

/// Reports that a server cannot be asked.
fn fail(what: &str, table: &Path, e: &io::Error) -> Exit {
    let why = match e.kind() {
        io::ErrorKind::ConnectionRefused => {
            "no server of root's or of yours has this table".to_owned()
        }
        // It may not connect, or the server has closed the connection.
        io::ErrorKind::PermissionDenied | io::ErrorKind::UnexpectedEof => {
            "only root, and the user who runs the server, may ask it".to_owned()
        }
        _ => cause(e),
    };
    let table = table.display();
    let text = format!("tlssrv: unable to {what} {table}: {why}");
    report(Severity::Err, &text);
    Exit::CannotStart
}
