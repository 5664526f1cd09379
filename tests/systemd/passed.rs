//! Listening sockets that are passed to tlssrv.

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::start::{Start, both, hosts, listener};
use tlssrv_testing::programs::run;
use tlssrv_testing::{Client, Dial, Ended, Site, tlssrv_path};

#[test]
fn a_listener_serves_the_passed_socket_of_its_name() {
    let (www, git) = (listener(), listener());
    let table = "[[listen]]\nsystemd = \"git\"\n[[listen]]\nname = \"web\"\nsystemd = \"www\"\n";
    let on_git = hosts(&[("a.example", "git")]).replace("cert =", "listen = [\"git\"]\ncert =");
    let on_www = hosts(&[("a.example", "www")]).replace("cert =", "listen = [\"web\"]\ncert =");
    let start = Start::default()
        .passing("www", both(&www))
        .passing("git", both(&git));
    let server = start.serves(&format!("{table}{on_git}{on_www}"));
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    assert_eq!(
        server.listens,
        [address(&git).to_string(), address(&www).to_string()]
    );
    assert_eq!(
        Client::word(TcpStream::connect(address(&www)).unwrap(), "a.example"),
        "www"
    );
    assert_eq!(
        Client::word(TcpStream::connect(address(&git)).unwrap(), "a.example"),
        "git"
    );
    let lines = server.wait_for_connections(2);
    assert_eq!(lines[0].value("listen"), "web");
    assert_eq!(lines[1].value("listen"), "git");
    assert!(lines[0].value("peer").starts_with("127.0.0.1:"));
}

#[test]
fn all_passed_sockets_of_one_name_are_served() {
    let (one, two) = (listener(), listener());
    let start = Start::default()
        .passing("https", both(&one))
        .passing("https", both(&two));
    let table = format!(
        "[[listen]]\nsystemd = \"https\"\n{}",
        hosts(&[("a.example", "a")])
    );
    let _server = start.serves(&table);
    for listener in [one, two] {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(Client::word(client, "a.example"), "a");
    }
}

#[test]
fn a_command_line_takes_all_passed_sockets_or_those_of_a_name() {
    for listen in ["systemd", "systemd:a b"] {
        let socket = listener();
        let args = ["--listen", listen, "-c", "cert.pem", "echo", "hello"];
        let start = Start::default().passing("a b", both(&socket));
        let server = start.server(Site::new(), &args);
        assert_eq!(server.address(), socket.local_addr().unwrap());
        assert_eq!(server.connect("").read_line(), "hello");
        assert_eq!(server.wait_for_connection().value("listen"), listen);
    }
}

#[test]
fn a_passed_unix_domain_socket_is_served_and_its_path_stays() {
    let site = Site::new();
    let path = site.file("socket");
    let socket = UnixListener::bind(&path).unwrap();
    let args = ["--listen", "systemd", "-c", "cert.pem", "echo", "hello"];
    let mut server = Start::default().passing("x", socket).server(site, &args);
    assert_eq!(server.listens, [format!("unix:{}", path.display())]);
    assert_eq!(
        Client::word(UnixStream::connect(&path).unwrap(), "a.example"),
        "hello"
    );
    assert_eq!(server.stop().code(), Some(0));
    assert!(path.exists());
}

#[test]
fn sockets_passed_to_another_process_are_ignored() {
    let start = Start::default()
        .passing("x", listener())
        .with("LISTEN_PID", 1);
    let args = ["--listen", "systemd", "-c", "cert.pem", "cat"];
    let (status, stderr) = start.output(&Site::new(), &args);
    assert_eq!(status, Some(97), "{stderr}");
    assert!(
        stderr.contains("no socket was passed; systemd passes those of a .socket unit"),
        "{stderr}"
    );
}

#[test]
fn an_unknown_name_is_an_error_that_lists_the_names() {
    let table = format!(
        "[[listen]]\nsystemd = \"imaps\"\n{}",
        hosts(&[("a.example", "a")])
    );
    let site = Site::new().with_file("tlssrv.toml", &table);
    let start = || {
        Start::default()
            .passing("www", listener())
            .passing("git", listener())
    };
    let (status, stderr) = start().output(&site, &["-f", "tlssrv.toml"]);
    assert_eq!(status, Some(96), "{stderr}");
    let expected = "tlssrv.toml:2: unable to listen on it: no socket called \"imaps\" was passed; \
                    passed are \"www\", \"git\"\n  2 | systemd = \"imaps\"\n";
    assert!(stderr.contains(expected), "{stderr}");

    let args = ["--listen", "systemd:imaps", "-c", "cert.pem", "cat"];
    let (status, stderr) = start().output(&site, &args);
    assert_eq!(status, Some(97), "{stderr}");
    assert!(stderr.contains("passed are \"www\", \"git\""), "{stderr}");

    let (status, stderr) = Start::default().output(&site, &["-f", "tlssrv.toml"]);
    assert_eq!(status, Some(96), "{stderr}");
    assert!(
        stderr.contains("(with FileDescriptorName=imaps)"),
        "{stderr}"
    );
}

