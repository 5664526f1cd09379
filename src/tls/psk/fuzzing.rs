//! Entry points of the fuzz targets in `fuzz/`. With arbitrary bytes none may panic, and no handshake may
//! complete.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here is a finding")]

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, GetRandomFailed, SecureRandom};
use zeroize::Zeroizing;

use super::connection::State;
use super::hello::{self, ClientHello};
use super::message::{self, ClientKeyExchange, Joiner, KeyUpdate};
use super::prf::VERIFY_DATA;
use super::record::{self, Protection, Records};
use super::schedule::TrafficSecret;
use super::suites::{self, Aead, Exchange, Suite};
use super::traffic::Traffic;
use super::vectors::{OPENSSL, hex};
use super::{Config, Hash, Key, Keys, Modes, ServerConnection};
use crate::tls::hello::{HelloReader, Progress};
use crate::tls::provider::provider;
use crate::tls::stage::Stage;
use crate::types::{Buffer, PskIdentity};

/// Both parsers of a ClientHello: the engine's and the one for routing.
pub fn client_hello(data: &[u8]) {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let data = data.get(..length.into()).unwrap_or_default();
    let [high, low] = length.to_be_bytes();
    let message = [&[message::CLIENT_HELLO, 0, high, low], data].concat();
    if let Ok(hello) = ClientHello::read(&message) {
        assert!(hello.truncated.len() <= message.len());
        let _ = (
            hello.version(&config()),
            hello.choose_alpn(&[b"h2".to_vec()]),
        );
        assert!(hello::fixed_part(&message).is_ok());
        let mut record = Vec::new();
        for fragment in message.chunks(1 << 14) {
            let [high, low] = u16::try_from(fragment.len()).unwrap().to_be_bytes();
            record.extend_from_slice(&[22, 3, 1, high, low]);
            record.extend_from_slice(fragment);
        }
        match HelloReader::new().read(&record) {
            Ok(Progress::Complete(hello)) => drop(config().accepts(&hello)),
            Ok(Progress::NeedMore(_)) => panic!("the same bytes are no whole hello"),
            // The other parser reads other extensions, too.
            Err(_) => {}
        }
    }
}

/// Parsers of the client's other messages, and the joiner of fragments. The first byte chooses one.
pub fn message(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    match which % 6 {
        0 => drop(KeyUpdate::read(data)),
        1 => drop(ClientKeyExchange::read(data, Exchange::Psk)),
        2 => drop(ClientKeyExchange::read(data, Exchange::EcdhePsk)),
        3 => drop(message::read_finished(data, VERIFY_DATA)),
        4 => drop(message::read_finished(data, 48)),
        _ => {
            let mut joiner = Joiner::default();
            let awaited = message::Awaited {
                typ: data.first().copied().unwrap_or_default(),
                longest: 300,
            };
            for piece in data.chunk_by(|a, b| a != b) {
                match joiner.add(piece, awaited) {
                    Ok(Some(message)) => assert!(message.len() <= 4 + 300),
                    Ok(None) => {}
                    Err(_) => break,
                }
            }
        }
    }
}

/// The record layer with each protection, or none. The first byte chooses it. The rest is used twice: as a
/// record, and as the content of a record with a valid tag.
pub fn record(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let suite = match which % 4 {
        0 => None,
        1 => suites::tls13(0x1301),
        2 => suites::tls12(0xccac),
        _ => suites::tls12(0x00a9),
    };
    let mut records = Records::new();
    if which & 0x80 != 0 {
        records.skip_early_data(1000);
    }
    let mut out = Buffer::default();
    if let Some(suite) = suite {
        let mut sender = Records::new();
        records.read_with(keys(suite));
        sender.write_with(keys(suite));
        let (typ, content) = data.split_first().unwrap_or((&0, &[]));
        let content = content.get(..1 << 14).unwrap_or(content);
        sender.write(*typ, content, &mut out).unwrap();
        let mut sealed = out.filled().to_vec();
        let refused = [0, record::CHANGE_CIPHER_SPEC].contains(typ) && suite.hash == Hash::Sha256;
        if !content.is_empty() && !refused {
            assert_eq!(records.open(&mut sealed).unwrap(), Some((*typ, content)));
        }
    }
    let _ = records.open(&mut data.to_vec());
}

