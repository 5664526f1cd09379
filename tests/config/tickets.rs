//! The file of ticket keys that several machines share.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::site::{Site, with_host};

/// A site with this in `tickets.key`, which its configuration names.
fn site(bytes: &[u8], mode: u32) -> (Site, String) {
    let site = Site::new();
    let file = site.path().join("tickets.key");
    fs::write(&file, bytes).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let text = format!("[tickets]\nkeys = \"tickets.key\"\n{}", with_host(""));
    (site, text)
}

fn message(site: &Site, verb: &str, reason: &str) -> String {
    let file = site.path().join("tickets.key");
    format!("unable to {verb} ticket keys {file:?}: {reason}")
}

#[test]
fn keys_are_raw_or_in_base64() {
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
    for bytes in [&[200; 32][..], &[200; 96], base64.as_bytes()] {
        let (site, text) = site(bytes, 0o640);
        site.check(&text).is_fine();
    }
}

#[test]
fn keys_that_everybody_can_read_are_refused() {
    let (site, text) = site(&[200; 32], 0o644);
    let message = message(&site, "use", "everybody can read it");
    site.check(&text).refuses("tickets.key", &message);
}

#[test]
fn a_wrong_ticket_key_is_refused_and_not_shown() {
    for (bytes, reason) in [
        (&b""[..], "no key in it; openssl rand 32 makes one"),
        (
            &[200; 48],
            "its length is not a multiple of 32 bytes: each key has 32",
        ),
        (
            b"0123456789abcdef0123456789abcdef",
            "it is text, and a line is not 32 bytes in base64",
        ),
    ] {
        let (site, text) = site(bytes, 0o600);
        let message = message(&site, "use", reason);
        let outcome = site.check(&text);
        outcome.refuses("tickets.key", &message);
        assert!(!outcome.stderr.contains("0123"), "{}", outcome.stderr);
    }
}

#[test]
fn a_file_that_is_not_there_is_reported() {
    let (site, text) = site(b"", 0o600);
    fs::remove_file(site.path().join("tickets.key")).unwrap();
    let message = message(&site, "read", "no such file or directory");
    let refused = site.check(&text);
    assert_eq!(refused.status, Some(96));
    assert!(
        refused
            .stderr
            .to_lowercase()
            .contains(&message.to_lowercase()),
        "{}",
        refused.stderr
    );
}

#[test]
fn keys_may_be_a_credential_of_the_service() {
    let (site, text) = site(&[200; 32], 0o600);
    let text = text.replace("\"tickets.key\"", "\"credential:tickets.key\"");
    let outcome = site.check(&text);
    let reason = "no credentials: systemd sets CREDENTIALS_DIRECTORY";
    assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
}
