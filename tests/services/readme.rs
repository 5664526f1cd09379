//! The examples of the README, as they are printed but for ports and directories.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{Ran, missing, program, run};
use tlssrv_testing::{Client, Server, Site, skip, tlssrv_path};

const README: &str = include_str!("../../README.md");
const MANUAL: &str = include_str!("../../etc/man/tlssrv.8");

/// A section of the README, without its title.
fn section(title: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n{title}\n")).unwrap();
    rest.split("\n### ").next().unwrap()
}

/// The tables in a section.
fn tables(section: &str) -> Vec<&str> {
    let blocks = section.split("```toml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

/// The commands in a section: its indented blocks, each of which an empty line ends.
fn commands(section: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in section.lines() {
        let last = blocks.last_mut().unwrap();
        match line.strip_prefix("    ") {
            Some(line) => last.push_str(&format!("{line}\n")),
            None if last.is_empty() => {}
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// Runs a script in a site, as root would without sudo, and where nobody has set the name of the user.
fn sh(site: &Site, script: &str) -> Ran {
    let script = script.replace("sudo ", "");
    run(program("sh")
        .current_dir(site.path())
        .env_remove("USER")
        .args(["-e", "-c", &script]))
}

/// Fails unless `--check` accepts a table without a warning.
fn assert_fine(site: &Site, table: &str) {
    let ran = run(Command::new(tlssrv_path())
        .current_dir(site.path())
        .args(["-f", table, "--check"]));
    assert!(ran.status.success(), "{}", ran.stderr);
    assert!(!ran.stderr.contains("warning:"), "{}", ran.stderr);
}

/// The certificate of the section that the examples are in.
fn with_certificate() -> Site {
    let site = Site::new();
    sh(&site, &commands(section("## Three ways in"))[0]).succeeded();
    site
}

#[test]
fn the_starter_table_of_eight_lines_runs_as_it_is() {
    if missing(&["openssl"]) {
        return;
    }
    let table = tables(section("### A table of hosts"))[0];
    assert_eq!(table.lines().count(), 8);
    let example = include_str!("../../etc/examples/start.toml");
    assert_eq!(example.split_once("\n\n").unwrap().1, table);

    let site = with_certificate().with_file("tlssrv.toml", table);
    assert_fine(&site, "tlssrv.toml");
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let table = table
        .replace(":8443", "127.0.0.1:0")
        .replace("127.0.0.1:8080", &backend.local_addr().unwrap().to_string());
    let server = Server::with_config_in(site, &table);
    let echo = thread::spawn(move || {
        for _ in 0..2 {
            let (mut socket, _) = backend.accept().unwrap();
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            socket.write_all(&byte).unwrap();
        }
    });
    for name in ["localhost", "whatever.example"] {
        let mut client = Client::connect(server.address(), name);
        client.send(b"x");
        assert_eq!(client.read_exactly(1), b"x");
    }
    echo.join().unwrap();
}

#[test]
fn the_table_of_hosts_runs_as_it_is() {
    if missing(&["openssl", "busybox", "curl"]) {
        return;
    }
    if !is_root() {
        return skip("it needs root");
    }
    let section = section("### A table of hosts");
    let site = Site::new();
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let www = site.file("www");
    let there = |text: &str| text.replace("/srv/www", www.to_str().unwrap());
    let blocks = commands(section);
    let prepare = blocks.iter().find(|block| block.contains("openssl req"));
    sh(&site, &there(prepare.unwrap())).succeeded();
    let table = there(tables(section)[1]);
    let site = site.with_file("hosts.toml", &table);
    assert_fine(&site, "hosts.toml");

    let server = Server::with_config_in(site, &table.replace(":8443", "127.0.0.1:0"));
    let port = server.address().port().to_string();
    let ask = blocks.last().unwrap().replace("8443", &port);
    let said = sh(&server.site, &ask).text();
    assert!(said.starts_with("hello\n"), "{said}");
    let year = sh(&server.site, "date +%Y").text();
    assert!(said.contains(year.trim()), "{said}");
}

#[test]
fn the_example_of_pre_shared_keys_runs_as_it_is() {
    if missing(&["openssl"]) {
        return;
    }
    let blocks = commands(section("### Keys in place of certificates"));
    let [make, ask] = &blocks[..] else {
        panic!("{blocks:?}");
    };
    for line in make.lines().chain(ask.lines()) {
        assert!(MANUAL.contains(&format!("\n{line}\n")), "{line}");
    }
    let (key, serve) = make.trim_end().split_once('\n').unwrap();
    let site = Site::new();
    sh(&site, key).succeeded();
    let serve = serve
        .replace(":8444", "127.0.0.1:0")
        .replace("tlssrv ", &format!("exec {} ", tlssrv_path()));
    let server = Server::run(site, program("sh").env_remove("USER").args(["-c", &serve]));
    let port = server.address().port().to_string();
    let said = sh(&server.site, &ask.replace("8444", &port)).text();
    assert_eq!(said, "hello alice\n");
}

#[test]
fn the_files_for_systemd_are_installed_where_their_directories_do_not_exist() {
    let blocks = commands(section("### A service of systemd"));
    let lines: Vec<&str> = blocks.iter().flat_map(|block| block.lines()).collect();
    let install: Vec<&str> = (lines.into_iter())
        .filter(|line| line.contains(" systemd/"))
        .collect();
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().join("etc");
    fs::create_dir_all(etc.join("systemd/system")).unwrap();
    let script = install.join("\n").replace("sudo ", "");
    let script = script.replace(" /etc/", &format!(" {}/", etc.display()));
    run(program("sh")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(["-e", "-c", &script]))
    .succeeded();
    for file in [
        "systemd/system/tlssrv.service",
        "systemd/system/tlssrv.socket",
        "sysusers.d/tlssrv.conf",
        "tmpfiles.d/tlssrv.conf",
    ] {
        assert!(etc.join(file).is_file(), "{file}: {script}");
    }
}
