//! `git daemon` behind tlssrv.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::tls_client;
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::{Server, Site};

#[test]
fn a_repository_is_cloned_through_git_daemon_and_fetched_from_again() {
    if missing(&["git", "socat"]) {
        return;
    }
    let site = Site::new();
    let (at, work) = (site.path().to_owned(), site.file("work"));
    make_repository(&at, &work);
    let proxy = write_proxy(&site);
    let base = format!("--base-path={}", at.display());
    let listen = ["--listen", "127.0.0.1:0", "-c", "cert.pem"];
    let daemon = ["git", "daemon", "--inetd", "--export-all", &base];
    let server = Server::start_in(site, &[&listen[..], &daemon[..]].concat());
    let url = format!("git://a.example:{}/project.git", server.address().port());

    run(git(&at)
        .env("GIT_PROXY_COMMAND", &proxy)
        .args(["clone", "--quiet", &url, "clone"]))
    .succeeded();
    let clone = at.join("clone");
    assert_same(&work, &clone);

    commit(&work, "one more", &[7; 1000]);
    said(&work, &["push", "--quiet", "origin", "main"]);
    said(&clone, &["config", "core.gitProxy", &proxy]);
    said(&clone, &["pull", "--quiet", "--ff-only"]);
    assert_same(&work, &clone);

    for line in server.wait_for_connections(2) {
        assert_eq!(line.value("sni"), "a.example");
        assert_eq!((line.value("exit"), line.value("end")), ("0", "closed"));
    }
}

#[test]
fn git_refuses_a_server_whose_certificate_has_another_name() {
    if missing(&["git", "socat"]) {
        return;
    }
    let site = Site::new();
    let (at, proxy) = (site.path().to_owned(), write_proxy(&site));
    let server = Server::start_in(
        site,
        &["--listen", "127.0.0.1:0", "-c", "cert.pem", "git", "daemon"],
    );
    let url = format!("git://b.example:{}/project.git", server.address().port());
    let ran = run(git(&at)
        .env("GIT_PROXY_COMMAND", &proxy)
        .args(["clone", &url, "clone"]));
    assert!(!ran.status.success());
    assert!(!at.join("clone").exists(), "{}", ran.stderr);
}

/// The program that git starts with a host and a port to connect to.
fn write_proxy(site: &Site) -> String {
    let file = site.file("proxy");
    let client = tls_client("$1", "$2", &site.file("cert.pem"));
    site.write_program("proxy", &format!("#!/bin/sh\n{client}\n"));
    file.to_str().unwrap().to_owned()
}

/// `project.git`, with some history, and the work tree that it comes from.
pub(crate) fn make_repository(at: &Path, work: &Path) {
    let init = ["init", "--quiet", "--initial-branch=main"];
    said(at, &[&init[..], &["--bare", "project.git"]].concat());
    said(at, &[&init[..], &["work"]].concat());
    let mut noise = 0_u32;
    let noise = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0]
    });
    // More than all buffers between the two hold, and incompressible.
    commit(work, "first", &noise.take(4 << 20).collect::<Vec<u8>>());
    commit(work, "second", b"text\n");
    said(work, &["tag", "-a", "-m", "a tag", "v1"]);
    said(work, &["remote", "add", "origin", "../project.git"]);
    said(
        work,
        &["push", "--quiet", "--follow-tags", "origin", "main"],
    );
}

fn commit(work: &Path, message: &str, bytes: &[u8]) {
    fs::write(work.join(message), bytes).unwrap();
    said(work, &["add", "."]);
    said(work, &["commit", "--quiet", "-m", message]);
}

/// Fails unless a clone is complete and has everything that the work tree has.
pub(crate) fn assert_same(work: &Path, clone: &Path) {
    said(clone, &["fsck", "--full", "--strict"]);
    assert_eq!(said(clone, &["status", "--porcelain"]), "");
    let facts: [&[&str]; 3] = [
        &["rev-parse", "HEAD", "v1"],
        &["rev-list", "--objects", "--all"],
        &["ls-tree", "-r", "HEAD"],
    ];
    for fact in facts {
        assert_eq!(said(clone, fact), said(work, fact));
    }
}

/// The output of git in a directory.
fn said(at: &Path, args: &[&str]) -> String {
    run(git(at).args(args)).text()
}

/// git, without the configuration of the machine and the user.
pub(crate) fn git(at: &Path) -> Command {
    let mut git = program("git");
    git.current_dir(at)
        .env("HOME", at)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0");
    for who in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{who}_NAME"), "A")
            .env(format!("GIT_{who}_EMAIL"), "a@a.example");
    }
    git
}
