//! Listeners: TCP, Unix-domain sockets, several at once, and addresses in use.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};

use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{missing, program};
use tlssrv_testing::{Client, Dial, Server, Site, Socket, skip, tlssrv_path};

#[test]
fn a_command_is_served_over_ipv4() {
    let server = Server::start(&["--listen", "127.0.0.1:0", "-c", "cert.pem", "cat"]);
    assert!(server.address().is_ipv4() && server.address().port() != 0);
    let mut client = server.connect("a.example");
    let here = client.socket.local_address();
    echoes(&mut client);
    let line = server.wait_for_connection();
    assert_eq!(line.value("peer"), here.to_string());
    assert_eq!(line.value("listen"), "127.0.0.1:0");
    assert_eq!(line.value("end"), "closed");
}

#[test]
fn the_unspecified_ipv6_address_takes_ipv4_and_ipv6() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("no IPv6 here");
    }
    let server = Server::start(&["--listen", "[::]:0", "-c", "cert.pem", "cat"]);
    let port = server.address().port();
    echoes(&mut Client::connect(
        (Ipv6Addr::LOCALHOST, port).into(),
        "a.example",
    ));
    let mut client = Client::connect((Ipv4Addr::LOCALHOST, port).into(), "a.example");
    let here = client.socket.local_address();
    echoes(&mut client);
    let lines = server.wait_for_connections(2);
    assert!(
        lines[0].value("peer").starts_with("[::1]:"),
        "{:?}",
        lines[0]
    );
    // Not ::ffff:127.0.0.1
    assert_eq!(lines[1].value("peer"), here.to_string());
}

#[test]
fn an_ipv4_mapped_address_is_the_ipv4_address() {
    let server = Server::start(&["--listen", "[::ffff:127.0.0.1]:0", "-c", "cert.pem", "cat"]);
    let address = server.address();
    assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
    let mut client = server.connect("a.example");
    echoes(&mut client);
    assert_eq!(
        server.wait_for_connection().value("listen"),
        "[::ffff:127.0.0.1]:0"
    );
    let every = Server::start(&["--listen", "[::ffff:0.0.0.0]:0", "-c", "cert.pem", "cat"]);
    let port = every.address().port();
    let mut client = Client::connect((Ipv4Addr::LOCALHOST, port).into(), "a.example");
    echoes(&mut client);
}

#[test]
fn a_link_local_client_keeps_its_zone_in_the_variables_and_in_the_log() {
    if missing(&["ip", "unshare"]) {
        return;
    }
    if !is_root() {
        return skip("only root can have network interfaces of its own");
    }
    // Two ends of a cable; the client is at the other one.
    const CABLE: &str = "
        ip link add here type veth peer name there &&
        ip address add fe80::1/64 dev here nodad && ip address add fe80::2/64 dev there nodad &&
        ip link set here up && ip link set there up && ip link set lo up && exec \"$0\" \"$@\"
    ";
    let script = "echo $REMOTE_ADDR $TCPREMOTEIP $REMOTE_HOST $TCPLOCALIP";
    let mut command = program("unshare");
    command
        .args(["--net", "sh", "-c", CABLE, tlssrv_path()])
        .args(["--listen", "[fe80::1%here]:0", "--listen", "[::]:0"])
        .args(["-c", "cert.pem", "sh", "-c", script]);
    let server = Server::run(Site::new(), &mut command);
    let network = format!("/proc/{}/ns/net", server.pid());
    for listen in &server.listens {
        let port = listen.parse::<SocketAddr>().unwrap().port();
        let network = File::open(&network).unwrap();
        // A thread of its own, since it moves to another network for good.
        let connect = move || {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            let there = if_nametoindex("there").unwrap();
            let server = SocketAddrV6::new("fe80::1".parse().unwrap(), port, 0, there);
            let mut client = Client::connect(server.into(), "a.example");
            let line = client.read_line();
            client.close();
            (line, client.socket.local_address().port())
        };
        let (line, port) = thread::spawn(connect).join().unwrap();
        let remote = "fe80::2%here";
        assert_eq!(line, format!("{remote} {remote} {remote} fe80::1%here"));
        let peer = format!(" peer=[{remote}]:{port} ");
        server.wait_for_line("this client", |line| {
            line.contains(&peer) && line.ends_with(" end=closed")
        });
    }
}

