//! Web servers of the inetd kind behind tlssrv, and curl.

use std::fs;

use tlssrv_testing::pki::KeyType;
use tlssrv_testing::programs::{Ran, missing, program, run};
use tlssrv_testing::{Server, Site};

#[test]
fn curl_gets_two_hosts_with_certificates_and_commands_of_their_own_from_one_port() {
    if missing(&["busybox", "curl"]) {
        return;
    }
    let web = Web::start();
    let page = fs::read(web.server.site.file("www/page")).unwrap();
    for path in ["page", "page?again"] {
        let ran = web.curl("files.example", "files.pem", path).succeeded();
        assert!(ran.stdout == page, "{} bytes", ran.stdout.len());
    }
    let hello = web.curl("hello.example", "hello.pem", "").text();
    assert_eq!(hello, "hello from hello.example over TLSv1.3\n");

    let lines = web.server.wait_for_connections(3);
    let of = |host| lines.iter().filter(move |line| line.value("host") == host);
    assert_eq!(of("files.example").count(), 2);
    assert_eq!(of("hello.example").count(), 1);
    for line in &lines {
        assert_eq!(line.value("sni"), line.value("host"));
        assert_eq!((line.value("exit"), line.value("end")), ("0", "closed"));
    }
}

#[test]
fn curl_refuses_the_certificate_of_the_other_host() {
    if missing(&["busybox", "curl"]) {
        return;
    }
    const NO_SUCH_CA: Option<i32> = Some(60);
    let web = Web::start();
    let ran = web.curl("files.example", "hello.pem", "page");
    assert_eq!(ran.status.code(), NO_SUCH_CA, "{}", ran.stderr);
    let end = web.server.wait_for_connection();
    assert!(end.value("end").starts_with("handshake: "), "{end:?}");
}

#[test]
fn curl_is_told_that_no_host_has_the_name() {
    if missing(&["busybox", "curl"]) {
        return;
    }
    const NO_TLS: Option<i32> = Some(35);
    let web = Web::start();
    let ran = web.curl("other.example", "files.pem", "page");
    assert_eq!(ran.status.code(), NO_TLS, "{}", ran.stderr);
    assert!(ran.stderr.contains("unrecognized name"), "{}", ran.stderr);
}

/// Two hosts on one port: files by busybox, and a greeting by sh(1).
struct Web {
    server: Server,
}

impl Web {
    fn start() -> Self {
        let site = Site::new()
            .with_certificate("files", &["files.example"], KeyType::Ecdsa)
            .with_certificate("hello", &["hello.example"], KeyType::Rsa)
            .with_file("greet", GREET);
        let page: Vec<u8> = (0..3_u32 << 20).map(|n| n.to_be_bytes()[2]).collect();
        fs::create_dir(site.file("www")).unwrap();
        fs::write(site.file("www/page"), page).unwrap();
        Self {
            server: Server::with_config_in(site, TABLE),
        }
    }

    /// What curl gets, with only this certificate trusted.
    fn curl(&self, host: &str, certificate: &str, path: &str) -> Ran {
        let port = self.server.address().port();
        run(program("curl")
            .args(["--silent", "--show-error", "--noproxy", "*", "--cacert"])
            .arg(self.server.site.file(certificate))
            .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
            .arg(format!("https://{host}:{port}/{path}")))
    }
}

const TABLE: &str = r#"
[[listen]]
address = "127.0.0.1:0"

[[host]]
names = ["files.example"]
cert = ["files.pem"]
command = ["busybox", "httpd", "-i", "-f", "-h", "www"]
directory = "."
allow-root = true

[[host]]
names = ["hello.example"]
cert = ["hello.pem"]
command = ["sh", "greet"]
directory = "."
allow-root = true
"#;

/// A command that reads a request and answers with its name, as HTTP/1.0: its end is the end of the answer.
const GREET: &str = r#"
while read -r line; do
    test "$line" = "$(printf '\r')" && break
done
printf 'HTTP/1.0 200 OK\r\n\r\nhello from %s over %s\n' "$TLSSRV_HOST" "$SSL_PROTOCOL"
"#;
