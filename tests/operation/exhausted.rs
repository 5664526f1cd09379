//! A lack of descriptors: new clients wait or are closed, and open connections go on.

use nix::unistd::Pid;

use tlssrv_testing::{Dial, Ended, Server, proc, programs};

/// Leaves a process this number of free descriptors.
pub(crate) fn leave(pid: Pid, free: usize) {
    let open = proc::descriptors(pid);
    let limit = (0..).filter(|fd| !open.contains(fd)).nth(free).unwrap();
    soft_limit(pid, limit);
}

/// Sets the soft limit of descriptors.
pub(crate) fn soft_limit(pid: Pid, limit: u32) {
    let mut prlimit = programs::program("prlimit");
    prlimit.arg(format!("--pid={pid}"));
    prlimit.arg(format!("--nofile={limit}:"));
    assert!(prlimit.status().unwrap().success());
}

fn serve() -> Server {
    Server::with_config(
        "engines = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[host]]\ndefault = true\n\
         cert = [\"cert.pem\"]\ncommand = [\"cat\"]\nallow-root = true\n",
    )
}

#[test]
fn without_descriptors_accepting_pauses_until_there_are_some() {
    let server = serve();
    let mut client = server.connect("");
    client.echoes();
    leave(server.pid(), 0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.connect(""));
        server.wait_for_line("it says so", |line| {
            line.contains(" err unable to accept a client: ") && line.contains("trying again in")
        });
        client.echoes();
        soft_limit(server.pid(), 256);
        waiting.join().unwrap().echoes();
    });
    client.echoes();
}

#[test]
fn without_descriptors_for_a_command_the_client_is_closed_and_the_next_one_served() {
    let server = serve();
    let mut client = server.connect("");
    client.echoes();
    // The socket of the client itself needs one descriptor.
    leave(server.pid(), 1);
    let end = Dial::new()
        .connect(server.address(), "")
        .read_to_end()
        .ended;
    assert_eq!(end, Ended::CloseNotify);
    let line = server.wait_for_connection();
    let reason = "launch: unable to set its descriptors: Too many open files (EMFILE)";
    assert_eq!((line.value("end"), line.level.as_str()), (reason, "err"));
    client.echoes();
    soft_limit(server.pid(), 256);
    server.connect("").echoes();
}
