//! What to write in place of a key that does not exist, and of a line for a shell.
#![forbid(unsafe_code)]

use std::ffi::OsStr;

/// Answer to an unknown key that is a word of another server: our word for it. `None`: it is none of them.
pub(super) fn ours(table: &str, key: &str) -> Option<&'static str> {
    match (table, key) {
        ("[[listen]]", "listen" | "host") => return Some("write address in [[listen]]"),
        (FILE | "[[listen]]" | "[[host]]" | "[log]" | "[limits]", _) => {}
        // What could be meant in the others is in the list of their keys.
        _ => return None,
    }
    let key = key.to_ascii_lowercase().replace('_', "-");
    let known = THEIRS
        .iter()
        .find(|(words, _)| words.contains(&key.as_str()));
    known.map(|(_, ours)| *ours)
}

/// Answer to an unknown key in a table: the tables that it belongs to. `None`: no table has it.
pub(super) fn elsewhere(table: &str, key: &str) -> Option<String> {
    // The entries of a list have keys of their own.
    let is_table = table.starts_with('[') || table == FILE;
    let tables = KEYS
        .iter()
        .filter(|(_, keys)| is_table && keys.contains(&key));
    let tables: Vec<&str> = tables.map(|(table, _)| *table).collect();
    (!tables.is_empty()).then(|| format!("it belongs to {}", tables.join(" or ")))
}

/// What to write in place of a line for a shell.
pub(in crate::config) fn no_shell(line: &str) -> String {
    let for_a_shell =
        line.contains(|c: char| c.is_ascii_punctuation() && !"-_./:,+@=%".contains(c));
    let words: Vec<String> = match for_a_shell {
        true => ["sh", "-c", line].map(|word| format!("{word:?}")).into(),
        false => (line.split_whitespace())
            .map(|word| format!("{word:?}"))
            .collect(),
    };
    format!("there is no shell: write [{}]", words.join(", "))
}

/// The end of a message about a program of the command line that is not found, if its name is a line for a shell.
pub(in crate::config) fn no_line(name: &OsStr) -> String {
    let line = name.to_string_lossy();
    match line.trim().contains(char::is_whitespace) {
        true => {
            format!("; there is no shell: leave out the quotation marks, or run sh -c {line:?}")
        }
        false => String::new(),
    }
}

/// Name of the table that has no header.
pub(super) const FILE: &str = "the file";
const TOP: &str = "the top of the file";

/// The keys of each table that another table may be given by mistake.
const KEYS: [(&str, &[&str]); 7] = [
    (
        TOP,
        &[
            "engines",
            "engine-user",
            "log",
            "limits",
            "tickets",
            "metrics",
        ],
    ),
    ("[log]", &["to", "format", "level", "probes"]),
    (
        "[limits]",
        &[
            "connections",
            "per-source",
            "per-source-rate",
            "handshake",
            "idle",
            "linger",
            "keep-alive",
            "send-buffer",
            "receive-buffer",
        ],
    ),
    ("[tickets]", &["keys"]),
    ("[metrics]", &["listen"]),
    (
        "[[listen]]",
        &[
            "name",
            "address",
            "systemd",
            "unknown-name",
            "missing-name",
            "proxy-protocol",
            "proxy-from",
        ],
    ),
    (
        "[[host]]",
        &[
            "names",
            "default",
            "listen",
            "cert",
            "key",
            "key-password",
            "ocsp",
            "psk",
            "psk-only-ke",
            "psk-plain",
            "client-auth",
            "client-ca",
            "client-crl",
            "allow",
            "users",
            "alpn",
            "min-version",
            "suites",
            "kx-groups",
            "max-fragment",
            "command",
            "connect",
            "connect-timeout",
            "resolve",
            "proxy-protocol",
            "run-as",
            "user",
            "group",
            "groups",
            "allow-root",
            "directory",
            "env",
            "pass-env",
            "umask",
            "rlimits",
            "new-privileges",
            "stdio",
            "stderr",
            "connections",
            "on-truncation",
        ],
    ),
];

