//! Chains: their order, their gaps, and the certificate that a key belongs to.

use std::fs;

use rcgen::KeyPair;
use tlssrv_testing::authority::Authority;
use tlssrv_testing::pki::{self, Certificate, write_secret};

use crate::site::{CERTIFIED, Outcome, Site, with_host};

/// A leaf with its key, and the certificates above it.
struct Chain {
    leaf: Certificate,
    intermediate: String,
    root: String,
}

impl Chain {
    fn new() -> Self {
        let root = Authority::new("Root");
        let intermediate = root.intermediate("Intermediate");
        Self {
            leaf: intermediate.server(&["a.example"], 1, &KeyPair::generate().unwrap()),
            intermediate: intermediate.pem(),
            root: root.pem(),
        }
    }

    /// What `--check` says of these certificates with the key of the leaf.
    fn check(&self, certificates: &[&str]) -> Outcome {
        let site = Site::new();
        fs::write(site.path().join("a.pem"), certificates.concat()).unwrap();
        write_secret(&site.path().join("a.key"), &self.leaf.key);
        site.check(&with_host(""))
    }
}

/// Fails unless it was accepted with exactly this warning about `a.pem`.
#[track_caller]
fn warns(outcome: &Outcome, text: &str) {
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    let warnings: Vec<_> = outcome
        .stderr
        .lines()
        .filter(|line| line.contains("warning:"))
        .collect();
    let [warning] = warnings.as_slice() else {
        panic!("{}", outcome.stderr);
    };
    let expected = format!("a.pem\": {text}");
    assert!(warning.ends_with(&expected), "{text}\n{warning}");
}

/// Number of lines of a certificate.
fn lines(pem: &str) -> usize {
    pem.lines().count()
}

#[test]
fn a_chain_with_or_without_its_root_is_fine() {
    let chain = Chain::new();
    let (leaf, intermediate, root) = (&chain.leaf.certificate, &chain.intermediate, &chain.root);
    chain.check(&[leaf, intermediate]).is_fine();
    chain.check(&[leaf, intermediate, root]).is_fine();
}

#[test]
fn a_missing_issuer_is_named() {
    let chain = Chain::new();
    let (leaf, root) = (&chain.leaf.certificate, &chain.root);
    let missing = "the issuer of \"CN=a.example\", \"CN=Intermediate\", is missing in it: clients that do not have \
                   that one refuse the certificate; append it";
    warns(&chain.check(&[leaf]), missing);
    warns(&chain.check(&[leaf, root]), missing);

    // Between two intermediates.
    let root = Authority::new("Root");
    let upper = root.intermediate("Upper");
    let lower = upper.intermediate("Lower");
    let leaf = lower.server(&["a.example"], 1, &KeyPair::generate().unwrap());
    let chain = Chain {
        leaf,
        intermediate: lower.pem(),
        root: root.pem(),
    };
    let missing = "the issuer of \"CN=Lower\", \"CN=Upper\", is missing in it: clients that do not have that one \
                   refuse the certificate; append it";
    warns(
        &chain.check(&[&chain.leaf.certificate, &chain.intermediate, &chain.root]),
        missing,
    );
    chain
        .check(&[&chain.leaf.certificate, &chain.intermediate])
        .is_fine();
    chain
        .check(&[&chain.leaf.certificate, &chain.intermediate, &upper.pem()])
        .is_fine();
}

#[test]
fn certificates_out_of_order_twice_or_of_another_chain_get_a_warning() {
    let chain = Chain::new();
    let (leaf, intermediate, root) = (&chain.leaf.certificate, &chain.intermediate, &chain.root);
    let second = lines(leaf) + 1;
    warns(
        &chain.check(&[leaf, root, intermediate]),
        &format!(
            "line {second}: \"CN=Root\" stands before \"CN=Intermediate\", which it has issued: an issuer comes after \
             what it has issued"
        ),
    );
    warns(
        &chain.check(&[leaf, leaf, intermediate]),
        &format!("line {second}: the certificate of line 1 again"),
    );
    let other = pki::certificate(&["b.example"]).certificate;
    warns(
        &chain.check(&[leaf, &other, intermediate]),
        &format!(
            "line {second}: \"CN=rcgen self signed cert\" is not of this chain: it has issued none of the others"
        ),
    );
}

#[test]
fn a_key_of_a_later_certificate_is_refused_with_its_name_and_line() {
    let chain = Chain::new();
    let (leaf, intermediate) = (&chain.leaf.certificate, &chain.intermediate);
    let outcome = chain.check(&[intermediate, leaf]);
    assert_eq!(outcome.status, Some(96));
    let line = lines(intermediate) + 1;
    let expected = format!(
        "a.pem\", but to \"CN=a.example\" in line {line} of it, which has to be the first one\n"
    );
    assert!(
        outcome.stderr.contains("it does not belong to certificate"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains(&expected), "{}", outcome.stderr);
}

#[test]
fn keys_in_another_order_than_their_certificates_are_refused_with_the_right_one() {
    let site = Site::new();
    pki::certificate(&["a.example"]).write(site.path(), "b");
    let path = |name: &str| format!("{:?}", site.path().join(name).display().to_string());
    let lines = "cert = [\"a.pem\", \"b.pem\"]\nkey = [\"b.key\", \"a.key\"]\n";
    let outcome = site.check(&with_host("").replace(CERTIFIED, lines));
    for (key, cert, right) in [("b.key", "a.pem", "b.pem"), ("a.key", "b.pem", "a.pem")] {
        let message = format!(
            "unable to use key {}: it does not belong to certificate {}, but to {}: keys have the order of their \
             certificates",
            path(key),
            path(cert),
            path(right)
        );
        outcome.refuses("key =", &message);
    }
}

#[test]
fn a_key_in_the_place_of_its_certificate_is_refused_with_the_advice_to_exchange_them() {
    let site = Site::new();
    let path = |name: &str| format!("{:?}", site.path().join(name).display().to_string());
    let lines = "cert = [\"a.key\"]\nkey = [\"a.pem\"]\n";
    let message = format!(
        "unable to use certificate {}: it has the private key, and {}, the key, has the certificate: exchange the two",
        path("a.key"),
        path("a.pem")
    );
    site.check(&with_host("").replace(CERTIFIED, lines))
        .refuses("cert =", &message);
    let outcome = site.run(&["--check", "-c", "a.key", "--key", "a.pem", "cat"]);
    assert!(
        outcome.stderr.contains("exchange the two"),
        "{}",
        outcome.stderr
    );
}
