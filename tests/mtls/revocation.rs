//! Which of several CRLs decides, side by side with `openssl verify -crl_check`.

use std::fs;
use std::process::Command;

use rcgen::CrlDistributionPoint;

use crate::setup::{Setup, s_client, served, table};
use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::{Certificate, Valid, write_secret};
use tlssrv_testing::programs::{Ran, missing, program, run};
use tlssrv_testing::raw::codes::alert::{CERTIFICATE_REVOKED, UNKNOWN_CA};
use tlssrv_testing::{Server, Site, tlssrv_path};

const REQUIRED: &str = "client-auth = \"require\"\n";

/// A client's certificate with the key identifier of its issuer, which OpenSSL needs to tell issuers of one name apart.
fn identified(ca: &Authority, name: &str, serial: u8) -> Certificate {
    ca.client_with(name, serial, Valid::Now, |params| {
        params.use_authority_key_identifier_extension = true;
    })
}

/// Writes each CRL to a file of its own, and all to `all.pem`; returns the lines that name the one or the other.
fn crl_files(site: &Site, crls: &[&str]) -> [String; 2] {
    fs::write(site.file("all.pem"), crls.concat()).unwrap();
    let names = crls.iter().enumerate().map(|(place, crl)| {
        let name = format!("crl{place}.pem");
        fs::write(site.file(&name), crl).unwrap();
        format!("{name:?}")
    });
    let names: Vec<_> = names.collect();
    [
        format!("{REQUIRED}client-crl = [{}]", names.join(", ")),
        format!("{REQUIRED}client-crl = \"all.pem\""),
    ]
}

/// What `--check` says of these lines of a host.
fn check(site: &Site, lines: &str) -> Ran {
    fs::write(site.file("tlssrv.toml"), table(lines)).unwrap();
    run(Command::new(tlssrv_path())
        .args(["--check", "-f"])
        .arg(site.file("tlssrv.toml")))
}

/// Whether OpenSSL takes the certificate of a client with the CRLs in `all.pem`.
fn openssl_takes(site: &Site, who: &str) -> bool {
    openssl_verify(site, who, "-crl_check")
}

fn openssl_verify(site: &Site, who: &str, depth: &str) -> bool {
    let file = format!("{who}.pem");
    let ran = run(program("openssl").current_dir(site.path()).args([
        "verify",
        depth,
        "-CAfile",
        "ca.pem",
        "-CRLfile",
        "all.pem",
        "-untrusted",
        &file,
        &file,
    ]));
    ran.status.success()
}

/// Fails unless both OpenSSL and the server take the clients that are served, and refuse the revoked ones.
fn assert_decided(server: &Server, good: &[&str], revoked: &[&str]) {
    for who in good {
        assert!(openssl_takes(&server.site, who), "{who}");
        served(server, who, &[]);
    }
    for who in revoked {
        assert!(!openssl_takes(&server.site, who), "{who}");
        assert_refused(server, who, "it is revoked", CERTIFICATE_REVOKED);
    }
}

/// Fails unless a client is refused with this alert, and the log says why.
fn assert_refused(server: &Server, who: &str, why: &str, alert: u8) {
    let before = server.connection_lines().len();
    let ran = s_client(server, who, &[]);
    let said = format!("SSL alert number {alert}\n");
    assert!(ran.stderr.contains(&said), "{who}: {}", ran.stderr);
    assert!(ran.stdout.is_empty(), "{who}");
    let line = server.wait_for_connections(before + 1).pop().unwrap();
    let end = format!("handshake: the certificate of the client is refused: {why}: CN=");
    assert!(line.value("end").starts_with(&end), "{line:?}");
}

#[test]
fn the_newest_crl_of_an_issuer_decides_in_any_order() {
    if missing(&["openssl"]) {
        return;
    }
    let make = || {
        let setup = Setup::new();
        let old = setup.ca.numbered_crl(&[], 9, [-3, 30]);
        let new = setup.ca.numbered_crl(&[2], 10, [-1, 30]);
        (setup, old, new)
    };
    for of_one_file in [0, 1] {
        for is_new_first in [false, true] {
            let (setup, old, new) = make();
            let crls = match is_new_first {
                true => [&*new, &*old],
                false => [&*old, &*new],
            };
            let lines = &crl_files(&setup.site, &crls)[of_one_file];
            let ran = check(&setup.site, lines);
            let notices: Vec<&str> = (ran.stderr.lines())
                .filter(|line| line.contains("notice: client-crl"))
                .collect();
            assert_eq!(notices.len(), 1, "{}", ran.stderr);
            assert!(notices[0].contains("(number 9, of "), "{notices:?}");
            assert!(notices[0].contains("is left out: "), "{notices:?}");
            assert!(notices[0].contains("(number 10, of "), "{notices:?}");
            assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
            let server = setup.start(lines);
            assert_decided(&server, &["alice"], &["bob"]);
        }
    }
}

