//! Clients and commands that do not read: they use a bounded amount of memory, and do not affect others.

use std::io;
use std::time::Duration;

use nix::unistd::Pid;

use tlssrv_testing::{Client, Ended, Host, Server, Socket, eventually, proc};

/// Connections that stall at a time.
const STALLED: u64 = 20;
/// Memory of the engine for each of them, in KiB: a few buffers of 64 KiB.
const EACH: u64 = 512;
/// Other memory of the engine, in KiB.
const SLACK: u64 = 4096;

/// One engine, and a command that echoes for clients that ask for it.
fn server(stdio: &str, command: &str) -> Server {
    let script = format!("read x; test $x = echo && exec cat; exec {command}");
    Host {
        top: "engines = 1",
        host: stdio,
        command: &["sh", "-c", &script],
        ..Host::default()
    }
    .start()
}

fn echoing(server: &Server) -> Client {
    let mut client = server.connect("");
    client.send(b"echo\n");
    client
}

fn echoes(client: &mut Client) {
    for _ in 0..50 {
        client.echoes();
    }
}

fn engine(server: &Server) -> Pid {
    let engines = server.engines();
    assert_eq!(engines.len(), 1);
    engines[0]
}

#[test]
fn a_client_that_never_reads_stalls_only_its_own_command() {
    for stdio in [r#"stdio = "socket""#, r#"stdio = "pipe""#] {
        let server = server(stdio, "yes");
        let mut neighbour = echoing(&server);
        echoes(&mut neighbour);
        let before = proc::resident(engine(&server));
        let deaf = (0..STALLED).map(|_| {
            let mut client = server.connect("");
            client.send(b"go\n");
            client
        });
        let deaf: Vec<Client> = deaf.collect();
        // Each command has filled all buffers, and sleeps.
        let asleep = |pid: &Pid| {
            let writes = proc::name(*pid).as_deref() == Some("yes");
            writes && proc::stat(*pid).is_some_and(|stat| stat.state == 'S')
        };
        let mut ticks = Vec::new();
        eventually("every command stalls", || {
            let pids: Vec<Pid> = server.commands().into_iter().filter(asleep).collect();
            let now: Vec<u64> = pids
                .iter()
                .filter_map(|p| proc::stat(*p))
                .map(|s| s.ticks)
                .collect();
            let same = now == ticks;
            ticks = now;
            (same && pids.len() as u64 == STALLED).then_some(())
        });
        echoes(&mut neighbour);
        let after = proc::resident(engine(&server));
        assert!(
            after < before + STALLED * EACH + SLACK,
            "{before} kB before, {after} kB after"
        );
        drop(deaf);
        echoes(&mut neighbour);
        neighbour.close();
    }
}

#[test]
fn a_command_that_never_reads_stalls_only_its_own_client() {
    for stdio in [r#"stdio = "socket""#, r#"stdio = "pipe""#] {
        let server = server(stdio, "sleep 100");
        let mut neighbour = echoing(&server);
        echoes(&mut neighbour);
        let before = proc::resident(engine(&server));
        let mut stalled = Vec::new();
        for _ in 0..STALLED {
            let mut client = server.connect("");
            client.send(b"go\n");
            let sent = send_until_stalled(&mut client);
            assert!(sent < 64 << 20, "{sent} bytes went somewhere");
            stalled.push(client);
        }
        echoes(&mut neighbour);
        let after = proc::resident(engine(&server));
        assert!(
            after < before + STALLED * EACH + SLACK,
            "{before} kB before, {after} kB after"
        );
        neighbour.close();
    }
}

#[test]
fn a_client_that_reads_again_gets_everything() {
    let server = server("", "head -c 20000000 /dev/zero");
    let mut client = server.connect("");
    client.send(b"go\n");
    let mut neighbour = echoing(&server);
    echoes(&mut neighbour);
    let received = client.read_to_end();
    assert_eq!(received.bytes.len(), 20_000_000);
    assert_eq!(received.ended, Ended::CloseNotify);
}

/// Sends until nothing is taken for a while; returns the number of bytes sent.
fn send_until_stalled(client: &mut Client) -> u64 {
    const WHILE: Duration = Duration::from_millis(100);
    match &client.socket {
        Socket::Tcp(socket) => socket.set_write_timeout(Some(WHILE)).unwrap(),
        Socket::Unix(socket) => socket.set_write_timeout(Some(WHILE)).unwrap(),
    }
    let chunk = vec![0; 16 * 1024];
    let mut sent = 0;
    loop {
        match client.try_send(&chunk) {
            Ok(()) => sent += chunk.len() as u64,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return sent,
            Err(e) => panic!("{e}"),
        }
    }
}
