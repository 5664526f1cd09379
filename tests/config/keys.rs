//! Keys and certificates that cannot be used: why, and what to do instead.

use std::fs;
use std::path::Path;

use tlssrv_testing::programs::{missing, program, run};

use crate::site::{Site, with_host};

/// Runs openssl in a directory.
fn openssl(directory: &Path, args: &[&str]) {
    run(program("openssl").current_dir(directory).args(args)).succeeded();
}

#[test]
fn a_key_that_tls_cannot_use_is_refused_with_the_reason_and_what_to_make_instead() {
    if missing(&["openssl"]) {
        return;
    }
    let curve = |name: &str| format!("ec_paramgen_curve:{name}");
    let (secp256k1, brainpool) = (curve("secp256k1"), curve("brainpoolP256r1"));
    let anew = "make a new key (\"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW\"), and have \
                a certificate made for it";
    let curves = format!("cannot be used: tlssrv has P-256, P-384 and P-521; {anew}");
    let bits = |bits: u32| {
        format!("an RSA key of {bits} bits cannot be used: TLS takes 2048 to 8192; {anew}")
    };
    let rsa_1024 = [
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:1024",
    ];
    let ec = ["genpkey", "-algorithm", "EC", "-pkeyopt"];
    for (args, reason) in [
        (&rsa_1024[..], bits(1024)),
        (&["genrsa", "-traditional", "1023"], bits(1023)),
        (
            &["genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"],
            "an RSA-PSS key cannot be used: make a plain RSA key".into(),
        ),
        (&[&ec[..], &[&secp256k1]].concat(), format!("an EC key on the curve secp256k1 {curves}")),
        (&[&ec[..], &[&brainpool]].concat(), format!("an EC key on the curve brainpoolP256r1 {curves}")),
        (
            &["ecparam", "-genkey", "-name", "secp224r1"],
            format!("an EC key on the curve P-224 {curves}"),
        ),
        (
            &["ecparam", "-genkey", "-name", "secp256k1", "-param_enc", "explicit"],
            "an EC key cannot be used: the curve is given by its numbers, and has to be by its name".into(),
        ),
        (
            &["genpkey", "-algorithm", "ED448"],
            format!("an Ed448 key cannot be used: tlssrv has RSA, ECDSA and Ed25519; {anew}"),
        ),
        (&["genpkey", "-algorithm", "X25519"], "an X25519 key cannot be used".into()),
    ] {
        let site = Site::new();
        let (program, options) = args.split_first().unwrap();
        openssl(site.path(), &[&[*program, "-out", "a.key"], options].concat());
        let outcome = site.check(&with_host(""));
        let expected = format!("/a.key\": {reason}");
        assert!(outcome.stderr.contains(&expected), "{expected}\n{}", outcome.stderr);
        assert_eq!(outcome.status, Some(96));
    }
}

#[test]
fn every_key_that_tls_can_use_is_taken() {
    if missing(&["openssl"]) {
        return;
    }
    let curve = |name: &str| format!("ec_paramgen_curve:{name}");
    let (p256, p384, p521) = (curve("P-256"), curve("P-384"), curve("P-521"));
    let ec = ["-newkey", "ec", "-pkeyopt"];
    for new in [
        &["-newkey", "rsa:2048"][..],
        &["-newkey", "ed25519"],
        &[&ec[..], &[&p256]].concat(),
        &[&ec[..], &[&p384]].concat(),
        &[&ec[..], &[&p521]].concat(),
    ] {
        let site = Site::new();
        let files = [
            "-nodes", "-keyout", "a.key", "-out", "a.pem", "-subj", "/CN=a",
        ];
        let names = ["-addext", "subjectAltName=DNS:a.example"];
        openssl(
            site.path(),
            &[&["req", "-x509"], new, &files, &names].concat(),
        );
        site.check(&with_host("")).is_fine();
        if new.contains(&"ed25519") {
            continue;
        }
        let traditional = ["pkey", "-in", "a.key", "-traditional", "-out", "new.key"];
        openssl(site.path(), &traditional);
        fs::rename(site.path().join("new.key"), site.path().join("a.key")).unwrap();
        site.check(&with_host("")).is_fine();
    }
}

