//! Real programs: nginx, nghttpd and HAProxy behind tlssrv, HAProxy in front of it, and curl.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::backend::{connect, table};
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::socket::free_address;
use tlssrv_testing::{Server, Site, eventually};

/// A server program, which is ended when this is dropped.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn reachable(address: SocketAddr) {
    eventually("it listens", || TcpStream::connect(address).ok());
}

/// nginx with this as its `server`, in a directory.
fn nginx(site: &Site, server: &str) -> Running {
    // The program writes there as nobody, where root runs the tests.
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {what};\n"))
        .concat();
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\n\
         http {{ access_log off;\n{temporary}\nserver {{ {server} }} }}\n"
    );
    std::fs::write(site.file("nginx.conf"), text).unwrap();
    let mut command = program("nginx");
    command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]);
    Running::start(command.arg(site.path()).current_dir(site.path()))
}

/// HAProxy with these sections, which refer to a socket of the test as `fd@NUMBER`.
fn haproxy(site: &Site, sections: &str, listener: &TcpListener) -> Running {
    let defaults = "defaults\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n";
    std::fs::write(site.file("haproxy.cfg"), format!("{defaults}{sections}")).unwrap();
    fcntl(listener, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let mut command = program("haproxy");
    Running::start(command.args(["-db", "-f"]).arg(site.file("haproxy.cfg")))
}

/// curl to a server by the name `a.example`: the body, and then what curl prints about the connection.
fn curl(address: SocketAddr, options: &[&str]) -> String {
    let (ip, port) = (address.ip(), address.port());
    let mut command = program("curl");
    command.args(["--silent", "--show-error", "--insecure", "--max-time", "20"]);
    command.args(["--write-out", "%{http_version} %{local_port}"]);
    command.args(["--resolve", &format!("a.example:{port}:{ip}")]);
    run(command
        .args(options)
        .arg(format!("https://a.example:{port}/x")))
    .text()
}

/// The body, the version of HTTP, and curl's own port.
fn answer(said: &str) -> (&str, &str, &str) {
    let (rest, port) = said.rsplit_once(' ').unwrap();
    let (body, version) = rest.rsplit_once('\n').unwrap();
    (body, version, port)
}

#[test]
fn curl_speaks_http_2_with_nginx() {
    if missing(&["nginx", "curl"]) {
        return;
    }
    let site = Site::new();
    let at = free_address();
    let answers = "return 200 \"$server_protocol $request_uri\\n\";";
    let _nginx = nginx(&site, &format!("listen {at} http2; {answers}"));
    reachable(at);
    let server = Server::with_config(&table("", &connect(&[&at], "alpn = [\"h2\"]")));
    let said = curl(server.address(), &["--http2"]);
    let (body, version, _) = answer(&said);
    assert_eq!((body, version), ("HTTP/2.0 /x", "2"));
    let line = server.wait_for_connection();
    assert_eq!(line.value("alpn"), "h2");
    assert_eq!(line.value("backend"), at.to_string());
}

#[test]
fn curl_speaks_http_2_with_nghttpd_and_nothing_of_a_large_file_is_lost() {
    if missing(&["nghttpd", "curl"]) {
        return;
    }
    let text = "0123456789abcdef".repeat(500_000);
    let site = Site::new().with_file("x", &text);
    let at = free_address();
    let mut command = program("nghttpd");
    command.args(["--no-tls", "--address", &at.ip().to_string(), "--htdocs"]);
    command.arg(site.path()).arg(at.port().to_string());
    let _nghttpd = Running::start(command.stdout(Stdio::null()));
    reachable(at);
    let server = Server::with_config(&table("", &connect(&[&at], "alpn = [\"h2\"]")));
    let said = curl(
        server.address(),
        &["--http2", "--write-out", "\n%{http_version} 0"],
    );
    let (body, version, _) = answer(&said);
    assert_eq!(version, "2");
    assert!(body == text, "{} bytes", body.len());
}

#[test]
fn nginx_accepts_proxy_headers_of_both_versions() {
    if missing(&["nginx", "curl"]) {
        return;
    }
    let site = Site::new();
    let socket = site.file("nginx.sock");
    let says = "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port\\n";
    let listen = format!("listen unix:{} proxy_protocol;", socket.display());
    let _nginx = nginx(&site, &format!("{listen} return 200 \"{says}\";"));
    eventually("it listens", || UnixStream::connect(&socket).ok());
    for version in ["v1", "v2"] {
        let unix = format!("unix:{}", socket.display());
        let host = connect(&[&unix], &format!("proxy-protocol = \"{version}\""));
        let server = Server::with_config(&table("", &host));
        let said = curl(server.address(), &[]);
        let (body, _, port) = answer(&said);
        assert_eq!(
            body,
            format!("127.0.0.1 {port} {}", server.address().port())
        );
    }
}

#[test]
fn haproxy_reads_the_tls_fields_of_proxy_version_2() {
    if missing(&["haproxy", "curl"]) {
        return;
    }
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let says = "%[src] %[src_port] %[fc_pp_authority] %[fc_pp_unique_id]\\n";
    let sections = format!(
        "frontend f\n mode http\n bind fd@{} accept-proxy\n \
         http-request return status 200 content-type text/plain lf-string \"{says}\"\n",
        listener.as_raw_fd()
    );
    let _haproxy = haproxy(&site, &sections, &listener);
    let at = listener.local_addr().unwrap();
    let host = connect(&[&at], "proxy-protocol = \"v2\"");
    let server = Server::with_config(&table("", &host));
    let said = curl(server.address(), &["--http1.1"]);
    let (body, _, port) = answer(&said);
    let id = server.wait_for_connection().value("id").to_owned();
    assert_eq!(body, format!("127.0.0.1 {port} a.example {id}"));
}

#[test]
fn behind_haproxy_the_log_and_the_backend_get_the_address_of_curl() {
    if missing(&["haproxy", "nginx", "curl"]) {
        return;
    }
    let site = Site::new();
    let at = free_address();
    let says = "return 200 \"$proxy_protocol_addr $proxy_protocol_port\\n\";";
    let _nginx = nginx(&site, &format!("listen {at} proxy_protocol; {says}"));
    reachable(at);
    for (version, send) in [("v2", "send-proxy-v2"), ("v1", "send-proxy")] {
        let host = connect(&[&at], &format!("proxy-protocol = \"{version}\""));
        let listen = "proxy-protocol = true\nproxy-from = [\"127.0.0.1\"]";
        let server = Server::with_config(&table(listen, &host));
        let front = TcpListener::bind("127.0.0.1:0").unwrap();
        let sections = format!(
            "listen l\n mode tcp\n bind fd@{}\n server s {} {send}\n",
            front.as_raw_fd(),
            server.address()
        );
        let _haproxy = haproxy(&site, &sections, &front);
        let said = curl(front.local_addr().unwrap(), &[]);
        let (body, _, port) = answer(&said);
        assert_eq!(body, format!("127.0.0.1 {port}"));
        let line = server.wait_for_connection();
        assert_eq!(line.value("peer"), format!("127.0.0.1:{port}"));
        assert!(line.value("proxy").starts_with("127.0.0.1:"));
        assert_ne!(line.value("proxy"), line.value("peer"));
    }
}

#[test]
fn curl_gets_its_answer_while_nginx_restarts() {
    if missing(&["nginx", "curl"]) {
        return;
    }
    let site = Site::new();
    let at = free_address();
    let text = format!("listen {at}; return 200 \"hello\\n\";");
    let first = nginx(&site, &text);
    reachable(at);
    let server = Server::with_config(&table("", &connect(&[&at], "")));
    assert!(curl(server.address(), &[]).starts_with("hello\n"));
    drop(first);
    let options = ["--silent", "--insecure", "--max-time", "20"];
    let url = format!("https://{}/", server.address());
    let ran = run(program("curl").args(options).arg(url));
    assert!(!ran.status.success());
    let line = server.wait_for_connections(2).remove(1);
    assert!(line.value("end").starts_with("launch: no backend: "));
    let _second = nginx(&site, &text);
    reachable(at);
    assert!(curl(server.address(), &[]).starts_with("hello\n"));
}