#[test]
fn a_passed_socket_without_a_listener_gets_a_warning() {
    let start = Start::default()
        .passing("www", listener())
        .passing("git", listener());
    let args = ["--listen", "systemd:www", "-c", "cert.pem", "cat"];
    let server = start.server(Site::new(), &args);
    server.wait_for_line("a warning", |line| {
        line.contains(
            "warning: nobody listens on passed sockets: \"git\"; clients wait there in vain",
        )
    });
}

#[test]
fn a_passed_descriptor_that_is_no_listening_stream_socket_is_refused() {
    let socket = listener();
    let connection = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let starts = [
        (
            Start::default().passing("x", connection),
            "is a connection: set Accept=no, or StandardInput=socket",
        ),
        (
            Start::default().passing("x", UdpSocket::bind("127.0.0.1:0").unwrap()),
            "is no stream socket: ListenStream= makes one",
        ),
        (
            Start::default().passing("x", File::open("/dev/null").unwrap()),
            "is no socket",
        ),
        (
            Start::default().with("LISTEN_FDS", 1),
            "descriptor 3 (\"\"): Bad file number",
        ),
        (
            Start::default().with("LISTEN_FDS", "many"),
            "LISTEN_FDS=many is no number",
        ),
        (
            Start::default()
                .passing("x", listener())
                .with("LISTEN_FDNAMES", "x:y"),
            "LISTEN_FDNAMES=x:y has not a name for each of 1 descriptors",
        ),
    ];
    for (start, expected) in starts {
        let args = ["--listen", "systemd", "-c", "cert.pem", "cat"];
        let (status, stderr) = start.output(&Site::new(), &args);
        assert_eq!(status, Some(97), "{stderr}");
        assert!(
            stderr.contains("tlssrv: unable to use what systemd passed: "),
            "{stderr}"
        );
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn check_needs_no_passed_sockets() {
    let table = format!(
        "[[listen]]\nsystemd = \"https\"\n{}",
        hosts(&[("a.example", "a")])
    );
    let site = Site::new().with_file("tlssrv.toml", &table);
    let mut command = std::process::Command::new(tlssrv_path());
    let command = command
        .args(["--check", "-f"])
        .arg(site.file("tlssrv.toml"));
    let ran = run(command).succeeded();
    assert!(!ran.stderr.contains("passed"), "{}", ran.stderr);
}

#[test]
fn a_command_gets_neither_the_variables_nor_the_passed_sockets() {
    let socket = listener();
    let variables = [
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "LISTEN_PIDFDID",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
    ];
    let table = format!(
        "[[listen]]\nsystemd = \"x\"\n[[host]]\ndefault = true\ncert = [\"cert.pem\"]\nallow-root = true\n\
         command = [\"sh\", \"-c\", \"env; ls /proc/self/fd; echo end\"]\npass-env = {variables:?}"
    );
    let mut start = Start::default().passing("x", both(&socket));
    for name in ["LISTEN_PIDFDID", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
        start = start.with(name, "1");
    }
    let server = start.serves(&table);
    let said = server.connect("").read_to_end();
    assert_eq!(said.ended, Ended::CloseNotify);
    let said = String::from_utf8(said.bytes).unwrap();
    assert!(said.contains("PATH="), "{said}");
    for name in variables {
        assert!(!said.contains(name), "{said}");
    }
    // The last descriptor is that of the directory.
    assert!(said.ends_with("\n0\n1\n2\n3\nend\n"), "{said}");
}

#[test]
fn engines_have_neither_the_variables_nor_the_passed_sockets() {
    let socket = listener();
    let table = format!(
        "[[listen]]\nsystemd = \"x\"\n{}",
        hosts(&[("a.example", "a")])
    );
    let server = Start::default()
        .passing("x", both(&socket))
        .serves(&format!("engines = 1\n{table}"));
    let mut client = server.connect("a.example");
    client.read_line();
    let engines = server.engines();
    assert_eq!(engines.len(), 1);
    // 0, 1, 2, the channel, the epoll set, and a connection with the end of its command.
    let count = tlssrv_testing::proc::descriptor_count(engines[0]).unwrap();
    assert_eq!(count, 7);
}

/// Another service that systemd starts with the same socket can make it blocking.
#[test]
fn a_passed_socket_made_blocking_does_not_block_the_server() {
    let socket = listener();
    let table = format!(
        "[[listen]]\nsystemd = \"x\"\n{}",
        hosts(&[("a.example", "a")])
    );
    let mut server = Start::default().passing("x", both(&socket)).serves(&table);
    for _ in 0..3 {
        fcntl(&socket, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        let mut client: Client = Dial::new().connect(server.address(), "a.example");
        assert_eq!(client.read_line(), "a");
        // The process that accepts notices the end of the command.
        client.close();
    }
    server.wait_for_connections(3);
    assert_eq!(server.stop().code(), Some(0));
}