#[test]
fn files_that_are_not_pem_are_refused_with_the_command_that_converts_them() {
    if missing(&["openssl"]) {
        return;
    }
    let made = Site::new();
    let convert = |args: &str| {
        openssl(made.path(), &args.split(' ').collect::<Vec<_>>());
    };
    convert("x509 -in a.pem -outform DER -out certificate.der");
    convert("pkey -in a.key -outform DER -out pkcs8.der");
    convert("pkey -in a.key -traditional -outform DER -out sec1.der");
    convert("pkcs8 -topk8 -in a.key -outform DER -passout pass:secret -out encrypted.der");
    convert("pkcs12 -export -in a.pem -inkey a.key -passout pass:secret -out both.p12");
    convert("crl2pkcs7 -nocrl -certfile a.pem -outform DER -out chain.p7b");
    convert("crl2pkcs7 -nocrl -certfile a.pem -out chain.p7c");
    for (file, name, message, command) in [
        (
            "certificate.der",
            "a.pem",
            "it is DER, not PEM: ",
            "openssl x509 -inform DER -in FILE -out NEW",
        ),
        (
            "pkcs8.der",
            "a.key",
            "it is DER, not PEM: ",
            "openssl pkey -inform DER -in FILE -out NEW",
        ),
        (
            "sec1.der",
            "a.key",
            "it is DER, not PEM: ",
            "openssl pkey -inform DER -in FILE -out NEW",
        ),
        (
            "encrypted.der",
            "a.key",
            "it is DER, not PEM: ",
            "openssl pkcs8 -topk8 -inform DER -in FILE -out NEW",
        ),
        (
            "both.p12",
            "a.pem",
            "it is PKCS#12, not PEM: ",
            "openssl pkcs12 -in FILE -nodes -out NEW",
        ),
        (
            "both.p12",
            "a.key",
            "it is PKCS#12, not PEM: ",
            "openssl pkcs12 -in FILE -nodes -out NEW",
        ),
        (
            "chain.p7b",
            "a.pem",
            "it is PKCS#7, not PEM: ",
            "openssl pkcs7 -inform DER -print_certs -in FILE -out NEW",
        ),
        (
            "chain.p7c",
            "a.pem",
            "a section \"PKCS7\" cannot be used: ",
            "openssl pkcs7 -print_certs -in FILE -out NEW",
        ),
    ] {
        let site = Site::new();
        for kept in ["a.pem", "a.key"] {
            fs::copy(made.path().join(kept), site.path().join(kept)).unwrap();
        }
        fs::copy(made.path().join(file), site.path().join(name)).unwrap();
        let outcome = site.check(&with_host(""));
        let expected = format!("{message}\"{command}\"");
        assert!(
            outcome.stderr.contains(&expected),
            "{expected}\n{}",
            outcome.stderr
        );
        assert_eq!(outcome.status, Some(96));

        // The command does what the message says.
        let command = command.replace("FILE", name).replace("NEW", "new");
        let mut words: Vec<&str> = command.split(' ').skip(1).collect();
        let password = ["-passin", "pass:secret", "-passout", "pass:new password"];
        match words[0] {
            "pkcs12" => words.extend(&password[..2]),
            "pkcs8" => words.extend(password),
            _ => {}
        }
        openssl(site.path(), &words);
        fs::rename(site.path().join("new"), site.path().join(name)).unwrap();
        let outcome = site.check(&with_host(""));
        let encrypted = outcome.stderr.contains("it is encrypted: key-password");
        let fine = outcome.status == Some(0) || encrypted && words[0] == "pkcs8";
        assert!(fine, "{command}: {}", outcome.stderr);
    }
}
