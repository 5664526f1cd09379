//! Many connections: at once, and one after another.

use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use tlssrv_testing::{Client, Dial, Host, Server, eventually, proc, skip};

/// The number of descriptors of monitor and engines, and the number of commands.
#[derive(Debug, PartialEq, Eq)]
struct Footprint {
    descriptors: Vec<(Pid, Option<usize>)>,
    commands: usize,
    zombies: usize,
}

impl Footprint {
    fn of(server: &Server) -> Self {
        let mut processes = server.engines();
        processes.sort();
        processes.push(server.pid());
        Self {
            descriptors: processes
                .into_iter()
                .map(|pid| (pid, proc::descriptor_count(pid)))
                .collect(),
            commands: server.commands().len(),
            zombies: proc::zombies(server.pid()).len(),
        }
    }
}

#[test]
fn two_thousand_connections_are_open_at_once() {
    const COUNT: usize = 2000;
    // The limit of the test itself; the server raises its own.
    let needed = 2 * COUNT as u64;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < 3 * needed {
        return skip(&format!("only {hard} descriptors are allowed here"));
    }
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    }
    let server = Host {
        limits: "per-source = 0",
        host: r#"stderr = "log""#,
        command: &["cat"],
        ..Host::default()
    }
    .start();
    warm_up(&server);
    let before = Footprint::of(&server);
    let mut clients: Vec<Client> = (0..COUNT).map(|_| server.connect("")).collect();
    for round in 0..2 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(format!("{round} {number}\n").as_bytes());
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.read_line(), format!("{round} {number}"));
        }
    }
    assert_eq!(server.commands().len(), COUNT);
    clients.iter_mut().for_each(Client::close_notify);
    for client in &mut clients {
        client.read_close_notify();
    }
    drop(clients);
    let lines = server.wait_for_connections(COUNT + WARM_UP);
    assert!(lines.iter().all(|line| line.value("end") == "closed"));
    returns_to(&server, &before);
}

#[test]
fn twenty_thousand_connections_one_after_another_leave_nothing_behind() {
    const LANES: usize = 4;
    const EACH: usize = 5000;
    const COUNT: usize = LANES * EACH;
    let server = Server::of(&["true"]);
    warm_up(&server);
    let before = Footprint::of(&server);
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let dial = Dial::new(); // resumes
                for _ in 0..EACH {
                    let mut client = dial.connect(server.address(), "");
                    client.read_close_notify();
                }
            });
        }
    });
    let lines = server.wait_for_connections(COUNT + WARM_UP);
    assert_eq!(lines.len(), COUNT + WARM_UP);
    assert!(lines.iter().all(|line| line.value("end") == "closed"));
    assert!(lines.iter().all(|line| line.value("exit") == "0"));
    returns_to(&server, &before);
}

/// A number of connections after which every engine has opened what it opens only once.
const WARM_UP: usize = 8;

fn warm_up(server: &Server) {
    let mut clients: Vec<Client> = (0..WARM_UP).map(|_| server.connect("")).collect();
    clients.iter_mut().for_each(Client::close_notify);
    for client in &mut clients {
        client.read_to_end();
    }
    drop(clients);
    server.wait_for_connections(WARM_UP);
    eventually("no command is left", || {
        server.commands().is_empty().then_some(())
    });
}

fn returns_to(server: &Server, before: &Footprint) {
    assert_eq!((before.commands, before.zombies), (0, 0));
    assert!(before.descriptors.iter().all(|(_, count)| count.is_some()));
    let mut last = None;
    eventually("the server is as it was", || {
        let now = Footprint::of(server);
        let same = now == *before;
        if !same && last.as_ref() != Some(&now) {
            eprintln!("{now:?} is not {before:?}");
        }
        last = Some(now);
        same.then_some(())
    });
}
