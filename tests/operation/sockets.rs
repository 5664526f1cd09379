//! Socket options: buffer sizes and keep-alive.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{
    KeepAlive, RcvBuf, SndBuf, TcpKeepIdle, TcpKeepInterval, TcpNoDelay,
};

use tlssrv_testing::socket::tcp_pair;
use tlssrv_testing::{Client, Dial, Host, Site, Socket, eventually, tlssrv_path};

/// A tlssrv with these limits for one connection, the socket of that, which the test has as well, and a
/// client that has completed its handshake.
fn one_connection(limits: &str) -> (Child, TcpStream, Client) {
    let host = Host {
        limits,
        command: &["cat"],
        ..Host::default()
    };
    let site = Site::new().with_file("tlssrv.toml", &host.toml());
    let (client, socket) = tcp_pair();
    let tlssrv = Command::new(tlssrv_path())
        .args(["-f", "tlssrv.toml", "--inetd"])
        .current_dir(site.path())
        .stdin(OwnedFd::from(socket.try_clone().unwrap()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let client = Dial::new().over(client.into(), "");
    (tlssrv, socket, client)
}

fn end((mut tlssrv, _, mut client): (Child, TcpStream, Client)) {
    client.echoes();
    client.close();
    drop(client);
    assert!(tlssrv.wait().unwrap().success());
}

#[test]
fn a_socket_has_the_buffer_sizes_and_keep_alive_of_the_configuration() {
    let limits = "send-buffer = 16384\nreceive-buffer = 8192\nkeep-alive = \"40s\"";
    let connection = one_connection(limits);
    let socket = &connection.1;
    // The kernel doubles them, for what it needs itself (socket(7)).
    assert_eq!(getsockopt(socket, SndBuf), Ok(2 * 16384));
    assert_eq!(getsockopt(socket, RcvBuf), Ok(2 * 8192));
    assert_eq!(getsockopt(socket, KeepAlive), Ok(true));
    assert_eq!(getsockopt(socket, TcpKeepIdle), Ok(40));
    assert_eq!(getsockopt(socket, TcpKeepInterval), Ok(40));
    assert_eq!(getsockopt(socket, TcpNoDelay), Ok(true));
    end(connection);

    let connection = one_connection("keep-alive = \"10m\"");
    assert_eq!(getsockopt(&connection.1, TcpKeepIdle), Ok(600));
    assert_eq!(getsockopt(&connection.1, TcpKeepInterval), Ok(75));
    end(connection);
}

#[test]
fn without_settings_the_system_decides() {
    let fresh = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(fresh.local_addr().unwrap()).unwrap();
    for limits in ["", "send-buffer = 0\nreceive-buffer = 0"] {
        let connection = one_connection(limits);
        let socket = &connection.1;
        assert_eq!(getsockopt(socket, KeepAlive), Ok(true));
        assert_eq!(getsockopt(socket, TcpNoDelay), Ok(true));
        let idle = getsockopt(&stream, TcpKeepIdle);
        assert_eq!(getsockopt(socket, TcpKeepIdle), idle);
        assert!(getsockopt(socket, SndBuf).unwrap() > 2 * 16384);
        end(connection);
    }
    let connection = one_connection("keep-alive = \"0s\"");
    assert_eq!(getsockopt(&connection.1, KeepAlive), Ok(false));
    end(connection);
}

#[test]
fn clients_of_a_server_have_the_keep_alive_of_its_configuration() {
    for (limits, expected) in [
        ("keep-alive = \"40s\"", Some(1..=40)),
        ("keep-alive = \"0s\"", None),
    ] {
        let host = Host {
            limits,
            command: &["cat"],
            ..Host::default()
        };
        let server = host.start();
        let mut client = server.connect("");
        client.echoes();
        let Socket::Tcp(socket) = &client.socket else {
            unreachable!("it has an address");
        };
        let remote = socket.local_addr().unwrap();
        // Its data is acknowledged by now, or a moment later.
        let found = eventually("no other timer runs", || {
            keep_alive(server.address(), remote)
        });
        match expected {
            Some(expected) => assert!(expected.contains(&found.unwrap()), "{found:?}"),
            None => assert_eq!(found, None),
        }
    }
}

/// The seconds until the kernel sends a keep-alive probe on a connection; `None` inside: never. `None`:
/// another timer runs.
fn keep_alive(local: SocketAddr, remote: SocketAddr) -> Option<Option<u64>> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap(), 16).ok();
    let connection = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| {
            port(fields[1]) == Some(local.port()) && port(fields[2]) == Some(remote.port())
        })
        .unwrap();
    // `tr:tm->when`: which timer, and in how many hundredths of a second it goes off (proc(5)).
    let (timer, when) = connection[5].split_once(':').unwrap();
    match timer {
        "00" => Some(None),
        "02" => Some(Some(u64::from_str_radix(when, 16).unwrap().div_ceil(100))),
        _ => None,
    }
}
