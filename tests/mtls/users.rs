//! `run-as = "cert-cn"`: the command runs as the user of the common name of the certificate.

use crate::setup::{Setup, s_client, served, value};
use tlssrv_testing::account::{is_root, ordinary_user};
use tlssrv_testing::programs::missing;

#[test]
fn the_command_runs_as_the_user_of_the_common_name_and_other_names_are_refused() {
    if missing(&["openssl"]) {
        return;
    }
    let user = ordinary_user();
    let server = Setup::new().require(&format!(
        "run-as = \"cert-cn\"\nusers = {{ \"alice\" = \"{user}\" }}"
    ));
    for version in ["-tls1_3", "-tls1_2"] {
        let text = served(&server, "alice", &[version]);
        assert_eq!(value(&text, "USER"), Some(user.as_str()));
        let ran = s_client(&server, "bob", &[version]);
        assert!(
            ran.stderr.contains("SSL alert number 49\n"),
            "{}",
            ran.stderr
        );
        assert!(ran.stdout.is_empty());
    }
    let lines = server.wait_for_connections(4);
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line.get("pid").is_none())
        .collect();
    assert_eq!(refused.len(), 2);
    for line in refused {
        let why = "its common name has no user: CN=bob";
        let end = format!("handshake: the certificate of the client is refused: {why}");
        assert_eq!(line.value("end"), end);
    }
}

#[test]
fn a_common_name_runs_as_root_only_with_allow_root() {
    if !is_root() {
        return tlssrv_testing::skip("only root can become root");
    }
    if missing(&["openssl"]) {
        return;
    }
    let lines = "client-auth = \"require\"\nrun-as = \"cert-cn\"\nusers = { alice = \"root\" }\n";
    let setup = Setup::new();
    let toml = crate::setup::table(lines);
    std::fs::write(setup.site.file("tlssrv.toml"), &toml).unwrap();
    let ran = tlssrv_testing::programs::run(
        std::process::Command::new(tlssrv_testing::tlssrv_path())
            .args(["--check", "-f"])
            .arg(setup.site.file("tlssrv.toml")),
    );
    assert_eq!(ran.status.code(), Some(96));
    assert!(
        ran.stderr.contains("the command would run as root"),
        "{}",
        ran.stderr
    );
    let server = setup.start(&format!("{lines}allow-root = true\n"));
    let text = served(&server, "alice", &[]);
    assert_eq!(value(&text, "USER"), Some("root"));
}
