//! Services whose helpers are set-user-ID or set-group-ID programs: postfix's `sendmail -bs`, and su(1) in a
//! session of `sshd -i`.
//!
//! Both run in a mount namespace that has the user alice and their configuration, and postfix in a network of its
//! own, with no service of its own on TCP. Nothing of the machine's changes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};

use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{find, missing, program, run};
use tlssrv_testing::{Client, Dial, Server, Site, Socket, eventually, proc, skip, tlssrv_path};

/// Whether a test must be skipped.
fn impossible(programs: &[&str]) -> bool {
    if !is_root() {
        skip("only root has a mount namespace of its own");
        return true;
    }
    missing(programs)
}

/// A site with `passwd`, `group` and `shadow` that have the user alice.
fn site_with_alice() -> Site {
    let site = Site::new();
    for (file, line) in [
        ("passwd", "alice:x:4242:4242::/:/bin/sh\n"),
        ("group", "alice:x:4242:\n"),
        ("shadow", "alice:*:1:0:99999:7:::\n"),
    ] {
        let mut text = fs::read_to_string(Path::new("/etc").join(file)).unwrap();
        text.push_str(line);
        fs::write(site.file(file), text).unwrap();
    }
    fs::set_permissions(site.file("shadow"), Permissions::from_mode(0o600)).unwrap();
    site
}

/// A server that starts after a shell script, in namespaces of its own; both are in the directory of the site.
fn serve(site: Site, namespaces: &[&str], script: &str, table: &str) -> Server {
    let table = format!("{table}\n");
    let site = site.with_file("tlssrv.toml", &table);
    let script = format!("set -e\n{BIND_ALICE}{script}\nexec \"$0\" \"$@\"");
    let mut command = program("unshare");
    command
        .args(namespaces)
        .args(["sh", "-c", &script, tlssrv_path(), "-f", "tlssrv.toml"]);
    Server::run(site, &mut command)
}

const BIND_ALICE: &str = "
    mount --bind passwd /etc/passwd
    mount --bind group /etc/group
    mount --bind shadow /etc/shadow
";

/// Two hosts with the same command, with and without `new-privileges`.
fn hosts(listen: &str, command: &[&str], user: &str) -> String {
    let command = serde_json::to_string(command).unwrap();
    let host = |name: &str, allowed: bool| {
        format!(
            "[[host]]\nnames = [\"{name}\"]\ncert = [\"cert.pem\"]\ncommand = {command}\n{user}\n\
             directory = \".\"\nnew-privileges = {allowed}\n"
        )
    };
    format!(
        "[[listen]]\naddress = \"{listen}\"\n{}{}",
        host("a.example", true),
        host("localhost", false)
    )
}

/// Makes postfix's directories out of those of the site, and starts its daemon.
const POSTFIX: &str = "
    cp -r /etc/postfix/. postfix
    cp main.cf master.cf postfix/
    chown postfix data
    mount --bind postfix /etc/postfix
    mount --bind spool /var/spool/postfix
    mount --bind data /var/lib/postfix
    mount --bind mail /var/mail
    ip link set lo up
    postfix check
    /usr/lib/postfix/sbin/master -w
";

const MAIN_CF: &str = "
compatibility_level = 3.6
queue_directory = /var/spool/postfix
data_directory = /var/lib/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = mail.example
mydestination = mail.example
alias_maps =
alias_database =
mail_spool_directory = /var/mail
maillog_file = /var/mail/log
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
biff = no
";

/// What delivers to mailboxes, and nothing that listens on TCP.
const MASTER_CF: &str = "
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
local unix - n n - - local
postlog unix-dgram n - n - 1 postlogd
";

/// A client of sendmail, which has greeted it.
fn greeted(server: &Server, name: &str) -> Client {
    let socket = Socket::connect_unix(&server.site.file("mail.sock"));
    let mut client = Dial::new().over(socket, name);
    let line = client.read_line();
    assert!(line.starts_with("220 mail.example "), "{line}");
    client
}

/// Hands in a mail for alice, up to its end.
fn hand_in(client: &mut Client) {
    for (line, code) in [
        ("HELO client.example", "250 "),
        ("MAIL FROM:<alice@mail.example>", "250 "),
        ("RCPT TO:<alice@mail.example>", "250 "),
        ("DATA", "354 "),
    ] {
        client.send(format!("{line}\r\n").as_bytes());
        let answer = client.read_line();
        assert!(answer.starts_with(code), "{answer}");
    }
    client.send(b"Subject: greetings\r\n\r\nThrough tlssrv.\r\n.\r\n");
}

