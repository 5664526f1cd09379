//! The mkfile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compat;
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::{Site, tlssrv_path};

#[test]
fn mk_builds_a_release_with_locked_dependencies() {
    let Some(site) = site() else { return };
    let said = run(&mut with_cargo(&site, "all")).text();
    assert!(said.ends_with("build --release --locked\n"), "{said}");
    let said = run(mk(&site, &[])
        .env("CARGO", site.file("cargo"))
        .env("CARGOFLAGS", "--offline -j1"))
    .text();
    assert!(said.ends_with("build --release --offline -j1\n"), "{said}");
}

#[test]
fn mk_clean_removes_what_cargo_has_built() {
    let Some(site) = site() else { return };
    let said = run(&mut with_cargo(&site, "clean")).text();
    assert!(said.ends_with("clean --release\n"), "{said}");
}

#[test]
fn mk_ends_with_an_error_when_something_fails() {
    let Some(site) = site() else { return };
    site.write_program("cargo", "#!/bin/sh\nexit 1\n");
    for target in ["all", "install", "test", "clean", "nuke"] {
        let ran = run(mk(&site, &[target]).env("CARGO", site.file("cargo")));
        assert!(!ran.status.success(), "{target}");
    }
    for target in ["all", "install", "test"] {
        let ran = run(mk(&site, &[target]).env("TLSSRV", "/no/such"));
        assert!(!ran.status.success(), "{target}");
        assert!(ran.stderr.contains("no program /no/such"), "{}", ran.stderr);
    }
    assert!(!site.file("bin").exists());
}

#[test]
fn mk_install_copies_what_mk_has_built() {
    let Some(site) = site() else { return };
    // A cargo that builds by copying.
    let target = site.file("target");
    let cargo = format!(
        "#!/bin/sh\nmkdir -p {0}/release; cp {1} {0}/release/\n",
        target.display(),
        tlssrv_path()
    );
    site.write_program("cargo", &cargo);
    run(mk(&site, &["install"])
        .env("CARGO", site.file("cargo"))
        .env("CARGO_TARGET_DIR", &target)
        .env("BIN", site.file("to")))
    .succeeded();
    assert_runs(&site.file("to/tlssrv"));
}

#[test]
fn mk_installs_into_the_bin_of_the_architecture() {
    let Some(site) = site() else { return };
    let machine = run(program("uname").arg("-m")).text();
    let usual = match machine.trim_end() {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    run(mk(&site, &["install"]).env("TLSSRV", tlssrv_path())).succeeded();
    for file in ["tlssrv", "listen", "listen1"] {
        assert_runs(&site.file("bin").join(usual).join(file));
    }
    run(mk(&site, &["install"])
        .env("TLSSRV", tlssrv_path())
        .env("objtype", "mips"))
    .succeeded();
    assert_runs(&site.file("bin/mips/tlssrv"));
}

#[test]
fn what_mk_has_installed_works_and_is_removed_by_nuke() {
    let Some(site) = site() else { return };
    let (bin, service) = (site.file("a bin"), site.file("service"));
    let mk = |target| {
        let mut mk = mk(&site, &[target]);
        run(mk
            .env("TLSSRV", tlssrv_path())
            .env("BIN", &bin)
            .env("SERVICE", &service))
    };
    // Twice, because it replaces an installed program, even one that is running.
    for _ in 0..2 {
        mk("install").succeeded();
    }
    let tlssrv = run(Command::new(bin.join("tlssrv")).arg("--version")).text();
    assert_eq!(
        tlssrv,
        run(Command::new(tlssrv_path()).arg("--version")).text()
    );
    for file in ["listen", "listen1"] {
        assert_eq!(
            fs::read(bin.join(file)).unwrap(),
            fs::read(compat(file)).unwrap()
        );
    }
    assert_eq!(names(&service), names(&compat("service")));
    assert_runs(&service.join("tcp993"));

    // A service file that the user has changed is left alone.
    fs::write(service.join("tcp993"), "#!/usr/bin/env rc\necho mine\n").unwrap();
    let again = mk("install").succeeded();
    assert!(
        again.stderr.contains("tcp993 is there already, and stays"),
        "{}",
        again.stderr
    );
    fs::write(bin.join("other"), "").unwrap();
    let nuked = mk("nuke").succeeded();
    assert!(
        nuked.stderr.contains("tcp993 has been changed, and stays"),
        "{}",
        nuked.stderr
    );
    assert_eq!(names(&bin), ["other"]);
    assert_eq!(names(&service), ["tcp993"]);
    assert!(Path::new(tlssrv_path()).exists());
    // Nothing is left to remove, which is no error.
    mk("nuke").succeeded();
    mk("clean").succeeded();
}

#[test]
fn without_service_no_service_is_installed() {
    let Some(site) = site() else { return };
    let bin = site.file("to");
    let said = run(mk(&site, &["install"])
        .env("TLSSRV", tlssrv_path())
        .env("BIN", &bin))
    .text();
    assert_eq!(names(&bin), ["listen", "listen1", "tlssrv"]);
    assert!(!said.contains("tcp993"), "{said}");
}

#[test]
fn mk_test_serves_a_client() {
    let Some(site) = site() else { return };
    if missing(&["openssl"]) || (missing(&["tcpserver"]) && missing(&["socat"])) {
        return;
    }
    // With any default shell of mk.
    for shell in ["sh", "rc"] {
        let said = run(mk(&site, &["test"])
            .env("TLSSRV", tlssrv_path())
            .env("MKSHELL", shell))
        .text();
        assert!(
            said.ends_with("ok: hello from 127.0.0.1 by TLSv1.3\n"),
            "{said}"
        );
    }
    // A program that does not serve fails the test.
    site.write_program("broken", "#!/bin/sh\nexit 1\n");
    let ran = run(mk(&site, &["test"]).env("TLSSRV", site.file("broken")));
    assert!(!ran.status.success());
    assert!(ran.stderr.contains("no answer"), "{}", ran.stderr);
    assert_eq!(names(&site.file("tmp")), [""; 0]);
}

/// A home directory; `None` where mk is not installed.
fn site() -> Option<Site> {
    if missing(&["mk"]) {
        return None;
    }
    let site = Site::new();
    fs::create_dir(site.file("tmp")).unwrap();
    Some(site)
}

/// mk, in `mkfile-compat`.
fn mk(site: &Site, targets: &[&str]) -> Command {
    let mut mk = program("mk");
    mk.args(targets)
        .current_dir(compat(""))
        .env("HOME", site.path())
        .env("TMPDIR", site.file("tmp"));
    mk
}

/// mk, with a cargo that prints its arguments.
fn with_cargo(site: &Site, target: &str) -> Command {
    site.write_program(
        "cargo",
        "#!/bin/sh\nls Cargo.lock >/dev/null && echo \"$@\"\n",
    );
    let mut mk = mk(site, &[target]);
    mk.env("CARGO", site.file("cargo"));
    mk
}

fn assert_runs(file: &PathBuf) {
    let mode = fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "{}", file.display());
}

/// The names in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
