//! Encrypted keys, and `key-password`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tlssrv_testing::pki::{self, write_secret};
use tlssrv_testing::programs::{missing, program, run};

use crate::site::{CERTIFIED, Site, with_host};

/// Password of the keys, which no message may show.
const PASSWORD: &str = "sesame \u{e4}";

/// A site whose `a.key` openssl has encrypted with these options, and whose `a.pass` has the password.
fn site(options: &[&str]) -> Site {
    let site = Site::new();
    encrypt(&site, "a.key", PASSWORD, options);
    write_secret(&site.path().join("a.pass"), &format!("{PASSWORD}\n"));
    site
}

fn encrypt(site: &Site, name: &str, password: &str, options: &[&str]) {
    pki::encrypt(&site.path().join(name), password, options);
}

fn path(site: &Site, name: &str) -> String {
    format!("{:?}", site.path().join(name).display().to_string())
}

/// A table with this password file.
fn with_password(file: &str) -> String {
    with_host(&format!("key-password = \"{file}\""))
}

#[test]
fn an_encrypted_key_is_taken_with_its_password() {
    if missing(&["openssl"]) {
        return;
    }
    for options in [
        &[][..],
        &["-v2", "aes-128-cbc"],
        &["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"],
        &[
            "-v2",
            "aes-256-cbc",
            "-v2prf",
            "hmacWithSHA1",
            "-iter",
            "100000",
        ],
        // What "openssl req -newkey" of OpenSSL 3.0 does.
        &["-v2", "des3"],
    ] {
        let site = site(options);
        site.check(&with_password("a.pass")).is_fine();
        let line = [
            "--check",
            "-c",
            "a.pem",
            "--key",
            "a.key",
            "--key-password",
            "a.pass",
            "cat",
        ];
        assert_eq!(site.run(&line).status, Some(0), "{options:?}");

        // In the file of the certificate, too.
        let join = |name: &str| fs::read_to_string(site.path().join(name)).unwrap();
        write_secret(
            &site.path().join("both.pem"),
            &(join("a.pem") + &join("a.key")),
        );
        let text = with_password("a.pass").replace(CERTIFIED, "cert = [\"both.pem\"]\n");
        site.check(&text).is_fine();
    }
}

#[test]
fn an_encrypted_key_without_its_password_is_refused() {
    if missing(&["openssl"]) {
        return;
    }
    let site = site(&[]);
    let key = path(&site, "a.key");
    let message = format!(
        "unable to use key {key}: it is encrypted: key-password names a file with its password"
    );
    site.check(&with_host("")).refuses("a.key", &message);

    write_secret(&site.path().join("a.pass"), "another\n");
    let message = format!(
        "unable to use key {key}: it is encrypted, with another password than that in key-password"
    );
    site.check(&with_password("a.pass"))
        .refuses("a.key", &message);
    let line = [
        "--check",
        "-c",
        "a.pem",
        "--key",
        "a.key",
        "--key-password",
        "a.pass",
        "cat",
    ];
    let outcome = site.run(&line);
    let message = message.replace(&key, "\"a.key\"");
    assert!(
        outcome.stderr.ends_with(&format!("tlssrv: {message}\n")),
        "{}",
        outcome.stderr
    );
}

#[test]
fn encryption_of_other_kinds_is_refused_with_the_command_that_changes_it() {
    if missing(&["openssl"]) {
        return;
    }
    let anew = "\"openssl pkcs8 -topk8 -in FILE -out NEW\" encrypts it anew";
    for (options, what) in [
        (&["-scrypt"][..], "(scrypt)"),
        (&["-v2", "camellia-256-cbc"], "(1.2.392.200011.61.1.1.1.4)"),
        (&["-v1", "PBE-SHA1-3DES"], "(1.2.840.113549.1.12.1.3)"),
    ] {
        let site = site(options);
        let message = format!(
            "unable to use key {}: its encryption is of a kind that tlssrv does not know {what}: {anew}",
            path(&site, "a.key")
        );
        site.check(&with_password("a.pass"))
            .refuses("a.key", &message);
    }
    let site = site(&["-iter", "5000001"]);
    let message = format!(
        "unable to use key {}: its encryption takes 5000001 iterations, and 1 to 5000000 are allowed: {anew}",
        path(&site, "a.key")
    );
    site.check(&with_password("a.pass"))
        .refuses("a.key", &message);

    let site = Site::new();
    let traditional = [
        "ec",
        "-aes256",
        "-in",
        "a.key",
        "-out",
        "new",
        "-passout",
        "pass:sesame",
    ];
    run(program("openssl")
        .current_dir(site.path())
        .args(traditional))
    .succeeded();
    fs::rename(site.path().join("new"), site.path().join("a.key")).unwrap();
    let message = format!(
        "unable to use key {}: line 2: the key is encrypted in an old format: {anew}",
        path(&site, "a.key")
    );
    site.check(&with_host("")).refuses("a.key", &message);
}

#[test]
fn keys_of_a_host_may_have_different_passwords() {
    if missing(&["openssl"]) {
        return;
    }
    let site = site(&[]);
    pki::certificate(&["a.example"]).write(site.path(), "b");
    encrypt(&site, "b.key", "other", &[]);
    write_secret(
        &site.path().join("a.pass"),
        &format!("\u{feff}other\r\n{PASSWORD}\r\n"),
    );
    let lines = "cert = [\"a.pem\", \"b.pem\"]\nkey = [\"a.key\", \"b.key\"]\n";
    site.check(&with_password("a.pass").replace(CERTIFIED, lines))
        .is_fine();
}

#[test]
fn a_password_file_that_cannot_be_used_is_named() {
    let site = Site::new();
    let file = path(&site, "a.pass");
    let refuses = |reason: &str| {
        site.check(&with_password("a.pass"))
            .refuses("key-password", reason);
    };
    refuses(&format!(
        "unable to read key-password {file}: No such file or directory"
    ));
    write_secret(&site.path().join("a.pass"), "\n");
    refuses(&format!(
        "unable to use key-password {file}: no password in it"
    ));
    write_secret(&site.path().join("a.pass"), "sesame\n");
    site.check(&with_password("a.pass")).warns(
        "key-password",
        "key-password is of no use: the keys are not encrypted",
    );
    fs::set_permissions(
        site.path().join("a.pass"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    refuses(&format!(
        "unable to use key-password {file}: everybody can read it"
    ));
    site.check(&with_host("psk = \"a.psk\"\nkey-password = \"a.pass\"").replace(CERTIFIED, ""))
        .refuses("key-password", "\"key-password\" without \"cert\"");
}
