//! The exit statuses and messages in the manual.

use std::collections::BTreeSet;
use std::process::Command;

use tlssrv::Exit;

use crate::TLSSRV_8;
use tlssrv_testing::programs::{Ran, run};
use tlssrv_testing::{Site, tlssrv_path};

#[test]
fn the_page_has_the_exit_statuses_and_no_others() {
    let page = TLSSRV_8.items_in(&["EXIT STATUS"]).map(|item| item.tag);
    let known = statuses().map(|status| status.to_string());
    let page: BTreeSet<String> = page.collect();
    assert_eq!(page, known.collect());
}

#[test]
fn the_messages_shown_with_a_status_are_those_of_the_program() {
    let line = ["--listen", "127.0.0.1:0"];
    let cert = ["-c", "cert.pem"];
    assert_shown(96, &["-f", "tlssrv.toml"]);
    assert_shown(97, &[&line[..], &["-c", "none.pem", "cat"]].concat());
    assert_shown(100, &["--lisen"]);
    assert_shown(126, &[&line[..], &cert, &["./cert.pem"]].concat());
    assert_shown(127, &[&line[..], &cert, &["imapd"]].concat());
}

#[test]
fn a_mistake_in_a_table_is_shown_as_in_the_manual() {
    let table = "[[listen]]\nname = \"https\"\naddress = \":443\"\nunknown-name = \"deny\"\n";
    let ran = start(table, &["-f", "tlssrv.toml", "--check"]);
    let shown = &TLSSRV_8.displays("DIAGNOSTICS")[0];
    assert!(ran.stderr.contains(shown), "{}", ran.stderr);
}

/// Fails unless these arguments lead to this status and to the message that the manual shows for it.
fn assert_shown(status: i32, args: &[&str]) {
    let ran = start("\n\n\nenigne-user = \"tlssrv\"\n", args);
    let mut items = TLSSRV_8.items_in(&["EXIT STATUS"]);
    let item = items.find(|item| item.tag == status.to_string()).unwrap();
    let said = ran.stderr.lines().any(|line| line == item.examples[0]);
    assert!(said, "{}\n{}", item.examples[0], ran.stderr);
    assert_eq!(ran.status.code(), Some(status));
}

fn start(table: &str, args: &[&str]) -> Ran {
    let site = Site::new().with_file("tlssrv.toml", table);
    run(Command::new(tlssrv_path())
        .current_dir(site.path())
        .args(args))
}

/// The exit statuses of tlssrv itself.
fn statuses() -> impl Iterator<Item = u8> {
    let every = [
        Exit::Success,
        Exit::BadConfiguration,
        Exit::CannotStart,
        Exit::Handshake,
        Exit::Usage,
        Exit::System,
        Exit::NotExecutable,
        Exit::NotFound,
    ];
    // A status that is added here must be added above, too.
    every.into_iter().map(|exit| match exit {
        Exit::Command(_) => unreachable!("it is the command's own"),
        Exit::Success
        | Exit::BadConfiguration
        | Exit::CannotStart
        | Exit::Handshake
        | Exit::Usage
        | Exit::System
        | Exit::NotExecutable
        | Exit::NotFound => u8::from(exit),
    })
}
