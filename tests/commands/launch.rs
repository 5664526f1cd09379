//! Commands that cannot be started, and the standard error of commands.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tlssrv_testing::{Host, Line, Server, Site};

/// A host whose command is `./program`, in a directory of its own.
const PROGRAM: Host<'_> = Host {
    top: "",
    log: "",
    limits: "",
    host: "directory = \"data\"",
    command: &["./program"],
};

fn site(program: &str) -> Site {
    let site = Site::new().with_file("program", program);
    fs::set_permissions(site.file("program"), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(site.file("data")).unwrap();
    site
}

/// Fails unless the client gets close_notify and the log has this errno.
fn is_reported(server: &Server, errno: &str) {
    let mut client = server.connect("");
    let received = client.read_to_end();
    received.assert_whole(b"");
    drop(client);
    let line = server.wait_for_connection();
    assert!(line.value("end").starts_with("launch: "), "{line:?}");
    assert!(line.value("end").contains(errno), "{line:?}");
    assert_eq!((line.get("pid"), line.get("exit")), (None, None));
    assert_eq!(line.level, "err");
}

#[test]
fn a_removed_command_is_logged_with_its_errno_and_the_client_gets_close_notify() {
    let server = PROGRAM.start_in(site("#!/bin/sh\necho hello\n"));
    fs::remove_file(server.site.file("program")).unwrap();
    is_reported(&server, "ENOENT");
}

#[test]
fn a_command_that_is_no_program_is_logged_with_its_errno() {
    let server = PROGRAM.start_in(site("\x7fELF, but no more"));
    is_reported(&server, "ENOEXEC");
}

#[test]
fn a_command_without_its_interpreter_is_logged_with_its_errno() {
    let server = PROGRAM.start_in(site("#!/no/such/interpreter\n"));
    is_reported(&server, "ENOENT");
}

#[test]
fn a_removed_directory_is_logged_with_its_errno() {
    let server = PROGRAM.start_in(site("#!/bin/sh\necho hello\n"));
    fs::remove_dir(server.site.file("data")).unwrap();
    is_reported(&server, "ENOENT");
    assert!(
        server
            .wait_for_connection()
            .value("end")
            .contains("directory")
    );
}

#[test]
fn a_command_that_failed_to_start_runs_once_it_exists_again() {
    let server = PROGRAM.start_in(site("#!/bin/sh\necho hello\n"));
    fs::rename(server.site.file("program"), server.site.file("away")).unwrap();
    is_reported(&server, "ENOENT");
    fs::rename(server.site.file("away"), server.site.file("program")).unwrap();
    assert_eq!(server.connect("").read_line(), "hello");
}

/// The standard error of a command in the log, with the connection id of each line.
fn said(server: &Server) -> Vec<(String, String)> {
    let lines = server.lines();
    let lines = lines.iter().filter(|line| line.contains("stderr="));
    let lines = lines.map(|line| Line::parse(line));
    lines
        .map(|l| (l.value("id").to_owned(), l.value("stderr").to_owned()))
        .collect()
}

fn complaining(stderr: &str, script: &str) -> Server {
    let host = format!("stderr = \"{stderr}\"");
    Host {
        host: &host,
        command: &["sh", "-c", script],
        ..Host::default()
    }
    .start()
}

/// Fails unless the client gets exactly these bytes.
fn client_gets(server: &Server, expected: &[u8]) -> Line {
    let mut client = server.connect("");
    let received = client.read_to_end();
    received.assert_whole(expected);
    drop(client);
    server.wait_for_connection()
}

#[test]
fn the_standard_error_of_a_command_is_logged_line_by_line_with_the_connection_id() {
    let script = r#"printf 'one\ntwo words\n\033[31mred\n' >&2; echo answer; printf partial >&2"#;
    let server = complaining("log", script);
    let line = client_gets(&server, b"answer\n");
    let id = line.value("id");
    let expected = ["one", "two words", "\u{1b}[31mred", "partial"];
    let expected = expected.map(|text| (id.to_owned(), text.to_owned()));
    // All of it comes before the line of the connection.
    assert_eq!(said(&server), expected);
    // No control character reaches the log.
    assert!(server.lines().iter().all(|line| !line.contains('\u{1b}')));
}

#[test]
fn an_endless_line_of_standard_error_is_cut() {
    let server = complaining("log", "head -c 5000 /dev/zero | tr '\\0' x >&2");
    client_gets(&server, b"");
    let said = said(&server);
    assert!(said.len() > 1 && said.iter().all(|(_, text)| text.len() <= 1024));
    let all: usize = said.iter().map(|(_, text)| text.len()).sum();
    assert_eq!(all, 5000);
}

#[test]
fn a_flood_of_standard_error_is_limited_and_the_log_counts_what_is_left_out() {
    const COUNT: u64 = 20_000;
    let server = complaining("log", &format!("seq {COUNT} >&2"));
    client_gets(&server, b"");
    let left_out = |lines: &[String]| -> u64 {
        let counts = lines.iter().filter_map(|line| {
            let (_, rest) = line.split_once("left out ")?;
            rest.ends_with("kind: stderr")
                .then(|| rest.split(' ').next()?.parse::<u64>().ok())?
        });
        counts.sum()
    };
    tlssrv_testing::eventually("every complaint is written or counted", || {
        let written = said(&server).len() as u64;
        (written + left_out(&server.lines()) == COUNT).then_some(())
    });
    assert!(
        said(&server).len() as u64 <= COUNT / 2,
        "{}",
        said(&server).len()
    );
}

#[test]
fn an_inherited_standard_error_is_that_of_tlssrv() {
    let server = complaining("inherit", "echo complaint >&2; echo answer");
    client_gets(&server, b"answer\n");
    server.wait_for_line("the complaint, bare", |line| line == "complaint");
}

#[test]
fn stderr_null_discards_standard_error() {
    let server = complaining("null", "echo complaint >&2 && echo answer");
    client_gets(&server, b"answer\n");
    assert!(
        server
            .lines()
            .iter()
            .all(|line| !line.contains("complaint"))
    );
}

#[test]
fn a_grandchild_that_keeps_standard_error_does_not_hold_the_connection() {
    let server = complaining("log", "sleep 20 >/dev/null </dev/null & echo answer");
    let line = client_gets(&server, b"answer\n");
    assert_eq!((line.value("end"), line.value("exit")), ("closed", "0"));
}
