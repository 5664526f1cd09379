//! Engines: their confinement, and what happens when one dies.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use tlssrv_testing::account::is_root;
use tlssrv_testing::{Client, Ended, Host, Server, Socket, eventually, proc};

/// A server with two engines, both confined.
fn server() -> Server {
    let server = Host {
        top: "engines = 2",
        command: &["cat"],
        ..Host::default()
    }
    .start();
    assert_eq!(jailed(&server).len(), 2);
    server
}

/// The engines, once all of them are confined.
fn jailed(server: &Server) -> Vec<Pid> {
    eventually("the engines are jailed", || {
        let engines = server.engines();
        let filtered = |pid: &Pid| proc::status(*pid, "Seccomp").as_deref() == Some("2");
        (engines.len() == 2 && engines.iter().all(filtered)).then_some(engines)
    })
}

#[test]
fn an_engine_is_not_root_and_has_no_capability_and_can_gain_none() {
    let server = server();
    for engine in jailed(&server) {
        let status = |key| proc::status(engine, key).unwrap();
        let uids: Vec<String> = status("Uid")
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        assert!(uids.iter().all(|uid| uid != "0"), "{uids:?}");
        if is_root() {
            assert_eq!(status("Groups"), "");
            assert!(status("Gid").split_whitespace().all(|gid| gid != "0"));
        }
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(set), "0000000000000000", "{set}");
        }
        assert_eq!(status("NoNewPrivs"), "1");
        assert_eq!(status("Seccomp"), "2");
        assert_eq!(status("Threads"), "1");
    }
}

#[test]
fn neither_engines_nor_the_monitor_can_be_traced_by_their_user() {
    let server = server();
    let mut processes = jailed(&server);
    if !is_root() {
        processes.push(server.pid());
    }
    for pid in processes {
        // The files in /proc of a process that is not dumpable belong to root (proc(5)).
        let owner = fs::metadata(format!("/proc/{pid}/stat")).unwrap().uid();
        assert_eq!(owner, 0);
    }
}

#[test]
fn an_engine_can_neither_fork_nor_write_files_nor_dump_core() {
    let server = server();
    for engine in jailed(&server) {
        let limits = fs::read_to_string(format!("/proc/{engine}/limits")).unwrap();
        for limit in ["Max processes", "Max file size", "Max core file size"] {
            let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
            let mut words = line[limit.len()..].split_whitespace();
            assert_eq!(
                (words.next(), words.next()),
                (Some("0"), Some("0")),
                "{line}"
            );
        }
    }
}

#[test]
fn an_engine_holds_no_descriptor_but_its_channel_and_its_epoll_set() {
    let server = server();
    for engine in jailed(&server) {
        // The epoll set is the last descriptor that it opens.
        eventually("an engine has five descriptors", || {
            (proc::descriptor_count(engine) == Some(5)).then_some(())
        });
        if !is_root() {
            continue; // only root can inspect the rest
        }
        let link = |fd: u32| fs::read_link(format!("/proc/{engine}/fd/{fd}")).unwrap();
        let links = proc::descriptors(engine)
            .into_iter()
            .map(|fd| (fd, link(fd)));
        let mut others = Vec::new();
        for (fd, target) in links {
            let target = target.to_str().unwrap().to_owned();
            match fd {
                0..=2 => assert_eq!(target, "/dev/null"),
                _ => others.push(target),
            }
        }
        others.sort();
        assert_eq!(others[0], "anon_inode:[eventpoll]");
        assert!(others[1].starts_with("socket:"), "{others:?}");
        let root = fs::read_link(format!("/proc/{engine}/root")).unwrap();
        assert!(root.to_string_lossy().ends_with("(deleted)"), "{root:?}");
    }
}

#[test]
fn an_engine_that_dies_is_logged_and_replaced_and_other_engines_are_not_affected() {
    let server = server();
    let engines = jailed(&server);
    // One connection for each.
    let mut clients = [server.connect(""), server.connect("")];
    clients.iter_mut().for_each(Client::echoes);
    kill(engines[0], Signal::SIGKILL).unwrap();
    let expected = format!(
        "engine {} ended: SIGKILL; connections lost with it: 1",
        engines[0]
    );
    let line = server.wait_for_line("the engine's end", |line| line.contains(&expected));
    assert!(line.contains(" err "), "{line}");
    let lost = server.wait_for_connection();
    assert_eq!(lost.value("end"), "reset");
    // The connection of the killed engine has ended, the other goes on.
    let port = |client: &Client| client.socket.local_address().to_string();
    let [lost, alive] = match port(&clients[0]) == lost.value("peer") {
        true => [0, 1],
        false => [1, 0],
    };
    assert_ne!(clients[lost].read_to_end().ended, Ended::CloseNotify);
    clients[alive].echoes();
    let replaced = jailed(&server);
    assert_ne!(replaced, engines);
    assert!(replaced.contains(&engines[1]) && !replaced.contains(&engines[0]));
    // The new engine has the fewest connections, and serves.
    for _ in 0..4 {
        server.connect("").echoes();
    }
    clients[alive].echoes();
    proc::no_zombies(server.pid());
}

#[test]
fn the_command_of_a_lost_connection_reads_end_of_file() {
    let server = Host {
        top: "engines = 1",
        host: "directory = \".\"",
        command: &["sh", "-c", "cat; echo eof >got; exit 4"],
        ..Host::default()
    }
    .start();
    let mut client = server.connect("");
    client.echoes();
    kill(server.engines()[0], Signal::SIGKILL).unwrap();
    let line = server.wait_for_connection();
    assert_eq!((line.value("end"), line.value("exit")), ("reset", "4"));
    assert_eq!(fs::read(server.site.file("got")).unwrap(), b"eof\n");
}

#[test]
fn clients_wait_for_a_new_engine_when_the_only_one_has_died() {
    let server = Host {
        top: "engines = 1",
        command: &["cat"],
        ..Host::default()
    }
    .start();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let engine = eventually("an engine", || server.engines().pop());
        assert!(seen.insert(engine), "a new one each time");
        kill(engine, Signal::SIGKILL).unwrap();
        let expected = format!("engine {engine} ended: SIGKILL");
        server.wait_for_line("its end", |line| line.contains(&expected));
        server.connect("").echoes();
    }
}

#[test]
fn failed_connections_do_not_end_an_engine() {
    // After many failed connections the engine still serves the next one.
    let server = server();
    let engines = jailed(&server);
    for _ in 0..50 {
        let mut socket = Socket::connect(server.address());
        std::io::Write::write_all(&mut socket, b"nonsense\n\n").unwrap();
        socket.read_to_end().1.unwrap();
    }
    assert_eq!(jailed(&server), engines);
    server.connect("").echoes();
}

#[test]
fn when_the_monitor_is_killed_connections_finish_and_then_the_engines_end() {
    let mut server = server();
    let engines = jailed(&server);
    let mut clients = [server.connect(""), server.connect("")];
    clients.iter_mut().for_each(Client::echoes);
    server.signal(Signal::SIGKILL);
    server.wait();
    clients.iter_mut().for_each(Client::echoes);
    for mut client in clients {
        client.close();
    }
    eventually("the engines leave", || {
        engines.iter().all(|pid| !proc::runs(*pid)).then_some(())
    });
}
