//! A configuration of one default host on one port: what most tests need.

use super::{Server, Site};

/// A server of one host; every line is TOML.
#[derive(Clone, Copy, Default)]
pub(crate) struct Host<'a> {
    /// Lines of the whole file: `engines = 1`.
    pub(crate) top: &'a str,
    /// Lines under `[log]`.
    pub(crate) log: &'a str,
    /// Lines under `[limits]`.
    pub(crate) limits: &'a str,
    /// Lines under `[[host]]`.
    pub(crate) host: &'a str,
    /// The command and its arguments.
    pub(crate) command: &'a [&'a str],
}

impl Host<'_> {
    /// The configuration.
    pub(crate) fn toml(&self) -> String {
        let Self {
            top,
            log,
            limits,
            host,
            command,
        } = self;
        // JSON's strings are TOML's.
        let command = serde_json::to_string(command).unwrap();
        // It is the default host of whoever runs the tests, root too, unless `host` has a user.
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
    pub(crate) fn start(&self) -> Server {
        self.start_in(Site::new())
    }

    /// Starts it in a site.
    pub(crate) fn start_in(&self, site: Site) -> Server {
        Server::with_config_in(site, &self.toml())
    }
}
