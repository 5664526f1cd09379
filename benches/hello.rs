//! How long a table of 5,000 hosts takes to load, and then each client to be read and routed: by its name,
//! and by its protocol where all of them share one name.
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
use tlssrv::config::{self, ConfigSource, Form, Hosts, Options, Trace};
use tlssrv::tls::hello::{ClientHello, HelloReader, Progress};
use tlssrv::types::{HostId, ListenerId};

const HOSTS: usize = 5_000;
/// Every so manyth host is looked for: an odd number, for names and wildcards.
const STEP: usize = 49;
const ROUNDS: usize = 40;

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let certificate = rcgen::generate_simple_self_signed(["*.example".to_owned()]).unwrap();
    let pem = certificate.cert.pem() + &certificate.signing_key.serialize_pem();
    fs::write(directory.path().join("cert.pem"), pem).unwrap();
    let load = |what: &str, table: String| {
        let file = directory.path().join("tlssrv.toml");
        fs::write(&file, table).unwrap();
        let options = Options {
            log: None,
            level: None,
            remote_name: None,
            trace: Trace::Off,
            passed: None,
        };
        let start = Instant::now();
        let Ok(loaded) = config::load(&ConfigSource::File(file), Form::Server, &options) else {
            panic!("the table is wrong");
        };
        println!("{what}: {} ms", start.elapsed().as_millis());
        loaded.config.hosts
    };
    let hosts = load(&format!("load {HOSTS} hosts"), table());
    let sharing = load(&format!("load {HOSTS} that share a name"), shared_name());

    let by_name = (0..HOSTS)
        .step_by(STEP)
        .map(|host| hello(&name(host, "any"), &[]));
    let by_name: Vec<Vec<u8>> = by_name.collect();
    let by_protocol = (0..HOSTS)
        .step_by(STEP)
        .map(|host| hello("a.example", &["x", &format!("protocol{host}")]));
    let by_protocol: Vec<Vec<u8>> = by_protocol.collect();
    let read = |bytes: &[u8]| match HelloReader::new().read(bytes) {
        Ok(Progress::Complete(hello)) => hello,
        other => panic!("no hello: {other:?}"),
    };
    let routed = |hello: &ClientHello, hosts: &Hosts| {
        let route = hosts.route(ListenerId::new(0), hello.server_name.as_ref(), &hello.alpn);
        route.unwrap().host
    };
    measure("read a hello", by_name.len(), || {
        for bytes in &by_name {
            black_box(read(black_box(bytes)));
        }
    });
    for (what, hellos, hosts) in [
        ("route it by its name", &by_name, &hosts),
        ("route it by its protocol", &by_protocol, &sharing),
    ] {
        let parsed: Vec<ClientHello> = hellos.iter().map(|bytes| read(bytes)).collect();
        for (place, hello) in parsed.iter().enumerate() {
            assert_eq!(routed(hello, hosts), HostId::new(place * STEP));
        }
        measure(what, parsed.len(), || {
            for hello in &parsed {
                black_box(routed(black_box(hello), hosts));
            }
        });
    }
}

/// Half of the hosts have a name, the others a wildcard.
fn table() -> String {
    let names = (0..HOSTS).map(|host| (name(host, "*"), String::new()));
    toml(names)
}

/// All hosts have one name, and each its protocol.
fn shared_name() -> String {
    let protocols = (0..HOSTS).map(|host| format!("\"protocol{host}\""));
    toml(protocols.map(|protocol| ("a.example".to_owned(), protocol)))
}

/// The table of hosts with these names and protocols.
fn toml(hosts: impl Iterator<Item = (String, String)>) -> String {
    let mut toml = String::from("[[listen]]\naddress = \"127.0.0.1:0\"\n");
    for (name, alpn) in hosts {
        let rest = "cert = [\"cert.pem\"]\ncommand = [\"cat\"]\nallow-root = true\n";
        write!(
            toml,
            "[[host]]\nnames = [\"{name}\"]\nalpn = [{alpn}]\n{rest}"
        )
        .unwrap();
    }
    toml
}

/// The name of a host; every other one's is `label` under a name of its own.
fn name(host: usize, label: &str) -> String {
    match host % 2 {
        0 => format!("host{host}.example"),
        _ => format!("{label}.host{host}.example"),
    }
}

/// What a rustls client sends first that looks for this name and offers these protocols.
fn hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
    config.alpn_protocols = protocols.collect();
    let name = name.to_owned().try_into().unwrap();
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