/// Gives both sides the same keys.
fn keys(suite: &Suite) -> record::Keys {
    let protection = match (suite.exchange, suite.aead) {
        (Exchange::Apart, _) => Protection::Tls13,
        (_, Aead::ChaCha20Poly1305) => Protection::Tls12Implicit,
        _ => Protection::Tls12Explicit,
    };
    let key = vec![1; suite.aead.algorithm().key_len()];
    record::Keys::new(suite.aead, protection, &key, [1; 12]).unwrap()
}

/// A whole server. The first byte says where the client begins: before its hello, after a valid one of TLS 1.3,
/// or after the handshake. There the bytes are the contents of correctly protected records.
pub fn server(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let mut connection = ServerConnection::new(config());
    match which % 3 {
        0 => {}
        1 => {
            let mut record = hex(OPENSSL, "record");
            feed(&mut connection, &mut record);
            assert!(matches!(connection.state, State::ExpectFinished13(_)));
        }
        _ => return traffic(connection, data),
    }
    let mut rest = data.to_vec();
    while !rest.is_empty() {
        let Some([high, low]) = rest.get(3..5) else {
            break;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let end = rest.len().min(5 + length);
        let next = rest.split_off(end);
        if !feed(&mut connection, &mut rest) {
            break;
        }
        rest = next;
    }
    assert_eq!(connection.stage(), Stage::Handshake);
}

/// Splits `data` into records of `type`, `length` and content.
fn traffic(mut connection: ServerConnection, data: &[u8]) {
    let suite = suites::tls13(0x1301).unwrap();
    let secret = |byte| TrafficSecret::of(suite.hash, byte);
    connection.records.read_with(secret(1).keys(suite).unwrap());
    connection
        .records
        .write_with(secret(2).keys(suite).unwrap());
    connection.state = State::Traffic13(Traffic::new(suite, secret(1), secret(2)));
    let mut client = Records::new();
    client.write_with(secret(1).keys(suite).unwrap());
    let mut rest = data;
    while let [typ, length, after @ ..] = rest {
        let (content, after) = after.split_at(after.len().min((*length).into()));
        let mut sealed = Buffer::default();
        client.write(*typ, content, &mut sealed).unwrap();
        if !sealed.is_empty() && !feed(&mut connection, sealed.filled_mut()) {
            break;
        }
        rest = after;
    }
}

/// Gives the connection a record. Returns whether the connection continues.
fn feed(connection: &mut ServerConnection, record: &mut [u8]) -> bool {
    let (mut plaintext, mut ciphertext) = (Buffer::default(), Buffer::default());
    match connection.receive(record, &mut plaintext, &mut ciphertext) {
        Ok(()) => {
            if connection.stage() != Stage::Handshake {
                connection
                    .send(plaintext.filled(), &mut ciphertext)
                    .unwrap();
            }
            connection.stage() != Stage::PeerClosed
        }
        Err(error) => {
            let alert = connection.fail(&error, &mut ciphertext);
            assert_eq!(alert, error.alert());
            false
        }
    }
}

/// A host with the key of the recorded hello and fixed random numbers.
fn config() -> Arc<Config> {
    static CONFIG: OnceLock<Arc<Config>> = OnceLock::new();
    Arc::clone(CONFIG.get_or_init(make_config))
}

fn make_config() -> Arc<Config> {
    let provider = CryptoProvider {
        secure_random: &Zeros,
        ..(*provider()).clone()
    };
    let identity = PskIdentity::try_from(b"alice".to_vec()).unwrap();
    let key = Key::new(Zeroizing::new(hex(OPENSSL, "key")), Hash::Sha256).unwrap();
    let modes = Modes {
        psk_ke: true,
        plain_psk: true,
    };
    let keys = Arc::new(Keys::from([(identity, key)]));
    Arc::new(Config::new(keys, vec![b"h2".to_vec()], modes, Arc::new(provider)).unwrap())
}

#[derive(Debug)]
struct Zeros;

impl SecureRandom for Zeros {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        bytes.fill(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn the_inputs_of_the_corpus_cause_no_panic() {
        replay("client_hello", super::client_hello);
        replay("message", super::message);
        replay("record", super::record);
        replay("server", super::server);
    }
}
