//! Versions, suites and groups of a host.

use crate::site::{LISTENER, Site, host, user, with_host};

#[test]
fn suites_and_groups_have_the_names_that_rustls_and_the_log_give_them() {
    for lines in [
        "min-version = \"1.2\"",
        "min-version = \"1.3\"\nsuites = [\"TLS13_AES_256_GCM_SHA384\"]",
        "suites = [\"TLS_AES_128_GCM_SHA256\", \"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384\"]",
        "suites = [\"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256\"]",
        "kx-groups = [\"X25519MLKEM768\", \"x25519\", \"secp256r1\", \"secp384r1\"]",
        "max-fragment = 64",
        "max-fragment = 16384",
    ] {
        Site::new().check(&with_host(lines)).is_fine();
    }
}

const CERTIFICATE_SUITES: &str = "TLS13_AES_256_GCM_SHA384, TLS13_AES_128_GCM_SHA256, \
    TLS13_CHACHA20_POLY1305_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, \
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, \
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, \
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";
const GROUPS: &str = "X25519MLKEM768, X25519, secp256r1, secp384r1";

#[test]
fn an_unknown_suite_or_group_is_refused_with_the_list_of_known_ones() {
    for (line, reason) in [
        (
            "suites = [\"TLS_RSA_WITH_AES_128_CBC_SHA\"]",
            format!(
                "unable to use suite \"TLS_RSA_WITH_AES_128_CBC_SHA\": known are {CERTIFICATE_SUITES}"
            ),
        ),
        // This suite needs pre-shared keys.
        (
            "suites = [\"TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256\"]",
            format!(
                "unable to use suite \"TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256\": \
                 known are {CERTIFICATE_SUITES}"
            ),
        ),
        (
            "suites = []",
            format!("no suite: known are {CERTIFICATE_SUITES}"),
        ),
        (
            "kx-groups = [\"ffdhe2048\"]",
            format!("unable to use group \"ffdhe2048\": known are {GROUPS}"),
        ),
        ("kx-groups = []", format!("no group: known are {GROUPS}")),
        (
            "min-version = \"1.1\"",
            "expected \"1.2\" or \"1.3\", found \"1.1\"".to_owned(),
        ),
        (
            "max-fragment = 63",
            "63 is out of range: it must be 64 to 16384".to_owned(),
        ),
        (
            "max-fragment = 16385",
            "16385 is out of range: it must be 64 to 16384".to_owned(),
        ),
    ] {
        Site::new().check(&with_host(line)).refuses(line, &reason);
    }
}

#[test]
fn key_exchange_groups_in_groups_get_a_hint_at_kx_groups() {
    let line = "groups = [\"X25519\"]";
    let hint = "\"groups\" are those of the user; for the key exchange there is \"kx-groups\"";
    Site::new().check(&with_host(line)).refuses(line, hint);
}

#[test]
fn suites_that_leave_no_version_are_refused() {
    let old = "suites = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]";
    let text = with_host(&format!("min-version = \"1.3\"\n{old}"));
    let message = "no suite for certificates and TLS 1.3 in it";
    Site::new().check(&text).refuses(old, message);

    let site = Site::new();
    let psk = site.path().join("a.psk");
    tlssrv_testing::pki::write_secret(&psk, "a:00112233445566778899aabbccddeeff\n");
    let text = with_host(&format!("psk = \"a.psk\"\n{old}"));
    let message = "no suite for pre-shared keys in it";
    site.check(&text).refuses(old, message);
}

#[test]
fn a_psk_host_has_the_psk_suites_and_with_its_leave_those_without_forward_secrecy() {
    let site = Site::new();
    let psk = site.path().join("a.psk");
    tlssrv_testing::pki::write_secret(&psk, "a:00112233445566778899aabbccddeeff\n");
    let keyed = |lines: &str| {
        let with_certificate = host("b.example");
        format!(
            "{LISTENER}[[host]]\nnames = [\"a.example\"]\npsk = \"a.psk\"\ncommand = [\"cat\"]\n{}{lines}\n\
             {with_certificate}",
            user()
        )
    };
    let plain = "suites = [\"TLS_PSK_WITH_AES_128_GCM_SHA256\"]";
    let known = "TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256, \
                 TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256, \
                 TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384";
    let message =
        format!("unable to use suite \"TLS_PSK_WITH_AES_128_GCM_SHA256\": known are {known}");
    site.check(&keyed(plain)).refuses(plain, &message);
    let allowed = site.check(&keyed(&format!("psk-plain = true\n{plain}")));
    assert_eq!(allowed.status, Some(0), "{}", allowed.stderr);
}
