//! What pre-shared keys cost a server beside certificates: handshakes a second, and bytes.
//!
//! `cargo bench --bench psk` — it fails where a pre-shared key is not at least 1.5 times as fast as an
//! ECDSA P-256 certificate, or its traffic less than 0.9 of rustls's. Only the server's side is timed.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    reason = "a measurement stops where it stands, and prints"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::NoServerSessionStorage;
use rustls::{CipherSuite, ClientConfig, ClientConnection, NamedGroup, RootCertStore};
use rustls::{ServerConfig, version};
use tlssrv::tls::provider::provider;
use tlssrv::tls::psk::{self, Keys, Modes};
use tlssrv::tls::session::{Session, Stage};
use tlssrv::types::{Buffer, PskIdentity};

use tlssrv_testing::raw;
use tlssrv_testing::raw::groups::Share;
use tlssrv_testing::raw::hash::Hash;
use tlssrv_testing::raw::hello::{Hello, Psk};

/// Handshakes, or chunks of plaintext, between two looks at the clock's sum.
const BATCH: usize = 200;
const ROUNDS: usize = 25;
/// Plaintext given to a session at a time, as the relay does it.
const CHUNK: usize = 64 * 1024;

fn main() {
    let mut fast_enough = true;
    for (name, group) in [
        ("X25519", NamedGroup::X25519),
        ("X25519MLKEM768", NamedGroup::X25519MLKEM768),
    ] {
        let (certificates, keys) = (Certificates::new(group), PreShared::new(group));
        let ratio = compare(
            &format!("handshakes a second, {name}"),
            || handshakes(|| certificates.pair()),
            || handshakes(|| keys.pair()),
        );
        // The hybrid group costs both sides the same, and hides the rest; it is shown, not judged.
        fast_enough &= ratio >= 1.5 || group != NamedGroup::X25519;
    }
    let (certificates, keys) = (
        Certificates::new(NamedGroup::X25519),
        PreShared::new(NamedGroup::X25519),
    );
    for (what, bulk) in [("sent", sent as fn(_) -> f64), ("received", received)] {
        let ratio = compare(
            &format!("MB a second {what}, TLS_AES_128_GCM_SHA256"),
            || bulk(certificates.pair()),
            || bulk(keys.pair()),
        );
        fast_enough &= ratio >= 0.9;
    }
    assert!(fast_enough, "pre-shared keys are too slow");
}

/// Runs both by turns, prints the medians, and says how many times as much the second one does.
fn compare(what: &str, certificate: impl Fn() -> f64, psk: impl Fn() -> f64) -> f64 {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        first.push(certificate());
        second.push(psk());
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[ROUNDS / 2]
    };
    let (first, second) = (median(&mut first), median(&mut second));
    let ratio = second / first;
    println!("{what}: certificate {first:.0}, pre-shared key {second:.0}: {ratio:.2} times");
    ratio
}

/// A client, and the session that answers it.
struct Pair {
    session: Session,
    client: Box<dyn Client>,
    /// What the server's side has taken.
    time: Duration,
}

/// The other side of a measurement.
trait Client {
    /// Takes what the server says; what it says to that.
    fn take(&mut self, ciphertext: &[u8]) -> Vec<u8>;
    /// Plaintext as records.
    fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8>;
}

impl Pair {
    fn timed<T>(&mut self, work: impl FnOnce(&mut Session) -> T) -> T {
        let start = Instant::now();
        let result = work(&mut self.session);
        self.time += start.elapsed();
        result
    }

    fn complete(&mut self) {
        let (mut input, mut plaintext, mut ciphertext) =
            (Buffer::default(), Buffer::default(), Buffer::default());
        let mut said = self.client.take(&[]);
        loop {
            ciphertext.clear();
            let stage = self.timed(|session| {
                session.begin(&mut input);
                input.append(&said);
                session.receive(&mut input, &mut plaintext, &mut ciphertext)
            });
            let stage = stage.map_err(|failure| failure.reason).unwrap();
            if stage == Stage::Traffic {
                break;
            }
            said = self.client.take(ciphertext.filled());
        }
    }
}

fn handshakes(pair: impl Fn() -> Pair) -> f64 {
    let mut time = Duration::ZERO;
    for _ in 0..BATCH {
        let mut pair = pair();
        pair.complete();
        let start = Instant::now();
        drop(pair.session);
        time += pair.time + start.elapsed();
    }
    BATCH as f64 / time.as_secs_f64()
}

