//! `listen1`, which runs a command for each call, by tcpserver or socat.

use std::fs;
use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::unistd::User;

use crate::{Listening, call, call_port, line, listen1, path_of, rest};
use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::missing;
use tlssrv_testing::socket::free_address;
use tlssrv_testing::{Dial, Site, skip, tlssrv_path};

/// The programs that can accept calls for `listen1`.
const TOOLS: [&str; 2] = ["tcpserver", "socat"];

#[test]
fn each_call_gets_a_tlssrv() {
    with_each_tool(|site, tool| {
        let port = free_address().port();
        let address = format!("tcp!*!{port}");
        let script = "echo $TCPREMOTEIP $TCPLOCALPORT $PROTO $TLSSRV_HOST; cat";
        let tlssrv = [
            tlssrv_path(),
            "-c",
            "cert.pem",
            "-l",
            "./log",
            "sh",
            "-c",
            script,
        ];
        let args = [&["-t", &address][..], &tlssrv].concat();
        let _listening = Listening::start(&mut with(tool, site, &args));
        for _ in 0..2 {
            let mut client = Dial::new().over(call_port(port).into(), "a.example");
            assert_eq!(client.certificate(), site.certificate("cert.pem"));
            assert_eq!(client.read_line(), format!("127.0.0.1 {port} TCP"));
            client.send(b"a line\n");
            assert_eq!(client.read_line(), "a line");
            client.close();
        }
    });
}

#[test]
fn a_command_has_the_call_on_descriptors_0_and_1_and_its_arguments_unchanged() {
    let odd = [
        "",
        "two  words",
        "it's",
        "*",
        "$HOME",
        "a\nb\n",
        "\"\\",
        "-x",
        "a,b:c!d",
    ];
    let script = "for arg; do printf '<%s>' \"$arg\"; done; echo; \
                  for fd in 0 1 2 3 4 5 6; do [ ! -e /dev/fd/$fd ] || echo $fd; done; cat";
    with_each_tool(|site, tool| {
        let port = free_address().port();
        let address = format!("tcp!127.0.0.1!{port}");
        let args = [&["-t", &address, "sh", "-c", script, "sh"][..], &odd].concat();
        let _listening = Listening::start(&mut with(tool, site, &args));
        let mut call = call_port(port);
        let expected: String = odd.iter().map(|arg| format!("<{arg}>")).collect();
        call.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(&mut call), format!("{expected}\n0\n1\n2\n"), "{tool}");
    });
}

#[test]
fn an_address_is_a_network_a_host_and_a_service() {
    let services = fs::read_to_string("/etc/services").unwrap_or_default();
    let tcp = services.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        Some((name, port.parse::<u16>().ok()?))
    });
    let free = |port: &u16| *port > 1024 && TcpListener::bind(("0.0.0.0", *port)).is_ok();
    let Some((name, service_port)) = tcp.into_iter().find(|(_, port)| free(port)) else {
        return skip("no service of /etc/services is free here");
    };
    with_each_tool(|site, tool| {
        let port = free_address().port();
        for (address, port) in [
            (format!("tcp!*!{name}"), service_port),
            (format!("net!localhost!{port}"), port),
            (format!("/net/tcp!127.0.0.1!{port}"), port),
        ] {
            let args = ["-t", &address, "echo", "hello"];
            let mut listening = Listening::start(&mut with(tool, site, &args));
            // localhost may be ::1.
            let hosts: [SocketAddr; 2] = [
                ([127, 0, 0, 1], port).into(),
                (Ipv6Addr::LOCALHOST, port).into(),
            ];
            let socket = tlssrv_testing::eventually("it listens", || {
                hosts
                    .iter()
                    .find_map(|at| std::net::TcpStream::connect(at).ok())
            });
            assert_eq!(rest(&mut { socket }), "hello\n", "{address}");
            listening.terminate();
            tlssrv_testing::eventually("it ends", || listening.daemon.0.try_wait().unwrap());
        }
    });
}

#[test]
fn ipv6_is_accepted_too() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("no IPv6 here");
    }
    if missing(&["socat"]) {
        return;
    }
    let site = Site::new();
    let port = free_address().port();
    let only = format!("tcp!::1!{port}");
    let _listening = Listening::start(&mut listen1(&site, &["-t", &only, "echo", "hello"]));
    let mut six = call((Ipv6Addr::LOCALHOST, port));
    assert_eq!(rest(&mut six), "hello\n");

    // Only socat listens on IPv4 and IPv6 for `*`; tcpserver may know IPv4 only.
    let port = free_address().port();
    let both = format!("tcp!*!{port}");
    let _listening = Listening::start(&mut with("socat", &site, &["-t", &both, "echo", "hello"]));
    for mut socket in [call((Ipv6Addr::LOCALHOST, port)), call_port(port)] {
        assert_eq!(rest(&mut socket), "hello\n");
    }
}

