//! The client's half of TLS 1.2: messages and key schedule (RFC 5246 §6.3, §7.4, RFC 4279, RFC 5489).

use super::bytes::{Reader, Result, message, vector8, vector16};
use super::codes::{TLS12, extension, handshake, record, suite as code};
use super::groups::Share;
use super::hash::premaster;
use super::protection::Protection;
use super::suite::{Exchange, Suite};
use super::{Client, Step};
use aws_lc_rs::aead::CHACHA20_POLY1305;

/// The state until both sides have changed to protected records.
#[derive(Default)]
pub(super) struct Secrets {
    /// Whether the server agreed to `extended_master_secret`.
    extended: bool,
    /// The shared secret of the exchange, and the public half of the client.
    exchange: Option<(Vec<u8>, Vec<u8>)>,
    /// The hint of the server, where it gave one.
    hint: Option<Vec<u8>>,
    master: Vec<u8>,
    write: Option<Protection>,
    read: Option<Protection>,
}

impl Client {
    pub(super) fn server_hello12(
        &mut self,
        message: &[u8],
        session_id: &[u8],
        suite: Suite,
        extensions: &[(u16, &[u8])],
    ) -> Result<()> {
        if !session_id.is_empty() && session_id == self.hello.session_id {
            return Err("a session that never was".into());
        }
        self.agreed.version = TLS12;
        self.agreed.suite = Some(suite);
        self.transcript.add(message);
        let scsv = self.hello.suites.contains(&code::RENEGOTIATION_SCSV);
        for (typ, body) in extensions {
            match (*typ, *body) {
                (extension::RENEGOTIATION_INFO, [0]) if scsv => {}
                _ if !self.asked_for(*typ) => return Err(format!("extension {typ} unasked")),
                (extension::RENEGOTIATION_INFO, [0]) => {}
                (extension::SERVER_NAME, []) => {}
                (extension::EXTENDED_MASTER_SECRET, []) => self.tls12.extended = true,
                (extension::EC_POINT_FORMATS, formats) if formats.contains(&0) => {}
                (extension::ALPN, body) => self.agreed.alpn = Some(self.selected_protocol(body)?),
                (extension::RECORD_SIZE_LIMIT, body) => {
                    self.agreed.record_size_limit = Some(Reader(body).u16()?);
                }
                (typ, body) => return Err(format!("extension {typ}: {body:02x?}")),
            }
        }
        self.step = Step::KeyExchange;
        Ok(())
    }

    pub(super) fn server_key_exchange(&mut self, message: &[u8], body: &[u8]) -> Result<()> {
        self.transcript.add(message);
        let mut reader = Reader(body);
        self.tls12.hint = Some(reader.vector16()?.to_vec());
        if self.agreed.suite.unwrap().exchange == Exchange::Ecdhe {
            // ECCurveType named_curve (RFC 8422 §5.4).
            if reader.u8()? != 3 {
                return Err("no named curve".into());
            }
            let group = reader.u16()?;
            let groups = self.hello.get(extension::SUPPORTED_GROUPS);
            let offered =
                groups.is_none_or(|list| list[2..].chunks(2).any(|g| g == group.to_be_bytes()));
            if !offered {
                return Err(format!("group {group}"));
            }
            let share = Share::new(group);
            self.tls12.exchange = Some((share.agree(reader.vector8()?)?, share.public));
            self.agreed.group = Some(group);
        }
        reader.end()?;
        self.step = Step::ServerHelloDone;
        Ok(())
    }

    pub(super) fn server_hello_done(&mut self, message: &[u8], body: &[u8]) -> Result<()> {
        self.transcript.add(message);
        Reader(body).end()?;
        let ecdhe = self.agreed.suite.unwrap().exchange == Exchange::Ecdhe;
        if ecdhe != self.tls12.exchange.is_some() {
            return Err("the key exchange of another suite".into());
        }
        self.step = Step::Answer;
        Ok(())
    }

    /// The server's `psk_identity_hint`, if it sent a ServerKeyExchange.
    pub fn hint(&self) -> Option<&[u8]> {
        self.tls12.hint.as_deref()
    }

    /// Derives the master secret as if `extended_master_secret` had not been agreed on.
    pub fn forget_extended_master_secret(&mut self) {
        self.tls12.extended = false;
    }

    /// ClientKeyExchange, which counts as sent now. It settles the keys.
    pub fn client_key_exchange(&mut self) -> Vec<u8> {
        let mut body = vector16(&self.keys[0].identity);
        if let Some((_, public)) = &self.tls12.exchange {
            body.extend_from_slice(&vector8(public));
        }
        self.client_key_exchange_of(&body)
    }

    /// ClientKeyExchange of this body, which counts as sent now.
    pub fn client_key_exchange_of(&mut self, body: &[u8]) -> Vec<u8> {
        let message = message(handshake::CLIENT_KEY_EXCHANGE, body);
        self.transcript.add(&message);
        let suite = self.agreed.suite.unwrap();
        let secret = self.tls12.exchange.as_ref().map(|(secret, _)| &secret[..]);
        let premaster = premaster(secret, &self.keys[0].secret);
        let randoms = [&self.hello.random[..], &self.agreed.random].concat();
        let session = suite.hash.digest(&self.transcript.messages(suite.hash));
        let (label, seed) = match self.tls12.extended {
            true => ("extended master secret", session),
            false => ("master secret", randoms),
        };
        self.tls12.master = suite.hash.prf(&premaster, label, &seed, 48);
        self.expand_keys(suite);
        message
    }

    /// RFC 5246 §6.3; the suites here have no MAC keys.
    fn expand_keys(&mut self, suite: Suite) {
        let key = suite.aead.key_len();
        let iv = match suite.aead == &CHACHA20_POLY1305 {
            true => 12,
            false => 4,
        };
        let seed = [&self.agreed.random[..], &self.hello.random].concat();
        let master = &self.tls12.master;
        let length = 2 * (key + iv);
        let block = suite.hash.prf(master, "key expansion", &seed, length);
        let (keys, ivs) = block.split_at(2 * key);
        self.tls12.write = Some(Protection::new(suite, &keys[..key], &ivs[..iv]));
        self.tls12.read = Some(Protection::new(suite, &keys[key..], &ivs[iv..]));
    }

    /// The `change_cipher_spec` of the client; later records are protected.
    pub fn change_cipher_spec12(&mut self) -> Vec<u8> {
        let record = self.channel.plain(record::CHANGE_CIPHER_SPEC, &[1]);
        self.write_protected12();
        record
    }

    /// Protects later records of the client.
    pub(super) fn write_protected12(&mut self) {
        self.channel.write = self.tls12.write.take();
    }

    pub(super) fn read_protected12(&mut self) {
        self.channel.read = self.tls12.read.take();
    }

    /// Finished, which counts as sent now.
    pub fn client_finished12(&mut self) -> Vec<u8> {
        let message = message(handshake::FINISHED, &self.verify_data12("client finished"));
        self.transcript.add(&message);
        self.step = Step::ChangeCipherSpec;
        message
    }

    pub(super) fn server_finished12(&mut self, body: &[u8]) -> Result<()> {
        if body != self.verify_data12("server finished") {
            return Err("the server's Finished is wrong".into());
        }
        self.step = Step::Traffic;
        Ok(())
    }

    fn verify_data12(&self, label: &str) -> Vec<u8> {
        let hash = self.agreed.suite.unwrap().hash;
        let messages = hash.digest(&self.transcript.messages(hash));
        hash.prf(&self.tls12.master, label, &messages, 12)
    }
}