#[test]
fn with_new_privileges_sendmail_as_an_ordinary_user_delivers_into_a_mailbox() {
    if impossible(&["unshare", "ip", "postfix"]) {
        return;
    }
    let site = site_with_alice()
        .with_file("main.cf", MAIN_CF)
        .with_file("master.cf", MASTER_CF);
    for directory in ["postfix", "spool", "data", "mail"] {
        fs::create_dir(site.file(directory)).unwrap();
        fs::set_permissions(site.file(directory), Permissions::from_mode(0o755)).unwrap();
    }
    // local(8) makes the mailbox as alice.
    fs::set_permissions(site.file("mail"), Permissions::from_mode(0o1777)).unwrap();
    // A Unix-domain socket: the network is another one.
    let sendmail = find("sendmail").unwrap();
    let command = [sendmail.to_str().unwrap(), "-bs"];
    let table = hosts("unix:mail.sock", &command, "user = \"alice\"");
    // tlssrv is process 1 of its namespace, and postfix ends with it.
    let namespaces = [
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    let server = serve(site, &namespaces, POSTFIX, &table);

    let mut client = greeted(&server, "a.example");
    hand_in(&mut client);
    let line = client.read_line();
    assert!(line.starts_with("250 2.0.0 Ok: queued as "), "{line}");
    client.send(b"QUIT\r\n");
    assert!(client.read_line().starts_with("221 "));
    client.read_close_notify();
    drop(client);
    let mail = eventually("the mailbox has the mail", || {
        let mail = fs::read_to_string(server.site.file("mail/alice")).ok()?;
        mail.contains("Through tlssrv.").then_some(mail)
    });
    assert!(mail.contains("Subject: greetings\n"), "{mail}");
    assert!(mail.contains("(Postfix, from userid 4242)"), "{mail}");

    // Without them, postdrop cannot write into its directory.
    let mut client = greeted(&server, "localhost");
    client.send(
        b"HELO client.example\r\nMAIL FROM:<alice@mail.example>\r\n\
          RCPT TO:<alice@mail.example>\r\nDATA\r\n",
    );
    server.wait_for_line("postdrop fails", |line| {
        line.contains("create file maildrop/") && line.contains("Permission denied")
    });
    drop(client);
    // unshare passes no signal on.
    kill(proc::children(server.pid())[0], Signal::SIGINT).unwrap();
    kill(proc::children(server.pid())[0], Signal::SIGTERM).unwrap();
}

const SSHD_CONFIG: &str = "
HostKey SITE/host.key
AuthorizedKeysFile SITE/alice.key.pub
AuthenticationMethods publickey
StrictModes no
UsePAM no
PidFile none
PrintMotd no
";

/// The directory that sshd wants.
const SSHD: &str = "
    mount -t tmpfs none /run
    mkdir -m 755 /run/sshd
";

#[test]
fn with_new_privileges_su_in_a_session_of_sshd_becomes_root() {
    if impossible(&["unshare", "sshd", "ssh", "ssh-keygen", "su", "openssl"]) {
        return;
    }
    const PASSWORD: &str = "a password of this test";
    let site = site_with_alice();
    for key in ["host.key", "alice.key"] {
        run(program("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(site.file(key)))
        .succeeded();
    }
    // A password of root's, in this namespace alone.
    let hash = run(program("openssl").args(["passwd", "-6", PASSWORD])).text();
    let shadow = fs::read_to_string(site.file("shadow")).unwrap();
    let others = shadow.lines().filter(|line| !line.starts_with("root:"));
    let root = format!("root:{}:20000:0:99999:7:::", hash.trim_end());
    let lines: Vec<&str> = std::iter::once(&root[..]).chain(others).collect();
    fs::write(site.file("shadow"), lines.join("\n") + "\n").unwrap();
    let directory = site.path().to_str().unwrap();
    let config = SSHD_CONFIG.replace("SITE", directory);
    let site = site.with_file("sshd_config", &config);

    let sshd = find("sshd").unwrap();
    let config = site.file("sshd_config");
    let command = [
        sshd.to_str().unwrap(),
        "-i",
        "-e",
        "-f",
        config.to_str().unwrap(),
    ];
    let table = hosts("127.0.0.1:0", &command, "allow-root = true");
    let server = serve(site, &["--mount"], SSHD, &table);
    let ask = |name: &str| {
        let proxy = format!(
            "ProxyCommand={} s_client -quiet -servername {name} -connect {}",
            find("openssl").unwrap().display(),
            server.address()
        );
        let mut ssh = Command::new(find("ssh").unwrap());
        ssh.args(["-F", "none", "-T", "-o", &proxy, "-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "IdentitiesOnly=yes", "-i"])
            .arg(server.site.file("alice.key"))
            .args(["alice@tlssrv.example", "id -un; su root -c 'id -un'"]);
        tlssrv_testing::programs::run_with(&mut ssh, format!("{PASSWORD}\n").as_bytes())
    };
    let ran = ask("a.example");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(said, "alice\nroot\n", "{}", ran.stderr);
    let ran = ask("localhost");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(said, "alice\n", "{}", ran.stderr);
    assert!(!ran.status.success());
}
