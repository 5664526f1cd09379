//! How the client learns that a signal has killed the command in the middle of its output.

use std::process::Command;
use std::time::{Duration, Instant};

use rustls::ALL_VERSIONS;

use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::missing;
use tlssrv_testing::{Client, Dial, Ended, Host, Server, Site, eventually, skip, tlssrv_path};

/// Both kinds of `stdio`.
const STDIO: [&str; 2] = [r#"stdio = "socket""#, r#"stdio = "pipe""#];

/// A server of this shell script.
fn script(stdio: &str, script: &str) -> Server {
    Host {
        host: stdio,
        command: &["sh", "-c", script],
        ..Host::default()
    }
    .start()
}

/// Fails unless the client gets these bytes, and then FIN without close_notify.
#[track_caller]
fn assert_cut(client: &mut Client, expected: &[u8]) {
    let received = client.read_to_end();
    assert!(received.bytes == expected, "{} bytes", received.bytes.len());
    assert_eq!(received.ended, Ended::Truncated);
}

#[test]
fn a_command_that_a_signal_kills_in_the_middle_of_its_output_gets_no_close_notify() {
    for version in ALL_VERSIONS {
        for stdio in STDIO {
            for signal in ["KILL", "TERM", "SEGV", "ABRT", "PIPE"] {
                let server = script(stdio, &format!("echo half; kill -{signal} $$"));
                let mut client = Dial::version(version).connect(server.address(), "");
                assert_cut(&mut client, b"half\n");
                drop(client);
                let line = server.wait_for_connection();
                let name = format!("SIG{signal}");
                assert_eq!(line.value("exit"), name);
                assert_eq!(line.value("end"), format!("command: killed by {name}"));
                assert_eq!(line.number("out"), 5);
            }
        }
    }
}

#[test]
fn a_command_that_a_real_time_signal_kills_gets_no_close_notify() {
    let server = script(STDIO[0], "echo half; kill -40 $$");
    assert_cut(&mut server.connect(""), b"half\n");
    let line = server.wait_for_connection();
    assert!(line.value("exit").starts_with("SIGRTMIN+"), "{line:?}");
}

#[test]
fn no_killed_command_of_many_gets_close_notify() {
    let server = script(STDIO[0], "echo half; kill -9 $$");
    for _ in 0..100 {
        assert_cut(&mut server.connect(""), b"half\n");
    }
    let lines = server.wait_for_connections(100);
    let killed = |line: &&tlssrv_testing::Line| line.value("end") == "command: killed by SIGKILL";
    assert_eq!(lines.iter().filter(killed).count(), 100);
}

#[test]
fn everything_that_a_killed_command_wrote_is_sent() {
    for stdio in STDIO {
        let server = script(stdio, "head -c 8388608 /dev/zero; kill -9 $$");
        assert_cut(&mut server.connect(""), &vec![0; 8 << 20]);
        let mut client = server.connect("");
        client.close_notify();
        assert_cut(&mut client, &vec![0; 8 << 20]);
    }
}

#[test]
fn a_command_that_says_nothing_and_is_killed_gets_no_close_notify() {
    let server = script(STDIO[0], "read x; kill -9 $$");
    let mut client = server.connect("");
    client.send(b"\n");
    assert_cut(&mut client, b"");
}

#[test]
fn an_exit_status_is_the_verdict_of_the_command_and_no_cut() {
    // In the last one, the shell outlives what was killed, and says so by its own status.
    for (end, status) in [
        ("exit 1", "1"),
        ("exit 143", "143"),
        ("sh -c 'kill -9 $$'; exit $?", "137"),
    ] {
        for stdio in STDIO {
            let server = script(stdio, &format!("echo all; {end}"));
            server.connect("").read_to_end().assert_whole(b"all\n");
            let line = server.wait_for_connection();
            assert_eq!((line.value("end"), line.value("exit")), ("closed", status));
        }
    }
}

#[test]
fn a_child_that_finishes_the_output_of_a_killed_command_does_not_make_it_whole() {
    for stdio in STDIO {
        let server = script(
            stdio,
            r#"exec 3<&0; { read x; echo "$x"; } <&3 3<&- & echo now; kill -9 $$"#,
        );
        let mut client = server.connect("");
        assert_eq!(client.read_line(), "now");
        eventually("the command is gone", || {
            server.commands().is_empty().then_some(())
        });
        client.send(b"late\n");
        assert_cut(&mut client, b"late\n");
    }
}

#[test]
fn a_command_that_closes_its_output_and_lives_on_delays_nothing() {
    for stdio in STDIO {
        let server = script(stdio, "echo all; exec <&- >&-; exec sleep 60");
        let times = (0..5).map(|_| {
            let mut client = server.connect("");
            assert_eq!(client.read_line(), "all");
            let begun = Instant::now();
            client.read_close_notify();
            begun.elapsed()
        });
        // Less than tlssrv waits for a command that is about to exit, where this machine is not busy for once.
        let time = times.min().unwrap();
        assert!(time < Duration::from_millis(90), "{time:?}");
        assert_eq!(server.commands().len(), 5);
    }
}

#[test]
fn a_command_that_never_comes_to_its_end_holds_up_the_client_for_a_second() {
    if missing(&["python3"]) {
        return;
    }
    // The first thread has ended, so that the process looks as if it were about to exit; another one closes the
    // descriptors and lives on.
    const HALF_DEAD: &str = "
import ctypes, os, platform, threading, time
libc = ctypes.CDLL(None)
def live_on():
    time.sleep(0.1)
    os.write(1, b'all')
    os.close(0)
    os.close(1)
    time.sleep(60)
threading.Thread(target=live_on).start()
libc.syscall({'x86_64': 60, 'aarch64': 93}[platform.machine()], 0)
";
    let server = Server::of(&["python3", "-c", HALF_DEAD]);
    let mut client = server.connect("");
    assert_eq!(client.read_exactly(3), b"all");
    let begun = Instant::now();
    client.read_close_notify();
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(server.commands().len(), 1);
}

#[test]
fn without_proc_a_killed_command_gets_no_close_notify_and_one_that_lives_on_does() {
    if missing(&["unshare"]) {
        return;
    }
    if !is_root() {
        return skip("only root can hide /proc");
    }
    let hidden = r#"mount -t tmpfs none /proc && exec "$0" "$@""#;
    let command =
        "read x; echo half; case $x in kill) kill -9 $$;; *) exec <&- >&-; sleep 60;; esac";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c", hidden, tlssrv_path()])
        .args(["--listen", "127.0.0.1:0", "-c", "cert.pem"])
        .args(["sh", "-c", command]);
    let server = Server::run(Site::new(), &mut unshare);
    for _ in 0..20 {
        let mut client = server.connect("");
        client.send(b"kill\n");
        assert_cut(&mut client, b"half\n");
    }
    let mut client = server.connect("");
    client.send(b"live\n");
    client.read_to_end().assert_whole(b"half\n");
}