#[test]
fn the_command_runs_as_nobody_unless_trusted() {
    if !is_root() {
        return skip("only root can become nobody");
    }
    with_each_tool(|site, tool| {
        for (flags, user) in [(&[][..], "nobody"), (&["-t"], "root")] {
            let port = free_address().port();
            let address = format!("tcp!127.0.0.1!{port}");
            let script = "id -un; id -Gn";
            let args = [flags, &[&address, "sh", "-c", script]].concat();
            let _listening = Listening::start(&mut with(tool, site, &args));
            let said = rest(&mut call_port(port));
            let (name, groups) = said.split_once('\n').unwrap();
            assert_eq!(name, user, "{tool}");
            if user == "nobody" {
                let group = User::from_name("nobody").unwrap().unwrap().gid;
                let group = nix::unistd::Group::from_gid(group).unwrap().unwrap().name;
                assert_eq!(groups.trim_end(), group, "{tool}");
            }
        }
    });
}

#[test]
fn no_more_than_maxprocs_run_at_a_time() {
    with_each_tool(|site, tool| {
        let port = free_address().port();
        let address = format!("tcp!127.0.0.1!{port}");
        let script = "mkdir busy || echo both; echo started; cat; rmdir busy";
        let args = ["-t", "-p", "1", &address, "sh", "-c", script];
        let _listening = Listening::start(&mut with(tool, site, &args));
        let mut first = call_port(port);
        assert_eq!(line(&mut first), "started");
        let mut second = call_port(port);
        let soon = Some(Duration::from_millis(200));
        second.set_read_timeout(soon).unwrap();
        let waits = std::io::Read::read(&mut second, &mut [0]).unwrap_err();
        assert_eq!(waits.kind(), std::io::ErrorKind::WouldBlock, "{tool}");
        drop(first);
        second
            .set_read_timeout(Some(tlssrv_testing::DEADLINE))
            .unwrap();
        assert_eq!(line(&mut second), "started", "{tool}");
    });
}

#[test]
fn without_a_limit_all_run_at_once() {
    with_each_tool(|site, tool| {
        for limit in [&[][..], &["-p", "0"], &["-p", "-1"]] {
            let port = free_address().port();
            let address = format!("tcp!127.0.0.1!{port}");
            let args = [
                &["-t"][..],
                limit,
                &[&address, "sh", "-c", "echo hello; cat"],
            ]
            .concat();
            let _listening = Listening::start(&mut with(tool, site, &args));
            let mut calls: Vec<_> = (0..45).map(|_| call_port(port)).collect();
            for call in &mut calls {
                assert_eq!(line(call), "hello", "{tool} {limit:?}");
            }
        }
    });
}

#[test]
fn the_caller_is_logged_with_v_only() {
    with_each_tool(|site, tool| {
        let said = |flags: &[&str]| {
            let port = free_address().port();
            let address = format!("tcp!127.0.0.1!{port}");
            let script = "echo the command >&2; read -r line";
            let args = [flags, &[&address, "sh", "-c", script]].concat();
            let listening = Listening::start(&mut with(tool, site, &args));
            let mut call = call_port(port);
            let from = call.local_addr().unwrap().port().to_string();
            let lines = listening.said.wait("the command", |lines| {
                let last = lines.iter().any(|line| line == "the command");
                last.then(|| lines.to_vec())
            });
            call.write_all(b"\n").unwrap();
            assert_eq!(rest(&mut call), "");
            (from, lines)
        };
        let (_, quiet) = said(&["-t"]);
        assert_eq!(quiet, ["the command"], "{tool}");
        let (from, verbose) = said(&["-t", "-v"]);
        assert!(
            verbose.iter().any(|line| line.contains(&from)),
            "{verbose:?}"
        );
    });
}

/// Runs a test with each of the programs that is installed.
fn with_each_tool(run: impl Fn(&Site, &str)) {
    for tool in TOOLS {
        if !missing(&[tool]) {
            run(&Site::new(), tool);
        }
    }
}

/// `listen1` with a `PATH` that has only this program to accept calls.
fn with(tool: &str, site: &Site, args: &[&str]) -> Command {
    let rest = [
        "sh", "sed", "getent", "id", "grep", "cat", "echo", "mkdir", "rmdir",
    ];
    let path = path_of(site, &[&rest[..], &[tool]].concat());
    assert!(Path::new(&path).is_dir());
    let mut listen1 = listen1(site, args);
    listen1.env("PATH", path);
    listen1
}
