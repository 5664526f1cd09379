//! What `--check` tries beside the configuration: whether a start could open the log and listen.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::Path;

use super::listeners::try_bind;
use super::report::{Question, ask};
use crate::config::{Config, Form};
use crate::log::Logger;
use crate::types::Severity;

/// Whether a start with this configuration could open its log and bind its addresses; `table`: the file that it comes
/// from. A server that runs with the same table may have them. Nothing is started or left behind.
///
/// Returns what a start would say.
pub fn check(config: &Config, table: Option<&Path>) -> Vec<(Severity, String)> {
    let mut problems: Vec<_> = Logger::check(&config.log).err().into_iter().collect();
    if config.form == Form::Server {
        let served = table.map(sockets_of_server).unwrap_or_default();
        let listeners = config.listeners.iter().map(|listener| &listener.address);
        let failed = try_bind(listeners.chain(&config.metrics), |address| {
            served.iter().any(|served| served == address)
        });
        for (address, why) in failed {
            let other = address.and_then(|address| in_the_way(address, &served));
            problems.push(match other {
                None => (Severity::Err, why),
                Some(other) => {
                    let line = format!(
                        "{why}: the server that runs with this table listens on {other}: a restart takes the new address, a reload does not"
                    );
                    (Severity::Warning, line)
                }
            });
        }
    }
    problems
}

/// The addresses that the server of a table listens on, in its own words; none if there is no server, or if it runs as
/// somebody else, who might say anything.
fn sockets_of_server(table: &Path) -> Vec<String> {
    let Ok((status, _)) = ask(table, Question::Status) else {
        return Vec::new();
    };
    let head = status.lines().take_while(|line| !line.is_empty());
    let addresses = head.filter_map(|line| {
        line.strip_prefix("listening on ")
            .or_else(|| line.strip_prefix("metrics at "))
    });
    addresses.map(str::to_owned).collect()
}

/// The address of the server that takes another one of the same port with it.
fn in_the_way(address: SocketAddr, served: &[String]) -> Option<SocketAddr> {
    let mut served = served.iter().filter_map(|served| served.parse().ok());
    served.find(|served: &SocketAddr| {
        let all = served.ip().is_unspecified() || address.ip().is_unspecified();
        all && served.port() == address.port()
    })
}