#[test]
fn a_port_without_an_address_listens_on_every_address() {
    let server = Server::start(&["--listen", ":0", "-c", "cert.pem", "cat"]);
    let port = server.address().port();
    echoes(&mut Client::connect(
        (Ipv4Addr::LOCALHOST, port).into(),
        "a.example",
    ));
}

#[test]
fn a_unix_domain_socket_is_served_and_removed_in_the_end() {
    let site = Site::new();
    let path = site.file("x.sock");
    let address = format!("unix:{}", path.display());
    let args = ["--listen", &address, "-c", "cert.pem", "sh", "-c"];
    let script = r#"read x; echo "$PROTO$TCPREMOTEIP$REMOTE_ADDR:$x""#;
    let mut server = Server::start_in(site, &[&args[..], &[script]].concat());
    assert_eq!(server.listens, [address.as_str()]);
    let mut client = Dial::new().over(Socket::connect_unix(&path), "a.example");
    client.send(b"hello\n");
    assert_eq!(client.read_line(), "UNIX:hello");
    client.read_close_notify();
    drop(client);
    assert_eq!(server.wait_for_connection().value("peer"), "unix");
    assert_eq!(server.stop().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn a_unix_domain_socket_that_a_dead_server_left_is_replaced() {
    let site = Site::new();
    let path = site.file("x.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let address = format!("unix:{}", path.display());
    let _server = Server::start_in(site, &["--listen", &address, "-c", "cert.pem", "cat"]);
    echoes(&mut Dial::new().over(Socket::connect_unix(&path), "a.example"));
}

#[test]
fn several_listeners_serve_at_once() {
    let site = Site::new();
    let path = site.file("x.sock");
    let unix = format!("unix:{}", path.display());
    let mut args = vec!["--listen", "127.0.0.1:0", "--listen", &unix];
    args.extend(["--listen", "127.0.0.2:0", "-c", "cert.pem", "cat"]);
    let server = Server::start_in(site, &args);
    assert_eq!(server.listens.len(), 3);
    let addresses: Vec<SocketAddr> = server.listens.iter().flat_map(|l| l.parse()).collect();
    let mut clients = vec![Dial::new().over(Socket::connect_unix(&path), "a.example")];
    clients.extend(addresses.iter().map(|a| Client::connect(*a, "a.example")));
    assert_eq!(clients.len(), 3);
    clients.iter_mut().for_each(echoes);
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_97() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::new();
    let output = Command::new(tlssrv_path())
        .args(["--listen", &address, "-c", "cert.pem", "cat"])
        .current_dir(site.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(97), "{said}");
    let expected = format!("unable to listen on {address}: ");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_configuration_serves_what_it_says() {
    let server = Server::with_config(
        r#"
        [[listen]]
        address = "127.0.0.1:0"
        [[listen]]
        name = "second"
        address = "127.0.0.1:0"
        [[host]]
        default = true
        cert = ["cert.pem"]
        command = ["cat"]
        allow-root = true
        "#,
    );
    assert_eq!(server.listens.len(), 2);
    let addresses = server.listens.iter().map(|l| l.parse().unwrap());
    addresses.for_each(|a| echoes(&mut Client::connect(a, "")));
    let mut listeners: Vec<String> = Vec::new();
    for line in server.wait_for_connections(2) {
        listeners.push(line.value("listen").to_owned());
        assert_eq!(line.value("host"), "default");
        assert_eq!(line.get("sni"), None);
    }
    listeners.sort();
    assert_eq!(listeners, ["127.0.0.1:0", "second"]);
}

#[test]
fn a_throw_away_certificate_is_served() {
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--self-signed",
        "try.example",
        "cat",
    ];
    let server = Server::start(&args);
    let mut client = server.connect("try.example");
    let certificate = client.certificate();
    let certificate = webpki::EndEntityCert::try_from(&certificate).unwrap();
    let name = "try.example".try_into().unwrap();
    certificate.verify_is_valid_for_subject_name(&name).unwrap();
    echoes(&mut client);
    server.wait_for_line("a warning", |line| {
        line.contains("warning") && line.contains("no client trusts it")
    });
}

/// Sends a line, gets it back, and both sides end.
fn echoes(client: &mut Client) {
    client.echoes();
    client.close();
}
