//! The files in `systemd/`, checked by the tools of systemd.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::tlssrv_path;

/// Where the units are.
pub(crate) const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");

/// The units, with the path of the program under test in place of the installed one.
fn units() -> TempDir {
    let copies = TempDir::with_prefix("tlssrv-units.").unwrap();
    for entry in fs::read_dir(UNITS).unwrap() {
        let (path, name) = entry.map(|e| (e.path(), e.file_name())).unwrap();
        if path.is_dir() {
            continue;
        }
        if let Ok(target) = fs::read_link(&path) {
            symlink(target, copies.path().join(name)).unwrap();
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let names = [("=tlssrv ", "="), ("=-tlssrv ", "=-")];
        let text = names.iter().fold(text, |text, (name, sign)| {
            text.replace(name, &format!("{sign}{} ", tlssrv_path()))
        });
        fs::write(copies.path().join(name), text).unwrap();
    }
    copies
}

#[test]
fn systemd_understands_every_unit() {
    if missing(&["systemd-analyze"]) {
        return;
    }
    let units = units();
    let names = [
        "tlssrv.service",
        "tlssrv.socket",
        "tlssrv@.service",
        "tlssrv-inetd.socket",
        "tlssrv-unprivileged.service",
    ];
    let drop_in = units.path().join("tlssrv.service.d");
    fs::create_dir(&drop_in).unwrap();
    let file = "new-privileges.conf";
    fs::copy(Path::new(UNITS).join(file), drop_in.join(file)).unwrap();
    for name in names {
        let mut command = program("systemd-analyze");
        command
            .args(["--man=no", "verify"])
            .arg(units.path().join(name));
        command.env("SYSTEMD_UNIT_PATH", format!("{}:", units.path().display()));
        let ran = run(&mut command).succeeded();
        let ours = |line: &&str| line.contains("tlssrv");
        let complaints: Vec<&str> = ran.stderr.lines().filter(ours).collect();
        assert!(complaints.is_empty(), "{name}: {complaints:?}");
    }
}

/// The value of a setting that a unit has once.
pub(crate) fn setting(unit: &str, name: &str) -> String {
    let text = fs::read_to_string(Path::new(UNITS).join(unit)).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let values: Vec<&str> = lines.filter(|(n, _)| *n == name).map(|(_, v)| v).collect();
    assert_eq!(values.len(), 1, "{unit}: {name}: {values:?}");
    values[0].to_owned()
}

/// What the command does with a wrong table: `confined.rs`.
#[test]
fn a_reload_of_a_server_unit_is_a_command_that_fails_with_a_wrong_table() {
    for unit in ["tlssrv.service", "tlssrv-unprivileged.service"] {
        assert_eq!(setting(unit, "Type"), "notify");
        let start = setting(unit, "ExecStart");
        assert_eq!(setting(unit, "ExecReload"), format!("{start} --reload"));
    }
}

#[test]
fn the_exposure_of_the_unprivileged_service_is_1_5_at_most() {
    if missing(&["systemd-analyze"]) {
        return;
    }
    let unit = units().keep().join("tlssrv-unprivileged.service");
    let mut command = program("systemd-analyze");
    command.args(["security", "--offline=true", "--threshold=15", "--no-pager"]);
    let ran = run(command.arg(&unit));
    fs::remove_dir_all(unit.parent().unwrap()).unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(
        said.contains("Overall exposure level for tlssrv-unprivileged.service: "),
        "{said}{}",
        ran.stderr
    );
    assert!(ran.status.success(), "{said}");
}

#[test]
fn the_template_service_has_the_name_that_its_socket_starts() {
    let link = fs::read_link(Path::new(UNITS).join("tlssrv-inetd@.service")).unwrap();
    assert_eq!(link, Path::new("tlssrv@.service"));
}

#[test]
fn sysusers_and_tmpfiles_create_the_user_and_the_directories() {
    if missing(&["systemd-sysusers", "systemd-tmpfiles"]) {
        return;
    }
    let root = TempDir::with_prefix("tlssrv-root.").unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let at = format!("--root={}", root.path().display());
    let file = |name: &str| Path::new(UNITS).join(name).join("tlssrv.conf");
    if !is_root() {
        return tlssrv_testing::skip("only root makes users and directories for others");
    }
    run(program("systemd-sysusers").arg(&at).arg(file("sysusers.d"))).succeeded();
    let passwd = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(passwd.starts_with("tlssrv:x:"), "{passwd}");
    assert!(passwd.trim_end().ends_with("/nologin"), "{passwd}");
    run(program("systemd-tmpfiles")
        .args(["--create", &at])
        .arg(file("tmpfiles.d")))
    .succeeded();
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &str| {
        fs::metadata(root.path().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (
            mode("etc/tlssrv"),
            mode("etc/tlssrv/private"),
            mode("run/tlssrv")
        ),
        (0o755, 0o700, 0o755)
    );
}
