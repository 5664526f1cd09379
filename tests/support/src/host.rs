//! A configuration of one default host on one port, which most tests need.

use crate::{Server, Site};

/// A server of one host; every line is TOML.
#[derive(Clone, Copy, Default)]
pub struct Host<'a> {
    /// Lines of the whole file: `engines = 1`.
    pub top: &'a str,
    /// Lines under `[log]`.
    pub log: &'a str,
    /// Lines under `[limits]`.
    pub limits: &'a str,
    /// Lines under `[[host]]`.
    pub host: &'a str,
    /// The command and its arguments.
    pub command: &'a [&'a str],
}

impl Host<'_> {
    /// The configuration.
    pub fn toml(&self) -> String {
        let Self {
            top,
            log,
            limits,
            host,
            command,
        } = self;
        // Strings of JSON are strings of TOML, too.
        let command = serde_json::to_string(command).unwrap();
        // The command runs as the user of the tests, root too, unless `host` has a user.
        let user = if host.contains("user =") {
            ""
        } else {
            "allow-root = true"
        };
        format!(
            "{top}\n[log]\n{log}\n[limits]\n{limits}\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
             [[host]]\ndefault = true\ncert = [\"cert.pem\"]\ncommand = {command}\n{user}\n{host}\n"
        )
    }

    /// Starts it.
    pub fn start(&self) -> Server {
        self.start_in(Site::new())
    }

    /// Starts it in a site.
    pub fn start_in(&self, site: Site) -> Server {
        Server::with_config_in(site, &self.toml())
    }
}