/// Words of stunnel, nginx, HAProxy, hitch and others, in small letters with `-` for `_`, and what to write here.
const THEIRS: [(&[&str], &str); 34] = [
    (
        &["accept", "bind", "port", "listenstream"],
        "write address in [[listen]]",
    ),
    (&["listener", "listeners", "frontend"], "write [[listen]]"),
    (&["virtualhost", "vhost", "service"], "write [[host]]"),
    (
        &["server"],
        "write [[host]] for a table, command for a program, or connect for a server that listens already",
    ),
    (
        &[
            "server-name",
            "server-names",
            "servername",
            "hostname",
            "sni",
            "domain",
            "domains",
        ],
        "write names in [[host]]",
    ),
    (
        &[
            "default-server",
            "default-host",
            "default-backend",
            "fallback",
        ],
        "write default = true in a [[host]]",
    ),
    (
        &["sni-nomatch-abort", "strict-sni"],
        "write unknown-name in [[listen]]",
    ),
    (
        &[
            "certificate",
            "certificates",
            "ssl-certificate",
            "crt",
            "pem-file",
            "certfile",
            "cert-file",
            "fullchain",
        ],
        "write cert in [[host]]",
    ),
    (
        &[
            "ssl-certificate-key",
            "private-key",
            "privkey",
            "keyfile",
            "key-file",
        ],
        "write key in [[host]]",
    ),
    (
        &[
            "exec",
            "execargs",
            "exec-args",
            "execstart",
            "program",
            "cmd",
            "args",
            "arguments",
            "server-args",
        ],
        "write command = [\"PROGRAM\", \"ARGUMENT\"] in [[host]]",
    ),
    (
        &[
            "backend",
            "backends",
            "proxy-pass",
            "upstream",
            "target",
            "forward",
        ],
        "write connect in [[host]]",
    ),
    (
        &[
            "timeoutconnect",
            "proxy-connect-timeout",
            "backend-connect-timeout",
        ],
        "write connect-timeout in [[host]]",
    ),
    (
        &[
            "cafile",
            "ca-file",
            "capath",
            "cacert",
            "ssl-client-certificate",
            "client-verify-ca",
        ],
        "write client-ca in [[host]]",
    ),
    (
        &["crlfile", "crl-file", "crlpath", "ssl-crl", "crl"],
        "write client-crl in [[host]]",
    ),
    (
        &[
            "verify",
            "verifychain",
            "verifypeer",
            "requirecert",
            "require-certificate",
            "ssl-verify-client",
            "client-verify",
        ],
        "write client-auth = \"require\" or \"request\" in [[host]]",
    ),
    (
        &[
            "allow-cn",
            "allow-dns",
            "allow-uri",
            "checkhost",
            "checkemail",
        ],
        "write allow in [[host]]",
    ),
    (
        &["ciphers", "ciphersuites", "cipher-suites", "ssl-ciphers"],
        "write suites in [[host]]",
    ),
    (
        &["curves", "curve", "ecdh-curve", "ssl-ecdh-curve"],
        "write kx-groups in [[host]]",
    ),
    (
        &[
            "sslversion",
            "sslversionmin",
            "ssl-protocols",
            "ssl-min-ver",
            "tls-protos",
            "tls-version",
            "protocols",
        ],
        "write min-version in [[host]]",
    ),
    (&["alpn-protos", "ssl-alpn"], "write alpn in [[host]]"),
    (
        &["psksecrets", "psk-file", "pskfile"],
        "write psk in [[host]]",
    ),
    (
        &["ocsp-dir", "ssl-stapling", "ssl-stapling-file"],
        "write ocsp in [[host]]",
    ),
    (
        &[
            "ssl-session-ticket-key",
            "tls-ticket-keys",
            "ticketkeysecret",
        ],
        "write keys in [tickets]",
    ),
    (&["setuid", "uid"], "write user in [[host]]"),
    (&["setgid", "gid"], "write group in [[host]]"),
    (
        &["working-directory", "workingdirectory", "cwd", "chdir"],
        "write directory in [[host]]",
    ),
    (&["environment", "setenv"], "write env in [[host]]"),
    (
        &["timeoutidle", "timeout", "proxy-timeout", "idle-timeout"],
        "write idle in [limits]",
    ),
    (
        &["timeoutbusy", "ssl-handshake-timeout", "handshake-timeout"],
        "write handshake in [limits]",
    ),
    (
        &[
            "maxconn",
            "max-connections",
            "worker-connections",
            "instances",
            "limit-conn",
        ],
        "write connections in [limits] or [[host]]",
    ),
    (
        &["workers", "worker-processes", "nbthread", "threads"],
        "write engines at the top of the file",
    ),
    (
        &[
            "output",
            "log-filename",
            "logfile",
            "log-file",
            "error-log",
            "access-log",
            "syslog",
        ],
        "write to in [log]",
    ),
    (
        &[
            "write-proxy",
            "write-proxy-v1",
            "write-proxy-v2",
            "send-proxy",
            "send-proxy-v2",
        ],
        "write proxy-protocol = \"v2\" beside connect in [[host]]",
    ),
    (
        &["accept-proxy", "proxy-proxy", "set-real-ip-from"],
        "write proxy-protocol = true and proxy-from in [[listen]]",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_a_shell_becomes_words_or_an_argument_of_sh() {
        let words = "there is no shell: write [\"cat\", \"-n\"]";
        assert_eq!(no_shell(" cat  -n"), words);
        let shell = "there is no shell: write [\"sh\", \"-c\", \"cat $HOME | wc\"]";
        assert_eq!(no_shell("cat $HOME | wc"), shell);
    }

    #[test]
    fn no_word_of_others_is_a_key() {
        for word in THEIRS.iter().flat_map(|(words, _)| *words) {
            assert!(!KEYS.iter().any(|(_, keys)| keys.contains(word)), "{word}");
        }
    }
}