#[test]
fn the_crl_number_decides_before_the_date_and_the_date_where_numbers_are_equal() {
    if missing(&["openssl"]) {
        return;
    }
    for (other, words) in [
        ((9, [-1, 30]), "warning: client-crl"),
        ((10, [-5, 30]), "notice: client-crl"),
    ] {
        let setup = Setup::new();
        let deciding = setup.ca.numbered_crl(&[2], 10, [-3, 30]);
        let other = setup.ca.numbered_crl(&[1], other.0, other.1);
        let lines = &crl_files(&setup.site, &[&other, &deciding])[0];
        let ran = check(&setup.site, lines);
        assert!(ran.status.success(), "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        let server = setup.start(lines);
        served(&server, "alice", &[]);
        assert_refused(&server, "bob", "it is revoked", CERTIFICATE_REVOKED);
    }
}

#[test]
fn an_expired_crl_beside_a_current_one_changes_nothing() {
    if missing(&["openssl"]) {
        return;
    }
    for is_new_first in [false, true] {
        let setup = Setup::new();
        let expired = setup.ca.numbered_crl(&[], 1, [-9, -2]);
        let current = setup.ca.numbered_crl(&[2], 2, [-2, 5]);
        let crls = match is_new_first {
            true => [&*current, &*expired],
            false => [&*expired, &*current],
        };
        let lines = &crl_files(&setup.site, &crls)[1];
        let ran = check(&setup.site, lines);
        assert!(!ran.stderr.contains("expired"), "{}", ran.stderr);
        let server = setup.start(lines);
        assert_decided(&server, &["alice"], &["bob"]);
    }
}

#[test]
fn a_ca_that_has_renewed_its_key_has_a_crl_of_each() {
    if missing(&["openssl"]) {
        return;
    }
    for is_new_first in [false, true] {
        let setup = Setup::new();
        let new = Authority::new("Test CA");
        // The serial numbers begin anew.
        let [alice, bob] =
            [("alice", 1), ("bob", 2)].map(|(name, serial)| identified(&setup.ca, name, serial));
        let setup = setup
            .with("alice", &alice)
            .with("bob", &bob)
            .with("carol", &identified(&new, "carol", 1))
            .with("dave", &identified(&new, "dave", 2));
        let cas = match is_new_first {
            true => new.pem() + &setup.ca.pem(),
            false => setup.ca.pem() + &new.pem(),
        };
        fs::write(setup.site.file("ca.pem"), cas).unwrap();
        let crls = [
            setup.ca.numbered_crl(&[2], 70, [-9, 5]),
            new.numbered_crl(&[1], 1, [-2, 5]),
        ];
        let lines = &crl_files(&setup.site, &[&crls[0], &crls[1]])[0];
        let ran = check(&setup.site, lines);
        assert!(ran.status.success(), "{}", ran.stderr);
        assert!(!ran.stderr.contains("client-crl"), "{}", ran.stderr);
        let server = setup.start(lines);
        assert_decided(&server, &["alice", "dave"], &["bob", "carol"]);
    }
}

#[test]
fn a_ca_that_certifies_its_new_key_with_the_old_one_has_a_crl_of_each() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let new = setup.ca.intermediate("Test CA");
    let chained = |name: &str, serial| {
        let mut client = identified(&new, name, serial);
        client.certificate.push_str(&new.pem());
        client
    };
    let setup = setup
        .with("carol", &chained("carol", 1))
        .with("dave", &chained("dave", 2));
    let crls = [
        setup.ca.numbered_crl(&[2], 7, [-9, 5]),
        new.numbered_crl(&[1], 8, [-2, 5]),
    ];
    let lines = &crl_files(&setup.site, &[&crls[0], &crls[1]])[1];
    let server = setup.start(lines);
    assert_decided(&server, &["alice", "dave"], &["bob", "carol"]);
}

#[test]
fn a_crl_of_the_other_key_of_a_ca_is_named_in_the_log_and_by_check() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let other = Authority::new("Test CA");
    let lines = &crl_files(&setup.site, &[&other.crl(&[], Valid::Now)])[0];
    let ran = check(&setup.site, lines);
    assert!(ran.status.success(), "{}", ran.stderr);
    let warning = "has the name of a CA in client-ca, but not its signature";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    let server = setup.start(lines);
    assert!(!openssl_takes(&server.site, "alice"));
    let why = "no CRL in client-crl is signed with the key of its issuer";
    assert_refused(&server, "alice", why, UNKNOWN_CA);
}

