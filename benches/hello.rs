//! How long a table of 5,000 hosts takes to load, and then each client to be read and routed.
//!
//! `cargo bench --bench hello`
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement stops where it stands, and prints"
)]

use std::fmt::Write;
use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tlssrv::config::{self, Form, Hosts, Options, Source, Trace};
use tlssrv::tls::hello::{ClientHello, HelloReader, Progress};

const HOSTS: usize = 5_000;
/// Every so manyth host is looked for: an odd number, for names and wildcards.
const STEP: usize = 49;
const ROUNDS: usize = 40;

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["*.example".to_owned()]).unwrap();
    let pem = certificate.cert.pem() + &certificate.signing_key.serialize_pem();
    fs::write(directory.path().join("cert.pem"), pem).unwrap();
    let file = directory.path().join("tlssrv.toml");
    fs::write(&file, table()).unwrap();

    let options = Options {
        log: None,
        remote_name: None,
        trace: Trace::Off,
        passed: None,
    };
    let start = Instant::now();
    let Ok(loaded) = config::load(&Source::File(file), Form::Server, &options) else {
        panic!("the table is wrong");
    };
    println!("load {HOSTS} hosts: {} ms", start.elapsed().as_millis());

    let hellos: Vec<Vec<u8>> = (0..HOSTS).step_by(STEP).map(hello).collect();
    let read = |bytes: &[u8]| match HelloReader::new().read(bytes) {
        Ok(Progress::Complete(hello)) => hello,
        other => panic!("no hello: {other:?}"),
    };
    let routed = |hello: &ClientHello, hosts: &Hosts| {
        hosts.route(0, hello.server_name.as_ref()).unwrap().host
    };
    for (place, bytes) in hellos.iter().enumerate() {
        assert_eq!(routed(&read(bytes), &loaded.config.hosts), place * STEP);
    }
    let parsed: Vec<ClientHello> = hellos.iter().map(|bytes| read(bytes)).collect();
    measure("read a hello", hellos.len(), || {
        for bytes in &hellos {
            black_box(read(black_box(bytes)));
        }
    });
    measure("route it", parsed.len(), || {
        for hello in &parsed {
            black_box(routed(black_box(hello), &loaded.config.hosts));
        }
    });
}

/// Half of the hosts have a name, the others a wildcard.
fn table() -> String {
    let mut toml = String::from("[[listen]]\naddress = \"127.0.0.1:0\"\n");
    for host in 0..HOSTS {
        let name = match host % 2 {
            0 => format!("host{host}.example"),
            _ => format!("*.host{host}.example"),
        };
        let rest = "cert = [\"cert.pem\"]\ncommand = [\"cat\"]\nallow-root = true\n";
        write!(toml, "[[host]]\nnames = [\"{name}\"]\n{rest}").unwrap();
    }
    toml
}

/// What a rustls client sends first that looks for this host.
fn hello(host: usize) -> Vec<u8> {
    let name = match host % 2 {
        0 => format!("host{host}.example"),
        _ => format!("any.host{host}.example"),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = name.try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Prints the median over all rounds of what one of `count` takes.
fn measure(what: &str, count: usize, mut round: impl FnMut()) {
    let mut times: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_nanos() / count as u128
        })
        .collect();
    times.sort_unstable();
    let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
    println!("{what}: {median} ns");
}
