//! A TLS client with pre-shared keys that can do everything right and every single thing wrong.
//!
//! It shares no line with the engine that it tests, only the primitives of AWS-LC. It moves one step
//! at a time: [`Client::take`] strictly reads what the server sends, and [`Client::answer`] returns what a
//! good client sends next. Tests build wrong messages from the parts.

pub mod bytes;
pub mod channel;
pub mod codes;
pub mod groups;
pub mod hash;
pub mod hello;
pub mod profiles;
mod protection;
pub mod suite;
mod tls12;
mod tls13;
pub mod transcript;

use bytes::{Reader, Result};
use channel::Channel;
use codes::{FATAL, TLS12, TLS13, alert, extension, handshake, record};
use groups::Share;
use hello::{Hello, Psk};
use suite::Suite;
use transcript::Transcript;

/// The client side of a connection.
pub struct Client {
    /// Its ClientHello.
    pub hello: Hello,
    /// The secrets of the shares in it.
    pub shares: Vec<Share>,
    /// Its keys. In TLS 1.2 it uses the first.
    pub keys: Vec<Psk>,
    /// The record layer.
    pub channel: Channel,
    /// The handshake messages so far.
    pub transcript: Transcript,
    /// What the server has chosen.
    pub agreed: Agreed,
    /// Level and description of the alerts received.
    pub alerts: Vec<(u8, u8)>,
    /// The plaintext received.
    pub plaintext: Vec<u8>,
    /// The size of the largest `TLSInnerPlaintext` received.
    pub largest: usize,
    /// What it waits for.
    pub step: Step,
    tls13: tls13::Secrets,
    tls12: tls12::Secrets,
    /// Handshake bytes that are not a whole message yet.
    partial: Vec<u8>,
    /// Whether the next record may be a `change_cipher_spec` for middleboxes.
    ccs_place: bool,
    ccs_sent: bool,
}

/// What the client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// ServerHello or HelloRetryRequest.
    ServerHello,
    /// EncryptedExtensions, of TLS 1.3.
    EncryptedExtensions,
    /// Finished, of TLS 1.3.
    Finished13,
    /// ServerKeyExchange, of TLS 1.2.
    KeyExchange,
    /// `ServerHelloDone`, of TLS 1.2.
    ServerHelloDone,
    /// Nothing; the client must send next: see [`Client::answer`].
    Answer,
    /// `change_cipher_spec`, of TLS 1.2.
    ChangeCipherSpec,
    /// Finished, of TLS 1.2.
    Finished12,
    /// Application data: the handshake is done.
    Traffic,
    /// `close_notify` has come.
    Closed,
}

/// What the server has chosen and sent so far.
#[derive(Debug, Default)]
pub struct Agreed {
    /// The version of the handshake.
    pub version: u16,
    /// The cipher suite.
    pub suite: Option<Suite>,
    /// The group of the key exchange.
    pub group: Option<u16>,
    /// The group that a HelloRetryRequest asked for.
    pub retry: Option<u16>,
    /// The index of the identity that it took.
    pub identity: Option<usize>,
    /// The protocol (ALPN).
    pub alpn: Option<Vec<u8>>,
    /// The `record_size_limit` of the server.
    pub record_size_limit: Option<u16>,
    /// The random of its ServerHello.
    pub random: Vec<u8>,
    /// Extensions in the ServerHello.
    pub hello_extensions: Vec<u16>,
    /// Whether it sent a `change_cipher_spec` for middleboxes.
    pub middlebox_ccs: bool,
    /// KeyUpdates that it sent.
    pub key_updates: usize,
}

impl Client {
    /// A client with this hello, the shares in it, and these keys.
    pub fn new(hello: Hello, shares: Vec<Share>, keys: &[Psk]) -> Self {
        Self {
            hello,
            shares,
            keys: keys.to_vec(),
            channel: Channel::new(0x0301),
            transcript: Transcript::default(),
            agreed: Agreed::default(),
            alerts: Vec::new(),
            plaintext: Vec::new(),
            largest: 0,
            step: Step::ServerHello,
            tls13: tls13::Secrets::default(),
            tls12: tls12::Secrets::default(),
            partial: Vec::new(),
            ccs_place: false,
            ccs_sent: false,
        }
    }