fn sent(mut pair: Pair) -> f64 {
    pair.complete();
    pair.time = Duration::ZERO;
    let plaintext = vec![7; CHUNK];
    let mut ciphertext = Buffer::with_capacity(2 * CHUNK);
    for _ in 0..BATCH {
        ciphertext.clear();
        let result = pair.timed(|session| session.send(&plaintext, &mut ciphertext));
        result.map_err(|failure| failure.reason).unwrap();
        black_box(ciphertext.filled());
    }
    (BATCH * CHUNK) as f64 / 1e6 / pair.time.as_secs_f64()
}

fn received(mut pair: Pair) -> f64 {
    pair.complete();
    pair.time = Duration::ZERO;
    let data = vec![7; CHUNK];
    let mut input = Buffer::with_capacity(2 * CHUNK);
    let mut plaintext = Buffer::with_capacity(2 * CHUNK);
    let mut ciphertext = Buffer::default();
    for _ in 0..BATCH {
        let records = pair.client.encrypt(&data);
        plaintext.clear();
        let result = pair.timed(|session| {
            session.begin(&mut input);
            input.append(&records);
            session.receive(&mut input, &mut plaintext, &mut ciphertext)
        });
        result.map_err(|failure| failure.reason).unwrap();
        assert_eq!(plaintext.filled().len(), CHUNK);
    }
    (BATCH * CHUNK) as f64 / 1e6 / pair.time.as_secs_f64()
}

/// A rustls server with an ECDSA P-256 certificate. It sends no tickets: that would cost it more.
struct Certificates {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Certificates {
    fn new(group: NamedGroup) -> Self {
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap();
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.cert.der().clone()], key)
            .unwrap();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.cert.der().clone()).unwrap();
        let mut offer: CryptoProvider = aws_lc_rs::default_provider();
        offer.kx_groups.retain(|offered| offered.name() == group);
        (offer.cipher_suites)
            .retain(|offered| offered.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
        let mut client = ClientConfig::builder_with_provider(Arc::new(offer))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
        }
    }

    fn pair(&self) -> Pair {
        let name = "localhost".try_into().unwrap();
        let client = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        let start = Instant::now();
        let session = Session::certificates(Arc::clone(&self.server), None).unwrap();
        Pair {
            session,
            time: start.elapsed(),
            client: Box::new(client),
        }
    }
}

impl Client for ClientConnection {
    fn take(&mut self, mut ciphertext: &[u8]) -> Vec<u8> {
        while !ciphertext.is_empty() {
            self.read_tls(&mut ciphertext).unwrap();
            self.process_new_packets().unwrap();
        }
        let mut said = Vec::new();
        while self.wants_write() {
            self.write_tls(&mut said).unwrap();
        }
        said
    }

    fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.set_buffer_limit(None);
        std::io::Write::write_all(&mut self.writer(), plaintext).unwrap();
        self.take(&[])
    }
}

/// A host with one key, and `psk_dhe_ke`.
struct PreShared {
    server: Arc<psk::Config>,
    key: Psk,
    group: u16,
}

impl PreShared {
    fn new(group: NamedGroup) -> Self {
        let key = Psk {
            identity: b"client".to_vec(),
            secret: (1..=32).collect(),
            hash: Hash::Sha256,
        };
        let identity = PskIdentity::try_from(key.identity.clone()).unwrap();
        let secret = psk::Key::new(key.secret.clone().into(), psk::Hash::Sha256).unwrap();
        let keys = Arc::new(Keys::from([(identity, secret)]));
        let server = psk::Config::new(keys, Vec::new(), Modes::default(), provider()).unwrap();
        Self {
            server: Arc::new(server),
            key,
            group: group.into(),
        }
    }

    fn pair(&self) -> Pair {
        let shares = vec![Share::new(self.group)];
        let hello = Hello::new(&[0x1301])
            .compatible()
            .server_name("localhost")
            .groups(&[self.group])
            .versions(&[0x0304])
            .modes(&[1])
            .shares(&shares)
            .keys(std::slice::from_ref(&self.key));
        let client = raw::Client::new(hello, shares, std::slice::from_ref(&self.key));
        let start = Instant::now();
        let session = Session::psk(Arc::clone(&self.server));
        Pair {
            session,
            time: start.elapsed(),
            client: Box::new(client),
        }
    }
}

impl Client for raw::Client {
    fn take(&mut self, ciphertext: &[u8]) -> Vec<u8> {
        if ciphertext.is_empty() {
            return self.start();
        }
        Self::take(self, ciphertext).unwrap();
        self.answer()
    }

    fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let records = plaintext.chunks(1 << 14);
        records.flat_map(|fragment| self.data(fragment)).collect()
    }
}
