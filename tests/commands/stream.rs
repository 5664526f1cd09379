//! The stream between a client and its command, and the ways in which it ends.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, AlertDescription};

use tlssrv_testing::{Dial, Ended, Host, Server, Socket, eventually};

/// Both kinds of `stdio`.
const STDIO: [&str; 2] = [r#"stdio = "socket""#, r#"stdio = "pipe""#];

/// A server of this shell script; it starts where the configuration is.
fn script(limits: &str, host: &str, script: &str) -> Server {
    let host = format!("{host}\ndirectory = \".\"");
    Host {
        limits,
        host: &host,
        command: &["sh", "-c", script],
        ..Host::default()
    }
    .start()
}

/// Bytes that do not repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

#[test]
fn sixty_four_mebibytes_each_way_at_once_come_back_the_same() {
    let data = noise(64 << 20);
    for stdio in STDIO {
        let server = script("", stdio, "exec cat");
        let received = server.connect("").exchange(&data);
        received.assert_whole(&data);
        let line = server.wait_for_connection();
        assert_eq!(
            (line.number("in"), line.number("out")),
            (64 << 20, 64 << 20)
        );
        assert_eq!(line.value("end"), "closed");
    }
}

#[test]
fn sixteen_mebibytes_each_way_over_tls_1_2_come_back_the_same() {
    let data = noise(16 << 20);
    let server = Server::of(&["cat"]);
    let received = Dial::version(&TLS12)
        .connect(server.address(), "")
        .exchange(&data);
    received.assert_whole(&data);
}

#[test]
fn single_bytes_are_passed_on_at_once() {
    for stdio in STDIO {
        let server = script("", stdio, "exec cat");
        let mut client = server.connect("");
        for byte in noise(500) {
            client.send(&[byte]);
            assert_eq!(client.read_exactly(1), [byte]);
        }
        client.close();
        let line = server.wait_for_connection();
        assert_eq!((line.number("in"), line.number("out")), (500, 500));
    }
}

#[test]
fn many_single_bytes_come_back_the_same() {
    let data = noise(20_000);
    let server = Server::of(&["dd", "bs=1", "status=none"]);
    let mut client = server.connect("");
    let records = data.clone();
    for byte in records {
        client.send(&[byte]);
    }
    client.close_notify();
    let received = client.read_to_end();
    received.assert_whole(&data);
}

#[test]
fn after_close_notify_the_command_reads_end_of_file_and_its_answer_is_still_sent() {
    for version in ALL_VERSIONS {
        for stdio in STDIO {
            let server = script("", stdio, "cat; echo after");
            let mut client = Dial::version(version).connect(server.address(), "");
            client.send(b"before\n");
            client.close_notify();
            let received = client.read_to_end();
            received.assert_whole(b"before\nafter\n");
            let line = server.wait_for_connection();
            assert_eq!(line.value("end"), "closed");
            assert_eq!(line.value("exit"), "0");
        }
    }
}

#[test]
fn after_close_notify_a_command_that_does_not_end_has_linger() {
    let server = script(r#"linger = "200ms""#, "", "cat; exec sleep 20");
    let start = Instant::now();
    let mut client = server.connect("");
    client.send(b"hello\n");
    client.close_notify();
    let received = client.read_to_end();
    received.assert_whole(b"hello\n");
    assert_eq!(server.wait_for_connection().value("end"), "timeout");
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn linger_restarts_whenever_the_command_writes() {
    let script_of_two_seconds = "cat; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; echo $i; done";
    let server = script(r#"linger = "1s""#, "", script_of_two_seconds);
    let mut client = server.connect("");
    client.close_notify();
    let received = client.read_to_end();
    assert_eq!(received.bytes, b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
    assert_eq!(server.wait_for_connection().value("end"), "closed");
}

#[test]
fn everything_a_command_wrote_is_sent_then_close_notify_then_fin() {
    for version in ALL_VERSIONS {
        for stdio in STDIO {
            // It exits as soon as its last byte is in the pipe or socket.
            let server = script("", stdio, "exec head -c 5000000 /dev/zero");
            let mut client = Dial::version(version).connect(server.address(), "");
            let received = client.read_to_end(); // fails unless FIN follows close_notify
            assert_eq!(received.bytes.len(), 5_000_000);
            assert_eq!(received.ended, Ended::CloseNotify);
            drop(client);
            let line = server.wait_for_connection();
            assert_eq!(line.number("out"), 5_000_000);
            assert_eq!(line.value("end"), "closed");
        }
    }
}

#[test]
fn nothing_is_lost_when_a_command_exits_without_having_read() {
    let data = noise(2 << 20);
    for stdio in STDIO {
        let server = script("", stdio, "exec head -c 3000000 /dev/zero");
        let received = server.connect("").exchange(&data);
        assert_eq!(received.bytes.len(), 3_000_000);
        assert_eq!(received.ended, Ended::CloseNotify);
        assert_eq!(server.wait_for_connection().value("end"), "closed");
    }
}

#[test]
fn what_a_client_sends_after_the_command_has_exited_is_read_and_dropped() {
    for stdio in STDIO {
        let server = script("", stdio, "echo bye");
        let mut client = server.connect("");
        assert_eq!(client.read_to_end().bytes, b"bye\n");
        // More than all buffers hold, so it must be read; and it is not answered with RST.
        client.send(&noise(16 << 20));
        client.close_notify();
        drop(client);
        let line = server.wait_for_connection();
        assert_eq!(line.value("end"), "closed");
        assert_eq!(line.number("in"), 0);
    }
}

#[test]
fn after_the_command_has_exited_a_client_that_does_not_close_has_linger() {
    let server = script(r#"linger = "200ms""#, "", "echo bye");
    let mut client = server.connect("");
    client.read_close_notify();
    assert_eq!(server.wait_for_connection().value("end"), "closed");
    drop(client);
}

#[test]
fn a_command_that_closes_only_its_stdout_goes_on_reading() {
    let server = script(
        "",
        r#"stdio = "pipe""#,
        r#"exec >&-; read x; echo "$x" >got"#,
    );
    let mut client = server.connect("");
    client.read_close_notify();
    client.send(b"late\n");
    client.close_notify();
    let line = server.wait_for_connection();
    assert_eq!(fs::read(server.site.file("got")).unwrap(), b"late\n");
    assert_eq!((line.value("end"), line.value("exit")), ("closed", "0"));
    assert_eq!(line.number("in"), 5);
}

#[test]
fn a_grandchild_that_holds_the_stream_is_served_to_its_end() {
    for stdio in STDIO {
        // A shell gives background commands /dev/null unless they are redirected.
        let leaves = r#"exec 3<&0; { read x; echo "late $x"; } <&3 3<&- & echo now; exit 3"#;
        let server = script("", stdio, leaves);
        let mut client = server.connect("");
        assert_eq!(client.read_line(), "now");
        eventually("the command is gone", || {
            server.commands().is_empty().then_some(())
        });
        client.send(b"hello\n");
        assert_eq!(client.read_line(), "late hello");
        client.read_close_notify();
        drop(client);
        let line = server.wait_for_connection();
        assert_eq!((line.value("end"), line.value("exit")), ("closed", "3"));
    }
}

#[test]
fn fin_without_close_notify_is_end_of_file_for_the_command_and_truncated_in_the_log() {
    for version in ALL_VERSIONS {
        for stdio in STDIO {
            let server = script("", stdio, "echo ready; cat >got; echo eof >>got");
            let mut client = Dial::version(version).connect(server.address(), "");
            assert_eq!(client.read_line(), "ready");
            client.send(b"hello\n");
            drop(client); // FIN, and no close_notify before it
            let line = server.wait_for_connection();
            assert_eq!((line.value("end"), line.value("exit")), ("truncated", "0"));
            assert_eq!(fs::read(server.site.file("got")).unwrap(), b"hello\neof\n");
        }
    }
}

#[test]
fn fin_without_close_notify_still_lets_the_answer_through() {
    let server = script("", "", "cat; echo after");
    let mut client = server.connect("");
    client.send(b"before\n");
    client.socket.shutdown_write();
    let received = client.read_to_end();
    received.assert_whole(b"before\nafter\n");
    drop(client);
    assert_eq!(server.wait_for_connection().value("end"), "truncated");
}

#[test]
fn with_on_truncation_kill_fin_without_close_notify_kills_the_command() {
    for stdio in STDIO {
        let host = format!("{stdio}\non-truncation = \"kill\"");
        // The children of the command, too.
        let server = script("", &host, "echo ready; cat >got; echo survived >mark");
        let mut client = server.connect("");
        assert_eq!(client.read_line(), "ready");
        drop(client);
        let line = server.wait_for_connection();
        assert_eq!(
            (line.value("end"), line.value("exit")),
            ("truncated", "SIGKILL")
        );
        assert!(!server.site.file("mark").exists());
    }
}

#[test]
fn with_on_truncation_kill_close_notify_kills_nothing() {
    let server = script("", r#"on-truncation = "kill""#, "cat; echo survived");
    let mut client = server.connect("");
    client.close_notify();
    assert_eq!(client.read_to_end().bytes, b"survived\n");
    let line = server.wait_for_connection();
    assert_eq!((line.value("end"), line.value("exit")), ("closed", "0"));
}

#[test]
fn a_reset_is_end_of_file_for_the_command_and_reset_in_the_log() {
    for stdio in STDIO {
        let server = script("", stdio, "echo ready; cat; echo eof >got");
        let mut client = server.connect("");
        assert_eq!(client.read_line(), "ready");
        client.socket.reset();
        let line = server.wait_for_connection();
        assert_eq!(line.value("end"), "reset");
        assert_eq!(fs::read(server.site.file("got")).unwrap(), b"eof\n");
    }
}

#[test]
fn a_tampered_record_gets_bad_record_mac_and_the_command_reads_end_of_file() {
    for version in [&TLS13, &TLS12] {
        for stdio in STDIO {
            let server = script("", stdio, "echo ready; cat >got; echo eof >>got");
            let mut client = Dial::version(version).connect(server.address(), "");
            assert_eq!(client.read_line(), "ready");
            client.send(b"hello\n");
            let forged = [&[23, 3, 3, 0, 40][..], &[0x55; 40]].concat();
            client.socket.write_all(&forged).unwrap();
            let ended = client.read_to_end().ended;
            assert_eq!(ended, Ended::Alert(AlertDescription::BadRecordMac));
            drop(client);
            let line = server.wait_for_connection();
            assert!(line.value("end").starts_with("tls: "), "{line:?}");
            assert_eq!(line.value("exit"), "0");
            assert_eq!(fs::read(server.site.file("got")).unwrap(), b"hello\neof\n");
        }
    }
}

#[test]
fn after_a_fatal_alert_of_the_client_the_command_reads_end_of_file() {
    let server = script("", "", "echo ready; cat; echo eof >got");
    let mut client = Dial::version(&TLS13).connect(server.address(), "");
    assert_eq!(client.read_line(), "ready");
    // Bad input makes rustls send an alert; the test takes the record of it.
    let mut record = Vec::new();
    let mut unreadable: &[u8] = &[
        23, 3, 3, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    client.tls.read_tls(&mut unreadable).unwrap();
    client.tls.process_new_packets().unwrap_err();
    client.tls.write_tls(&mut record).unwrap();
    client.socket.write_all(&record).unwrap();
    // No alert answers an alert.
    let (rest, _) = client.socket.read_to_end();
    assert!(rest.is_empty(), "{rest:?}");
    drop(client);
    let line = server.wait_for_connection();
    assert_eq!(line.value("end"), "tls: client sent alert bad_record_mac");
    assert_eq!(fs::read(server.site.file("got")).unwrap(), b"eof\n");
}

#[test]
fn an_idle_connection_ends_with_close_notify_after_idle() {
    let server = script(r#"idle = "300ms""#, "", "cat; echo eof >got");
    let mut client = server.connect("");
    client.send(b"hello\n");
    let received = client.read_to_end();
    received.assert_whole(b"hello\n");
    drop(client);
    let line = server.wait_for_connection();
    assert_eq!(line.value("end"), "timeout");
    assert_eq!(line.value("exit"), "0");
    assert_eq!(fs::read(server.site.file("got")).unwrap(), b"eof\n");
}

#[test]
fn a_connection_with_traffic_is_not_idle() {
    let server = script(
        r#"idle = "1s""#,
        "",
        "for i in 1 2 3 4 5 6 7 8; do sleep 0.2; echo $i; done; cat",
    );
    let mut client = server.connect("");
    for i in 1..=8 {
        assert_eq!(client.read_line(), i.to_string());
    }
    client.close();
    assert_eq!(server.wait_for_connection().value("end"), "closed");
}

#[test]
fn what_a_client_sends_in_one_flight_with_its_finished_reaches_the_command() {
    for stdio in STDIO {
        let server = script("", stdio, "exec cat");
        let socket = Socket::connect(server.address());
        let mut client = Dial::version(&TLS13).start(socket, "");
        client.flush().unwrap();
        while client.tls.is_handshaking() {
            client.tls.read_tls(&mut client.socket).unwrap();
            client.tls.process_new_packets().unwrap();
        }
        client.tls.writer().write_all(b"early\n").unwrap();
        client.tls.send_close_notify();
        let mut flight = Vec::new();
        while client.tls.wants_write() {
            client.tls.write_tls(&mut flight).unwrap();
        }
        client.socket.write_all(&flight).unwrap();
        let received = client.read_to_end();
        received.assert_whole(b"early\n");
        assert_eq!(server.wait_for_connection().value("end"), "closed");
    }
}
