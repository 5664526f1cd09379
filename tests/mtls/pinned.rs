//! Certificates and keys that are trusted without a CA: the certificate itself in `client-ca`, or its key in `allow`.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, SupportedProtocolVersion};

use crate::setup::{Setup, s_client, served, table, value};
use tlssrv_testing::pki::{Certificate, Valid, write_secret};
use tlssrv_testing::programs::{Ran, missing, program, run};
use tlssrv_testing::raw::codes::alert::{
    ACCESS_DENIED, CERTIFICATE_EXPIRED, CERTIFICATE_REVOKED, UNKNOWN_CA, UNSUPPORTED_CERTIFICATE,
};
use tlssrv_testing::{Dial, Ended, Server, Site, eventually, tlssrv_path};

const VERSIONS: [&str; 2] = ["-tls1_3", "-tls1_2"];

/// Has OpenSSL make a certificate that signs itself, `NAME.crt`, and with its key, `NAME.pem`.
fn self_signed(site: &Site, name: &str, options: &str) {
    let steps = format!(
        "openssl req -newkey {options} -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr && \
         openssl x509 -req -in {name}.csr -signkey {name}.key -days 9 -out {name}.v1 && \
         openssl req -x509 -key {name}.key -subj /CN={name} -days 9 -out {name}.crt && \
         cat {name}.crt {name}.key >{name}.pem && cat {name}.v1 {name}.key >{name}1.pem"
    );
    run(program("sh").current_dir(site.path()).args(["-c", &steps])).succeeded();
}

/// Types of keys, as options of `openssl req -newkey`.
const KINDS: [(&str, &str); 4] = [
    ("ec", "ec -pkeyopt ec_paramgen_curve:P-256"),
    ("ec384", "ec -pkeyopt ec_paramgen_curve:P-384"),
    ("rsa", "rsa:2048"),
    ("ed", "ed25519"),
];

/// The entry of `allow` for the key of `WHO.pem`, with the command that the manual gives for it.
fn pin(site: &Site, who: &str) -> String {
    let steps = format!(
        "openssl x509 -in {who}.pem -pubkey -noout | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r"
    );
    let ran = run(program("sh").current_dir(site.path()).args(["-c", &steps]));
    let text = ran.succeeded().text();
    format!("sha256:{}", text.split(' ').next().unwrap())
}

/// A table of a host that takes these keys, and has no CA.
fn keys_only(keys: &[String]) -> String {
    let entries = keys.iter().map(|key| format!("{{ spki = {key:?} }}"));
    let entries: Vec<_> = entries.collect();
    let lines = format!(
        "client-auth = \"require\"\nallow = [{}]",
        entries.join(", ")
    );
    table(&lines).replace("client-ca = \"ca.pem\"\n", "")
}

fn check(site: &Site, toml: &str) -> Ran {
    fs::write(site.file("tlssrv.toml"), toml).unwrap();
    run(Command::new(tlssrv_path())
        .args(["--check", "-f"])
        .arg(site.file("tlssrv.toml")))
}

/// Fails unless a client gets this alert in both versions, and the log says why.
fn assert_refused(server: &Server, who: &str, alert: u8, why: &str) {
    for version in VERSIONS {
        let before = server.connection_lines().len();
        let ran = s_client(server, who, &[version]);
        let said = format!("SSL alert number {alert}\n");
        assert!(
            ran.stderr.contains(&said),
            "{who} {version}: {}",
            ran.stderr
        );
        assert!(ran.stdout.is_empty(), "{who} {version}");
        let line = server.wait_for_connections(before + 1).pop().unwrap();
        let end = format!("handshake: the certificate of the client is refused: {why}: ");
        assert!(line.value("end").starts_with(&end), "{line:?}");
        assert_eq!(line.get("identity"), None);
    }
}

#[test]
fn a_certificate_in_client_ca_is_trusted_itself_although_it_is_its_own_ca() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let mut trusted = setup.ca.pem();
    for (name, options) in KINDS {
        self_signed(&setup.site, name, options);
        trusted += &fs::read_to_string(setup.site.file(&format!("{name}.crt"))).unwrap();
        trusted += &fs::read_to_string(setup.site.file(&format!("{name}.v1"))).unwrap();
    }
    self_signed(&setup.site, "mallory", KINDS[0].1);
    fs::write(setup.site.file("ca.pem"), trusted).unwrap();
    let server = setup.require("");
    for version in VERSIONS {
        for (name, _) in KINDS {
            // The second is of X.509 version 1.
            for who in [name.to_owned(), format!("{name}1")] {
                let text = served(&server, &who, &[version]);
                let subject = format!("CN={name}");
                assert_eq!(value(&text, "SSL_CLIENT_S_DN"), Some(&*subject), "{who}");
                assert_eq!(value(&text, "SSL_CLIENT_VERIFY"), Some("SUCCESS"));
            }
        }
        served(&server, "alice", &[version]);
    }
    let why = "it is the certificate of a CA, which counts for a client only if it is itself in client-ca";
    assert_refused(&server, "mallory", 46, why);
    let why = "it is of an old version of X.509, and has to be of version 3";
    assert_refused(&server, "mallory1", 46, why);
}

