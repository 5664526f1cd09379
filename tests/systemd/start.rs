//! Starts tlssrv as systemd does: with sockets from descriptor 3 on, and the variables.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

use tlssrv_testing::programs::program;
use tlssrv_testing::{Server, Site, tlssrv_path};

/// The variables and sockets with which tlssrv is started.
#[derive(Default)]
pub(crate) struct Start {
    variables: Vec<(String, String)>,
    sockets: Vec<OwnedFd>,
    names: Vec<&'static str>,
}

impl Start {
    /// With this variable.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    /// With this socket, of this name; two at most.
    #[must_use]
    pub(crate) fn passing(mut self, name: &'static str, socket: impl Into<OwnedFd>) -> Self {
        self.names.push(name);
        self.sockets.push(socket.into());
        self
    }

    /// The server, once it listens.
    pub(crate) fn server(self, site: Site, args: &[&str]) -> Server {
        Server::run_passing(site, &mut self.command(args))
    }

    /// The server of a table.
    pub(crate) fn serves(self, table: &str) -> Server {
        let site = Site::new().with_file("tlssrv.toml", table);
        self.server(site, &["-f", "tlssrv.toml"])
    }

    /// Its output and exit status.
    pub(crate) fn output(self, site: &Site, args: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command(args);
        let command = command.current_dir(site.path()).stderr(Stdio::piped());
        let Output { status, stderr, .. } = command.spawn().unwrap().wait_with_output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    }

    /// A shell moves descriptors 0 and 1 to 3 and 4, and executes tlssrv, whose process id it then knows.
    fn command(self, args: &[&str]) -> Command {
        let pid = match self.variables.iter().any(|(name, _)| name == "LISTEN_PID") {
            true => "$LISTEN_PID",
            false => "$$",
        };
        let descriptors = match self.sockets.len() {
            0 => "exec 3<&- 4<&-".to_owned(),
            1 => "exec 3<&0".to_owned(),
            _ => "exec 3<&0 4<&1".to_owned(),
        };
        let script = format!(
            r#"{descriptors} </dev/null >/dev/null; LISTEN_PID={pid} WATCHDOG_PID=${{WATCHDOG_PID-$$}} exec "$@""#
        );
        let mut command = program("sh");
        command
            .args(["-c", &script, "sh", tlssrv_path()])
            .args(args);
        command.env("LISTEN_FDS", self.sockets.len().to_string());
        command.env("LISTEN_FDNAMES", self.names.join(":"));
        command.envs(self.variables);
        let mut sockets = self.sockets.into_iter().map(Stdio::from);
        command.stdin(sockets.next().unwrap_or_else(Stdio::null));
        command.stdout(sockets.next().unwrap_or_else(Stdio::null));
        command
    }
}

/// A listening socket on a port that was free.
pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A duplicate of a socket for the server; the test keeps the original, as systemd does.
pub(crate) fn both(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().unwrap().into()
}

/// Lines of a table: hosts (name, and what its command says first) on every listener.
pub(crate) fn hosts(hosts: &[(&str, &str)]) -> String {
    let host = |(name, word): &(&str, &str)| {
        format!(
            "[[host]]\nnames = [\"{name}\"]\ncert = [\"cert.pem\"]\nallow-root = true\n\
             command = [\"sh\", \"-c\", \"echo {word}; exec cat\"]\n"
        )
    };
    hosts.iter().map(host).collect()
}