    /// With records of this version from the start.
    pub fn record_version(mut self, version: u16) -> Self {
        self.channel.version = version;
        self
    }

    /// The ClientHello, which counts as sent now.
    pub fn client_hello(&mut self) -> Vec<u8> {
        let message = self.hello.message(&self.transcript);
        self.transcript.add(&message);
        self.step = Step::ServerHello;
        message
    }

    /// The ClientHello in a record.
    pub fn start(&mut self) -> Vec<u8> {
        let message = self.client_hello();
        self.channel.plain(record::HANDSHAKE, &message)
    }

    /// Reads bytes of the server. The error says what is wrong with them.
    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.channel.take(bytes);
        while let Some(opened) = self.channel.next_record()? {
            if self.alerts.iter().any(|(level, _)| *level == FATAL) {
                return Err("a record after a fatal alert".into());
            }
            if self.step == Step::Closed {
                return Err("a record after close_notify".into());
            }
            self.check_middlebox_ccs(opened.typ)?;
            if !self.partial.is_empty() && opened.typ != record::HANDSHAKE {
                return Err("a record inside a handshake message".into());
            }
            self.largest = self.largest.max(opened.inner);
            self.take_record(opened.typ, &opened.content)?;
        }
        Ok(())
    }

    /// The server's `change_cipher_spec` for middleboxes comes "immediately after its first handshake
    /// message" (RFC 8446 §D.4). It is required where the client sent a session id, and allowed otherwise.
    fn check_middlebox_ccs(&mut self, typ: u8) -> Result<()> {
        let place = std::mem::take(&mut self.ccs_place);
        let is_ccs = typ == record::CHANGE_CIPHER_SPEC;
        if place && is_ccs {
            self.agreed.middlebox_ccs = true;
            return Ok(());
        }
        let missing = place && !self.hello.session_id.is_empty();
        if missing || is_ccs && self.step != Step::ChangeCipherSpec {
            return Err(format!("a record of type {typ} in {:?}", self.step));
        }
        Ok(())
    }

    fn take_record(&mut self, typ: u8, content: &[u8]) -> Result<()> {
        match (typ, content) {
            (record::CHANGE_CIPHER_SPEC, [1]) => {
                if self.step == Step::ChangeCipherSpec {
                    self.read_protected12();
                    self.step = Step::Finished12;
                }
                Ok(())
            }
            (record::ALERT, &[level, description]) => {
                self.alerts.push((level, description));
                if description == alert::CLOSE_NOTIFY {
                    self.step = Step::Closed;
                }
                Ok(())
            }
            (record::APPLICATION_DATA, _) if self.step == Step::Traffic => {
                self.plaintext.extend_from_slice(content);
                Ok(())
            }
            (record::HANDSHAKE, [_, ..]) => {
                self.partial.extend_from_slice(content);
                while let Some(message) = self.next_message() {
                    self.take_message(&message)?;
                }
                Ok(())
            }
            _ => Err(format!(
                "a record of type {typ} in {:?}: {content:02x?}",
                self.step
            )),
        }
    }

    fn next_message(&mut self) -> Option<Vec<u8>> {
        let &[_, high, middle, low, ..] = &self.partial[..] else {
            return None;
        };
        let length = 4 + usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap();
        (self.partial.len() >= length).then(|| self.partial.drain(..length).collect())
    }

    fn take_message(&mut self, message: &[u8]) -> Result<()> {
        let (typ, body) = (message[0], &message[4..]);
        match (self.step, typ) {
            (Step::ServerHello, handshake::SERVER_HELLO) => self.server_hello(message, body),
            (Step::EncryptedExtensions, handshake::ENCRYPTED_EXTENSIONS) => {
                self.encrypted_extensions(message, body)
            }
            (Step::Finished13, handshake::FINISHED) => self.server_finished13(message, body),
            (Step::KeyExchange, handshake::SERVER_KEY_EXCHANGE) => {
                self.server_key_exchange(message, body)
            }
            (Step::KeyExchange | Step::ServerHelloDone, handshake::SERVER_HELLO_DONE) => {
                self.server_hello_done(message, body)
            }
            (Step::Finished12, handshake::FINISHED) => self.server_finished12(body),
            (Step::Traffic, handshake::KEY_UPDATE) if self.agreed.version == TLS13 => {
                self.server_key_update(body)
            }
            // OpenSSL always sends tickets.
            (Step::Traffic, handshake::NEW_SESSION_TICKET) if self.agreed.version == TLS13 => {
                Ok(())
            }
            (step, typ) => Err(format!("message {typ} in {step:?}")),
        }
    }

    /// What a good client sends next, which may be nothing.
    pub fn answer(&mut self) -> Vec<u8> {
        if self.step != Step::Answer {
            return Vec::new();
        }
        match (self.agreed.version, self.agreed.suite) {
            (TLS13, Some(_)) => {
                let ccs = self.middlebox_ccs();
                let finished = self.client_finished13();
                let finished = self.channel.record(record::HANDSHAKE, &finished);
                self.traffic13();
                [ccs, finished].concat()
            }
            (TLS13, None) => self.retry_with(|hello| hello),
            _ => {
                let exchange = self.client_key_exchange();
                let exchange = self.channel.record(record::HANDSHAKE, &exchange);
                let ccs = self.change_cipher_spec12();
                let finished = self.client_finished12();
                let finished = self.channel.record(record::HANDSHAKE, &finished);
                [exchange, ccs, finished].concat()
            }
        }
    }

    /// The `change_cipher_spec` for middleboxes, "immediately before its second flight" (RFC 8446 §D.4).
    pub fn middlebox_ccs(&mut self) -> Vec<u8> {
        if self.hello.session_id.is_empty() || self.ccs_sent {
            return Vec::new();
        }
        self.ccs_sent = true;
        self.channel.plain(record::CHANGE_CIPHER_SPEC, &[1])
    }

    /// Application data, in one record.
    pub fn data(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.channel.record(record::APPLICATION_DATA, bytes)
    }

    /// An alert.
    pub fn alert(&mut self, level: u8, description: u8) -> Vec<u8> {
        self.channel.record(record::ALERT, &[level, description])
    }

    fn server_hello(&mut self, message: &[u8], body: &[u8]) -> Result<()> {
        self.channel.version = TLS12;
        let mut reader = Reader(body);
        let version = reader.u16()?;
        let random = reader.take(32)?.to_vec();
        let session_id = reader.vector8()?;
        let suite = Suite::of(reader.u16()?)?;
        let compression = reader.u8()?;
        // A ServerHello of TLS 1.2 without extensions may omit even their length.
        let extensions = match reader.0.is_empty() {
            true => Vec::new(),
            false => reader.extensions()?,
        };
        reader.end()?;
        if version != TLS12 || compression != 0 || !self.hello.suites.contains(&suite.code) {
            return Err(format!("version {version:#06x}, {suite:?}"));
        }
        self.agreed.hello_extensions = extensions.iter().map(|(typ, _)| *typ).collect();
        self.agreed.random = random;
        let tls13 = extensions
            .iter()
            .any(|(typ, _)| *typ == extension::SUPPORTED_VERSIONS);
        if tls13 != (suite.version == TLS13) {
            return Err(format!("{suite:?} in another version"));
        }
        if tls13 {
            self.server_hello13(message, session_id, suite, &extensions)
        } else {
            self.server_hello12(message, session_id, suite, &extensions)
        }
    }

    /// Whether the client has sent an extension of this type.
    fn asked_for(&self, typ: u16) -> bool {
        self.hello.get(typ).is_some()
    }

    /// The protocol that the server selected; an error if the client did not offer it.
    fn selected_protocol(&self, body: &[u8]) -> Result<Vec<u8>> {
        let mut reader = Reader(body);
        let mut list = Reader(reader.vector16()?);
        let name = list.vector8()?.to_vec();
        list.end()?;
        reader.end()?;
        let offered = self.hello.get(extension::ALPN).unwrap_or_default();
        let mut offered = Reader(Reader(offered).vector16()?);
        while let Ok(protocol) = offered.vector8() {
            if protocol == name {
                return Ok(name);
            }
        }
        Err("a protocol that was not offered".into())
    }
}