#[test]
fn a_key_in_allow_is_trusted_without_a_ca_and_its_names_are_not() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    for (name, options) in KINDS {
        self_signed(&setup.site, name, options);
    }
    let keys: Vec<_> = KINDS
        .iter()
        .map(|(name, _)| pin(&setup.site, name))
        .collect();
    let toml = keys_only(&keys);
    let ran = check(&setup.site, &toml);
    assert!(ran.status.success(), "{}", ran.stderr);
    self_signed(&setup.site, "mallory", KINDS[0].1);
    let server = Server::with_config_in(setup.site, &toml);
    for ((name, _), key) in KINDS.iter().zip(&keys) {
        for version in VERSIONS {
            for who in [(*name).to_owned(), format!("{name}1")] {
                let text = served(&server, &who, &[version]);
                assert_eq!(value(&text, "SSL_CLIENT_VERIFY"), Some("SUCCESS"));
                for variable in [
                    "SSL_CLIENT_S_DN",
                    "SSL_CLIENT_I_DN",
                    "SSL_PEER_CERT_SUBJECT",
                ] {
                    assert_eq!(value(&text, variable), None, "anybody can write it");
                }
                assert!(value(&text, "SSL_PEER_CERT_HASH").is_some());
                let line = server.connection_lines().pop().unwrap();
                assert_eq!(line.value("auth"), "mtls");
                assert_eq!(line.value("identity"), key);
            }
        }
    }
    assert!(!server.lines().iter().any(|line| line.contains("left out")));
    assert_refused(&server, "mallory", ACCESS_DENIED, "its key is not in allow");
    assert_refused(&server, "alice", ACCESS_DENIED, "its key is not in allow");
    let ran = s_client(&server, "", &[]);
    assert!(
        ran.stderr.contains("SSL alert number 116\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_client_without_the_key_of_a_trusted_certificate_is_refused() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    for (name, options) in KINDS {
        self_signed(&setup.site, name, options);
    }
    let mut trusted = String::new();
    let mut keys = Vec::new();
    for (name, _) in KINDS {
        for kind in ["crt", "v1"] {
            trusted += &fs::read_to_string(setup.site.file(&format!("{name}.{kind}"))).unwrap();
        }
        keys.push(pin(&setup.site, name));
    }
    fs::write(setup.site.file("ca.pem"), trusted).unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let chains: Vec<_> = KINDS
        .iter()
        .flat_map(|(name, _)| [format!("{name}.crt"), format!("{name}.v1")])
        .map(|name| fs::read_to_string(setup.site.file(&name)).unwrap())
        .collect();
    let by_key = Site::new();
    let servers = [
        Server::with_config_in(by_key, &keys_only(&keys)),
        setup.require(""),
    ];
    for server in &servers {
        let mut count = 0;
        for chain in &chains {
            for version in [&TLS13, &TLS12] {
                let before = server.connection_lines().len();
                let ended = signed_with(server, version, chain, &other);
                assert_eq!(ended, Ended::Alert(AlertDescription::DecryptError));
                let line = server.wait_for_connections(before + 1).pop().unwrap();
                let end =
                    "handshake: the client has not proved that it has the key of its certificate: ";
                assert!(line.value("end").starts_with(end), "{line:?}");
                assert_eq!((line.get("identity"), line.get("pid")), (None, None));
                count += 1;
            }
        }
        assert_eq!(count, 16);
    }
}

/// How a connection ends for a client with this certificate whose signatures are made with another key.
fn signed_with(
    server: &Server,
    version: &'static SupportedProtocolVersion,
    chain: &str,
    key: &str,
) -> Ended {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    // The key is not that of the certificate, which this constructor does not check.
    let shown = CertifiedKey::new(chain, any_supported_type(&key).unwrap());
    let shown: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(shown));
    let dial = Dial::version(version).with(|config| config.client_auth_cert_resolver = shown);
    // In TLS 1.3 the client is ready before the server has seen its certificate.
    dial.try_connect(server.address(), "a.example")
        .map_or_else(|ended| ended, |mut client| client.read_to_end().ended)
}