#[test]
fn a_crl_of_a_distribution_point_counts_for_the_certificates_of_that_point() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let [one, two] = ["http://a.example/1.crl", "http://a.example/2.crl"];
    let at = |name: &str, serial, uri: &str| {
        setup.ca.client_with(name, serial, Valid::Now, |params| {
            let uris = vec![uri.to_owned()];
            params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
        })
    };
    let clients = [
        ("carol", at("carol", 11, one)),
        ("dave", at("dave", 12, one)),
        ("erin", at("erin", 13, two)),
        ("frank", at("frank", 14, two)),
        ("grace", at("grace", 15, "http://a.example/3.crl")),
    ];
    // Each point counts its CRLs for itself.
    let crls = [
        setup.ca.crl_at(one, &[12, 13], 900, 3),
        setup.ca.crl_at(two, &[14, 11], 3, 1),
        setup.ca.crl_at(two, &[13], 2, 2),
    ];
    let setup = clients
        .iter()
        .fold(setup, |setup, (name, client)| setup.with(name, client));
    let lines = &crl_files(&setup.site, &[&crls[0], &crls[2], &crls[1]])[0];
    let ran = check(&setup.site, lines);
    assert_eq!(
        ran.stderr.matches("is left out").count(),
        1,
        "{}",
        ran.stderr
    );
    let server = setup.start(lines);
    assert_decided(&server, &["carol", "erin"], &["dave", "frank"]);
    assert!(!openssl_takes(&server.site, "grace"));
    let why = "no CRL in client-crl is of its issuer";
    assert_refused(&server, "grace", why, UNKNOWN_CA);
}

#[test]
fn a_revoked_ca_between_the_client_and_client_ca_refuses_the_client() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let between = setup.ca.intermediate_with("Between", |params| {
        params.serial_number = Some(vec![77].into());
    });
    let mut carol = between.client("carol", 1);
    carol.certificate.push_str(&between.pem());
    let setup = setup.with("carol", &carol);
    let crls = [
        setup.ca.numbered_crl(&[], 1, [-3, 5]),
        setup.ca.numbered_crl(&[77], 2, [-2, 5]),
        between.numbered_crl(&[], 1, [-2, 5]),
    ];
    let lines = &crl_files(&setup.site, &[&crls[0], &crls[1], &crls[2]])[0];
    let server = setup.start(lines);
    assert!(!openssl_verify(&server.site, "carol", "-crl_check_all"));
    let why = "a CA between it and client-ca is refused: it is revoked";
    assert_refused(&server, "carol", why, CERTIFICATE_REVOKED);
    served(&server, "alice", &[]);
}

#[test]
fn a_damaged_crl_is_refused_by_check() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let crl = setup.ca.crl(&[1], Valid::Now);
    let setup = setup.with(
        "x",
        &Certificate {
            certificate: crl,
            key: String::new(),
        },
    );
    let der = run(program("openssl")
        .current_dir(setup.site.path())
        .args(["crl", "-in", "x.pem", "-outform", "DER"]));
    let mut der = der.stdout;
    // The last byte is one of the signature.
    *der.last_mut().unwrap() ^= 1;
    fs::write(setup.site.file("x.crl"), der).unwrap();
    let ran = check(&setup.site, &format!("{REQUIRED}client-crl = \"x.crl\""));
    assert_eq!(ran.status.code(), Some(96), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("its signature is wrong"),
        "{}",
        ran.stderr
    );
}

#[test]
fn delta_and_indirect_crls_are_refused_in_words() {
    if missing(&["openssl"]) {
        return;
    }
    for (extension, words) in [
        ("2.5.29.27 = critical, ASN1:INTEGER:1", "it is a delta CRL"),
        (
            "issuingDistributionPoint = critical, @idp\n[idp]\nfullname = URI:http://a.example/crl\nindirectCRL = TRUE",
            "it is an indirect CRL",
        ),
        (
            "issuingDistributionPoint = critical, @idp\n[idp]\nfullname = URI:http://a.example/crl\n\
             onlysomereasons = keyCompromise",
            "it is for some of the reasons of revocation",
        ),
    ] {
        let setup = Setup::new();
        write_secret(&setup.site.file("ca.key"), &setup.ca.key());
        fs::write(setup.site.file("index.txt"), "").unwrap();
        fs::write(setup.site.file("number"), "02\n").unwrap();
        let configuration = format!(
            "[ca]\ndefault_ca = ours\n[ours]\ndatabase = index.txt\ndefault_md = sha256\ndefault_crl_days = 30\n\
             crlnumber = number\ncrl_extensions = ext\n[ext]\nauthorityKeyIdentifier = keyid\n{extension}\n"
        );
        fs::write(setup.site.file("openssl.cnf"), configuration).unwrap();
        let steps =
            "openssl ca -config openssl.cnf -gencrl -keyfile ca.key -cert ca.pem -out ca.crl";
        run(program("sh")
            .current_dir(setup.site.path())
            .args(["-c", steps]))
        .succeeded();
        let ran = check(&setup.site, &format!("{REQUIRED}client-crl = \"ca.crl\""));
        assert_eq!(ran.status.code(), Some(96), "{}", ran.stderr);
        let message = format!(
            "unable to use client-crl \"{}\": {words}",
            setup.site.file("ca.crl").display()
        );
        assert!(ran.stderr.contains(&message), "{}", ran.stderr);
    }
}
