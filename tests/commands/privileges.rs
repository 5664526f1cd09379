//! Commands and the privileges of set-user-ID programs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::unistd::User;

use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{find, missing};
use tlssrv_testing::{Host, Server, Site, skip, tlssrv_path};

/// A site with `id`, which runs as root, whoever starts it; `None`: the test is skipped.
fn site() -> Option<Site> {
    if !is_root() {
        skip("only root makes set-user-ID programs of root");
        return None;
    }
    let site = Site::new();
    fs::copy(find("id").unwrap(), site.file("id")).unwrap();
    fs::set_permissions(site.file("id"), Permissions::from_mode(0o4755)).unwrap();
    Some(site)
}

/// The effective user of `id` and whether `no_new_privs` is set, as the command prints them.
const ASK: [&str; 3] = [
    "sh",
    "-c",
    "echo $(./id -u) $(sed -n 's/^NoNewPrivs:.//p' /proc/self/status)",
];

#[test]
fn a_command_gains_the_privileges_of_set_user_id_programs_only_with_new_privileges() {
    let nobody = User::from_name("nobody").unwrap().unwrap().uid;
    for (key, expected) in [
        ("", format!("{nobody} 1")),
        ("new-privileges = false", format!("{nobody} 1")),
        ("new-privileges = true", "0 0".to_owned()),
    ] {
        let Some(site) = site() else { return };
        let host = format!("directory = \".\"\nuser = \"nobody\"\n{key}");
        let host = Host {
            host: &host,
            command: &ASK,
            ..Host::default()
        };
        let server = host.start_in(site);
        assert_eq!(server.connect("").read_line(), expected, "{key}");
    }
}

#[test]
fn the_command_of_a_command_line_gains_them_only_with_new_privileges() {
    if missing(&["setpriv"]) {
        return;
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    for (option, expected) in [
        (None, format!("{} 1", nobody.uid)),
        (Some("--new-privileges"), "0 0".to_owned()),
    ] {
        let Some(site) = site() else { return };
        // The program under test may be where nobody else can read it.
        fs::copy(tlssrv_path(), site.file("tlssrv")).unwrap();
        fs::set_permissions(site.file("cert.pem"), Permissions::from_mode(0o644)).unwrap();
        let mut command = Command::new("setpriv");
        let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
        command
            .args(["--reuid", &uid, "--regid", &gid, "--clear-groups"])
            .args(["./tlssrv", "--listen", "127.0.0.1:0", "-c", "cert.pem"])
            .args(option)
            .args(ASK);
        let server = Server::run(site, &mut command);
        assert_eq!(server.connect("").read_line(), expected);
        // The engines never gain any.
        let engine = server.engines()[0];
        let status = tlssrv_testing::proc::status(engine, "NoNewPrivs");
        assert_eq!(status.as_deref(), Some("1"));
    }
}
