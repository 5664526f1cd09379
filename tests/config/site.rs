//! A temporary directory with a certificate, in which configurations are checked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use tlssrv_testing::account::is_root;
use tlssrv_testing::pki::{self, Certificate};
use tlssrv_testing::skip;
use tlssrv_testing::tlssrv_path;

/// A directory with `a.pem` and `a.key`, for the names `a.example` and `*.a.example`.
pub(crate) struct Site {
    directory: TempDir,
}

/// The exit status and output of tlssrv.
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The configuration, where there was one.
    text: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
        let directory = tempfile::tempdir().unwrap();
        // Other users must be able to look files up in it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        CERTIFICATE
            .get_or_init(|| pki::certificate(&["a.example", "*.a.example"]))
            .write(directory.path(), "a");
        Self { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// `tlssrv -f site.toml --check`, with this text in it.
    pub(crate) fn check(&self, text: &str) -> Outcome {
        self.run_with(text, &["--check"])
    }

    /// `tlssrv -f site.toml` and these arguments, with this text in it.
    pub(crate) fn run_with(&self, text: &str, args: &[&str]) -> Outcome {
        fs::write(self.path().join("site.toml"), text).unwrap();
        let args = [&["-f", "site.toml"], args].concat();
        Outcome {
            text: text.to_owned(),
            ..self.run(&args)
        }
    }

    /// tlssrv with these arguments, in the directory.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(tlssrv_path());
        let command = command
            .args(args)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command.env("TLSSRV_TEST", "passed on");
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        Outcome {
            status: status.code(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
            text: String::new(),
        }
    }
}

impl Outcome {
    /// Fails unless the configuration was accepted without a warning.
    #[track_caller]
    pub(crate) fn is_fine(&self) -> &Self {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        assert!(!self.stderr.contains("warning:"), "{}", self.stderr);
        self
    }

    /// The first line of the summary: what there is.
    pub(crate) fn summary(&self) -> &str {
        self.stdout.lines().next().unwrap_or_default()
    }

    /// Fails unless the configuration was refused with this message, at the line that contains `word`.
    #[track_caller]
    pub(crate) fn refuses(&self, word: &str, message: &str) -> &Self {
        assert_eq!(self.status, Some(96), "{}{}", self.stdout, self.stderr);
        self.says(word, message)
    }

    /// Fails unless the configuration was accepted with this warning, at the line that contains `word`.
    #[track_caller]
    pub(crate) fn warns(&self, word: &str, message: &str) -> &Self {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        self.says(word, &format!("warning: {message}"))
    }

    #[track_caller]
    fn says(&self, word: &str, message: &str) -> &Self {
        let found = self
            .text
            .lines()
            .zip(1..)
            .find(|(line, _)| line.contains(word));
        let (line, number) = found.expect("the word is in the text");
        let report = format!("site.toml:{number}: {message}\n  {number} | {line}\n");
        assert!(
            self.stderr.contains(&report),
            "expected\n{report}found\n{}",
            self.stderr
        );
        self
    }
}

/// A table with one listener and one host, and more lines in that host's table.
pub(crate) fn with_host(lines: &str) -> String {
    format!("{LISTENER}{}{lines}\n", host("a.example"))
}

/// A whole host for a name.
pub(crate) fn host(name: &str) -> String {
    format!(
        "[[host]]\nnames = [\"{name}\"]\n{CERTIFIED}command = [\"cat\"]\n{}",
        user()
    )
}

/// A line that gives the command a user other than root, where the tests run as root.
pub(crate) fn user() -> &'static str {
    if is_root() { "user = \"nobody\"\n" } else { "" }
}

/// Whether the test must be skipped because it needs root; reports that.
pub(crate) fn skipped_without_root() -> bool {
    if !is_root() {
        skip("it needs root");
    }
    !is_root()
}

/// Whether the test must be skipped because it needs a user other than root; reports that.
pub(crate) fn skipped_as_root() -> bool {
    if is_root() {
        skip("it needs a user other than root");
    }
    is_root()
}

pub(crate) const LISTENER: &str = "[[listen]]\nname = \"tls\"\naddress = \"127.0.0.1:0\"\n\n";
pub(crate) const CERTIFIED: &str = "cert = [\"a.pem\"]\nkey = [\"a.key\"]\n";