#[test]
fn dates_usage_and_crls_hold_for_certificates_that_are_trusted_themselves() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let clients = [
        ("good", Valid::Now, 11),
        ("late", Valid::Yesterday, 12),
        ("early", Valid::Tomorrow, 13),
        ("revoked", Valid::Now, 14),
    ]
    .map(|(name, valid, serial)| (name, setup.ca.client_with(name, serial, valid, |_| {})));
    let www = setup.ca.client_with("www", 15, Valid::Now, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let mut trusted = String::new();
    let crls = setup.ca.numbered_crl(&[11], 1, [-3, 5]) + &setup.ca.numbered_crl(&[14], 2, [-1, 5]);
    let mut setup = setup.with("www", &www);
    for (name, client) in &clients {
        trusted += &client.certificate;
        setup = setup.with(name, client);
    }
    trusted += &www.certificate;
    // The CA itself is not trusted.
    fs::write(setup.site.file("ca.pem"), trusted).unwrap();
    fs::write(setup.site.file("crl.pem"), crls).unwrap();
    let server = setup.require("client-crl = \"crl.pem\"");
    for version in VERSIONS {
        served(&server, "good", &[version]);
    }
    assert_refused(&server, "late", CERTIFICATE_EXPIRED, "it has expired");
    assert_refused(&server, "early", CERTIFICATE_EXPIRED, "it is not valid yet");
    assert_refused(&server, "revoked", CERTIFICATE_REVOKED, "it is revoked");
    assert_refused(
        &server,
        "www",
        UNSUPPORTED_CERTIFICATE,
        "it is not for clients",
    );
    let why = "it is not in client-ca, where there is no CA";
    assert_refused(&server, "alice", UNKNOWN_CA, why);
}

#[test]
fn dates_hold_for_keys_that_are_trusted_themselves() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let key = KeyPair::generate().unwrap();
    let certify = |valid| setup.ca.certify(&key, "carol", 3, valid, |_| {});
    let (good, late) = (certify(Valid::Now), certify(Valid::Yesterday));
    let setup = setup.with("good", &good).with("late", &late);
    let key = pin(&setup.site, "good");
    assert_eq!(key, pin(&setup.site, "late"));
    let server = Server::with_config_in(setup.site, &keys_only(&[key]));
    served(&server, "good", &[]);
    assert_refused(&server, "late", CERTIFICATE_EXPIRED, "it has expired");
}

#[test]
fn a_client_cannot_make_others_with_a_certificate_that_is_not_of_a_ca() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "carol");
    let carol = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let forged = params.signed_by(&key, &carol).unwrap().pem();
    let setup = setup.with(
        "forged",
        &Certificate {
            certificate: forged,
            key: key.serialize_pem(),
        },
    );
    let setup = setup.with(
        "carol",
        &Certificate {
            certificate: carol.as_ref().pem(),
            key: carol.key().serialize_pem(),
        },
    );
    fs::write(
        setup.site.file("ca.pem"),
        setup.ca.pem() + &carol.as_ref().pem(),
    )
    .unwrap();
    let ran = check(&setup.site, &table("client-auth = \"require\""));
    let notice = "has a certificate that is not of a CA: it counts for the client that has its key";
    assert!(ran.stderr.contains(notice), "{}", ran.stderr);
    let server = setup.require("");
    served(&server, "carol", &[]);
    served(&server, "alice", &[]);
    assert_refused(
        &server,
        "forged",
        UNKNOWN_CA,
        "nobody in client-ca has issued it",
    );
}

#[test]
fn a_client_cannot_make_others_with_a_certificate_of_version_1() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    write_secret(&setup.site.file("ca.key"), &setup.ca.key());
    let steps = "set -e; for who in ivan forged; do \
                 openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$who \
                 -keyout $who.key -out $who.csr; done
                 openssl x509 -req -in ivan.csr -CA ca.pem -CAkey ca.key -days 9 -out ivan.crt
                 echo extendedKeyUsage=clientAuth >ext
                 openssl x509 -req -in forged.csr -CA ivan.crt -CAkey ivan.key -days 9 -extfile ext -out forged.crt
                 cat ivan.crt ivan.key >ivan.pem; cat forged.crt forged.key >forged.pem
                 cat ca.pem ivan.crt >both.pem; mv both.pem ca.pem";
    run(program("sh")
        .current_dir(setup.site.path())
        .args(["-c", steps]))
    .succeeded();
    let server = setup.require("");
    served(&server, "ivan", &[]);
    let why = "nobody in client-ca has issued it";
    assert_refused(&server, "forged", UNKNOWN_CA, why);
}

