//! Types of client keys.

use rcgen::KeyPair;

use crate::setup::{Setup, served, value};
use tlssrv_testing::pki::Valid;
use tlssrv_testing::programs::{missing, program, run};

/// Key types, as options of `openssl genpkey`.
const KINDS: [(&str, &[&str]); 5] = [
    ("p256", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("ed25519", &["ED25519"]),
    ("rsa2048", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ("rsa3072", &["RSA", "-pkeyopt", "rsa_keygen_bits:3072"]),
];

#[test]
fn client_certificates_may_have_keys_of_every_type() {
    if missing(&["openssl"]) {
        return;
    }
    let mut setup = Setup::new();
    for (name, options) in KINDS {
        let made = run(program("openssl")
            .args(["genpkey", "-algorithm"])
            .args(options));
        let pem = made.text();
        let key = KeyPair::from_pem(&pem).unwrap();
        let mut client = setup.ca.certify(&key, name, 3, Valid::Now, |_| {});
        // Written by openssl, because openssl 3.0 does not read the key of rcgen.
        client.key = pem;
        setup = setup.with(name, &client);
    }
    let server = setup.require("");
    for (name, _) in KINDS {
        for version in ["-tls1_3", "-tls1_2"] {
            let text = served(&server, name, &[version]);
            let subject = format!("CN={name}");
            assert_eq!(value(&text, "SSL_CLIENT_S_DN"), Some(subject.as_str()));
        }
    }
}
