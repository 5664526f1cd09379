//! Clients of other TLS libraries: a line each way, and an orderly end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use tlssrv_testing::programs::{missing, program, run, run_with};
use tlssrv_testing::{Line, Server, eventually};

#[test]
fn openssl_sends_a_line_and_gets_it_back() {
    if missing(&["openssl"]) {
        return;
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Server::of(&["cat"]);
        let mut s_client = program("openssl");
        s_client
            .args(["s_client", "-quiet", "-no_ign_eof", version])
            .args(["-verify_return_error", "-verify_hostname", "a.example"])
            .args(["-servername", "a.example", "-CAfile"])
            .arg(server.site.file("cert.pem"))
            .args(["-connect", &server.address().to_string()]);
        // At the end of its input it exits without reading further.
        let mut client = Typist::start(&mut s_client);
        assert_eq!(client.says("a line"), "a line");
        client.end();
        assert_clean(&server.wait_for_connection(), "7");
    }
}

#[test]
fn gnutls_sends_a_line_and_gets_it_back() {
    if missing(&["gnutls-cli"]) {
        return;
    }
    for priority in ["NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL"] {
        let server = Server::of(&["cat"]);
        let address = server.address();
        let mut gnutls = program("gnutls-cli");
        gnutls
            .arg("--x509cafile")
            .arg(server.site.file("cert.pem"))
            .args(["--sni-hostname=a.example", "--verify-hostname=a.example"])
            .args([&format!("--priority={priority}"), "--logfile=/dev/null"])
            .args([&format!("--port={}", address.port()), "127.0.0.1"]);
        let text = run_with(&mut gnutls, b"a line\n").text();
        assert!(text.lines().any(|line| line == "a line"), "{text}");
        assert_clean(&server.wait_for_connection(), "7");
    }
}

#[test]
fn python_sends_a_line_gets_it_back_and_unwraps() {
    if missing(&["python3"]) {
        return;
    }
    for version in ["TLSv1_2", "TLSv1_3"] {
        let server = Server::of(&["cat"]);
        let said = python(&server, version, UNWRAP);
        assert_eq!(said, "b'a line\\n'\nb''\n");
        assert_clean(&server.wait_for_connection(), "7");
    }
}

#[test]
fn python_ends_its_side_and_still_gets_the_rest() {
    if missing(&["python3"]) {
        return;
    }
    for version in ["TLSv1_2", "TLSv1_3"] {
        let server = Server::of(&["sh", "-c", "wc -c; echo the rest"]);
        let said = python(&server, version, HALF_CLOSE);
        assert_eq!(said, "b'7\\nthe rest\\n'\n");
        assert_clean(&server.wait_for_connection(), "7");
    }
}

/// The output of a Python program with the variables `connection` (a TCP socket) and `context`.
fn python(server: &Server, version: &str, program_text: &str) -> String {
    let script = format!("{CONNECT}{program_text}");
    run(program("python3")
        .args(["-c", &script, &server.address().port().to_string()])
        .arg(server.site.file("cert.pem"))
        .arg(version))
    .text()
}

const CONNECT: &str = r"
import socket, ssl, sys
connection = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=60)
context = ssl.create_default_context(cafile=sys.argv[2])
context.minimum_version = context.maximum_version = ssl.TLSVersion[sys.argv[3]]
";

/// `unwrap()` sends close_notify and waits for that of the server; then there is FIN.
const UNWRAP: &str = r"
tls = context.wrap_socket(connection, server_hostname='a.example')
tls.sendall(b'a line\n')
print(tls.recv(100))
print(tls.unwrap().recv(100))
";

/// With memory buffers, because `unwrap()` of a socket would not wait for data.
const HALF_CLOSE: &str = r"
into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(into, out, server_hostname='a.example')
def act(step):
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            connection.sendall(out.read())
            into.write(connection.recv(4096))
act(tls.do_handshake)
tls.write(b'a line\n')
try:
    tls.unwrap()
except ssl.SSLWantReadError:
    pass
connection.sendall(out.read())
rest = b''
while True:
    try:
        rest += act(lambda: tls.read(4096)) or b''
    except ssl.SSLZeroReturnError:
        break
print(rest)
";

fn assert_clean(line: &Line, bytes: &str) {
    assert_eq!((line.value("exit"), line.value("end")), ("0", "closed"));
    assert_eq!(line.value("in"), bytes);
}

/// A program that gets its input line by line.
struct Typist {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Typist {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    /// Types a line, and waits for an answer.
    fn says(&mut self, line: &str) -> String {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// Ends its input, and waits for its end.
    fn end(mut self) {
        drop(self.child.stdin.take());
        let child = &mut self.child;
        eventually("the client ends", || child.try_wait().unwrap());
    }
}