#[test]
fn with_client_ca_a_key_in_allow_is_one_more_condition() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    self_signed(&setup.site, "mallory", KINDS[0].1);
    let keys = ["mallory", "alice"].map(|who| pin(&setup.site, who));
    let allow = format!(
        "allow = [{{ spki = {:?} }}, {{ spki = {:?} }}]",
        keys[0], keys[1]
    );
    let server = setup.require(&allow);
    let text = served(&server, "alice", &[]);
    assert_eq!(value(&text, "SSL_CLIENT_S_DN"), Some("CN=alice"));
    let why = "it is the certificate of a CA, which counts for a client only if it is itself in client-ca";
    assert_refused(&server, "mallory", 46, why);
    assert_refused(&server, "bob", ACCESS_DENIED, "it is not in allow");
}

#[test]
fn a_certificate_that_is_trusted_itself_has_to_be_allowed_too() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    self_signed(&setup.site, "ec", KINDS[0].1);
    self_signed(&setup.site, "carol", KINDS[0].1);
    let both = ["ec", "carol"].map(|who| {
        let file = setup.site.file(&format!("{who}.crt"));
        fs::read_to_string(file).unwrap()
    });
    fs::write(setup.site.file("ca.pem"), both.concat()).unwrap();
    let server = setup.require("allow = [{ cn = \"carol\" }]");
    served(&server, "carol", &[]);
    assert_refused(&server, "ec", ACCESS_DENIED, "it is not in allow");
}

#[test]
fn what_names_somebody_needs_a_ca() {
    let setup = Setup::new();
    let key = format!("sha256:{}", "0".repeat(64));
    for (lines, message) in [
        (
            "allow = [{ psk = \"carol\" }]".to_owned(),
            "client-auth needs \"client-ca\": whose certificates are to be trusted? Or trust keys",
        ),
        (
            format!("allow = [{{ spki = {key:?} }}, {{ cn = \"carol\" }}]"),
            "this entry of allow needs \"client-ca\": who is to vouch for the name?",
        ),
        (
            format!("allow = [{{ spki = {key:?} }}]\nclient-crl = \"crl.pem\""),
            "\"client-crl\" without \"client-ca\"",
        ),
        (
            format!(
                "allow = [{{ spki = {key:?} }}]\nrun-as = \"cert-cn\"\nusers = {{ a = \"nobody\" }}"
            ),
            "run-as = \"cert-cn\" needs \"client-ca\": whoever has a key of allow can make a certificate",
        ),
    ] {
        let toml = table(&format!("client-auth = \"require\"\n{lines}"));
        let ran = check(&setup.site, &toml.replace("client-ca = \"ca.pem\"\n", ""));
        assert_eq!(ran.status.code(), Some(96), "{lines}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{lines}: {}", ran.stderr);
    }
}

#[test]
fn a_session_of_a_trusted_key_is_resumed_until_its_certificate_expires() {
    if missing(&["openssl"]) {
        return;
    }
    let setup = Setup::new();
    let until = SystemTime::now() + Duration::from_secs(10);
    let brief = setup.ca.client_with("brief", 3, Valid::Now, |params| {
        params.not_after = until.into();
    });
    let setup = setup.with("brief", &brief);
    let key = pin(&setup.site, "brief");
    let server = Server::with_config_in(setup.site, &keys_only(std::slice::from_ref(&key)));
    let session = |version: &str| {
        let file = server.site.file(&format!("session{version}"));
        file.to_str().unwrap().to_owned()
    };
    for version in VERSIONS {
        served(&server, "brief", &[version, "-sess_out", &session(version)]);
    }
    for version in VERSIONS {
        let text = served(&server, "brief", &[version, "-sess_in", &session(version)]);
        assert_eq!(value(&text, "SSL_SESSION_RESUMED"), Some("Resumed"));
        assert_eq!(value(&text, "SSL_CLIENT_S_DN"), None);
        let line = server.connection_lines().pop().unwrap();
        assert_eq!(line.value("identity"), key);
    }
    eventually("it has expired", || {
        let end = until + Duration::from_secs(1);
        (SystemTime::now() > end).then_some(())
    });
    for version in VERSIONS {
        let ran = s_client(&server, "brief", &[version, "-sess_in", &session(version)]);
        let said = format!("SSL alert number {CERTIFICATE_EXPIRED}\n");
        assert!(ran.stderr.contains(&said), "{version}: {}", ran.stderr);
        assert!(ran.stdout.is_empty());
    }
}
