//! The client's half of TLS 1.3: messages and key schedule (RFC 8446 §4, §7.1).

use super::bytes::{Reader, Result, message};
use super::codes::{TLS13, extension, handshake, mode, record};
use super::groups::Share;
use super::hello::Hello;
use super::protection::Protection;
use super::suite::Suite;
use super::{Client, Step};

/// The secrets of RFC 8446 §7.1, as far as they are known.
#[derive(Default)]
pub(super) struct Secrets {
    handshake: Vec<u8>,
    client: Vec<u8>,
    server: Vec<u8>,
    client_traffic: Vec<u8>,
    /// The `cookie` of a HelloRetryRequest.
    cookie: Option<Vec<u8>>,
}

/// SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

impl Client {
    pub(super) fn server_hello13(
        &mut self,
        message: &[u8],
        session_id: &[u8],
        suite: Suite,
        extensions: &[(u16, &[u8])],
    ) -> Result<()> {
        if session_id != self.hello.session_id || !self.hello.offers_tls13() {
            return Err("this session id, or TLS 1.3 at all".into());
        }
        self.agreed.version = TLS13;
        let retried = self.agreed.retry.is_some();
        self.ccs_place = !retried;
        if self.agreed.random == RETRY_RANDOM {
            if retried {
                return Err("a second HelloRetryRequest".into());
            }
            self.transcript.retry();
            self.transcript.add(message);
            return self.hello_retry_request(extensions);
        }
        self.transcript.add(message);
        let (mut psk, mut shared) = (None, None);
        for (typ, body) in extensions {
            let mut reader = Reader(body);
            match *typ {
                extension::SUPPORTED_VERSIONS if reader.u16()? == TLS13 => {}
                extension::PRE_SHARED_KEY => {
                    let index = usize::from(reader.u16()?);
                    let key = self.keys.get(index).ok_or("an identity of none")?;
                    if key.hash != suite.hash {
                        return Err("a key of another hash".into());
                    }
                    self.agreed.identity = Some(index);
                    psk = Some(key.secret.clone());
                }
                extension::KEY_SHARE => {
                    let group = reader.u16()?;
                    let share = self.shares.iter().find(|share| share.group == group);
                    let share = share.ok_or("a share for none of ours")?;
                    shared = Some(share.agree(reader.vector16()?)?);
                    self.agreed.group = Some(group);
                }
                other => return Err(format!("extension {other} in a ServerHello")),
            }
            reader.end()?;
        }
        let psk = psk.ok_or("a handshake without a key")?;
        let modes = self.hello.get(extension::PSK_KEY_EXCHANGE_MODES);
        let mode = match shared {
            Some(_) => mode::PSK_DHE_KE,
            None => mode::PSK_KE,
        };
        if !modes.is_some_and(|modes| modes[1..].contains(&mode)) {
            return Err(format!("mode {mode}"));
        }
        self.agreed.suite = Some(suite);
        let zeros = vec![0; suite.hash.length()];
        let early = suite.hash.extract(&zeros, &psk);
        let salt = suite.hash.derive(&early, "derived", b"");
        let secret = shared.as_ref().unwrap_or(&zeros);
        let messages = self.transcript.messages(suite.hash);
        self.tls13.handshake = suite.hash.extract(&salt, secret);
        let derive = |label| suite.hash.derive(&self.tls13.handshake, label, &messages);
        self.tls13.client = derive("c hs traffic");
        self.tls13.server = derive("s hs traffic");
        self.channel.read = Some(Protection::of_secret(suite, &self.tls13.server));
        self.step = Step::EncryptedExtensions;
        self.message_ends_record()
    }

    fn hello_retry_request(&mut self, extensions: &[(u16, &[u8])]) -> Result<()> {
        for (typ, body) in extensions {
            let mut reader = Reader(body);
            match *typ {
                extension::SUPPORTED_VERSIONS if reader.u16()? == TLS13 => {}
                extension::COOKIE => {
                    self.tls13.cookie = Some(body.to_vec());
                    reader.vector16()?;
                }
                extension::KEY_SHARE => {
                    let group = reader.u16()?;
                    let groups = self.hello.get(extension::SUPPORTED_GROUPS);
                    let mut groups = groups.unwrap_or_default()[2..].chunks(2);
                    if !groups.any(|g| g == group.to_be_bytes())
                        || self.shares.iter().any(|share| share.group == group)
                    {
                        return Err(format!("a HelloRetryRequest for group {group}"));
                    }
                    self.agreed.retry = Some(group);
                }
                other => return Err(format!("extension {other} in a HelloRetryRequest")),
            }
            reader.end()?;
        }
        self.step = Step::Answer;
        self.message_ends_record()
    }

    /// The answer to a HelloRetryRequest, with changes.
    pub fn retry_with(&mut self, change: impl FnOnce(Hello) -> Hello) -> Vec<u8> {
        let group = self.agreed.retry.unwrap();
        self.shares = vec![Share::new(group)];
        let mut hello = self.hello.clone().shares(&self.shares);
        if let Some(cookie) = &self.tls13.cookie {
            hello = hello.with(extension::COOKIE, cookie);
        }
        self.hello = change(hello.without(extension::EARLY_DATA));
        let message = self.client_hello();
        let ccs = self.middlebox_ccs();
        [ccs, self.channel.plain(record::HANDSHAKE, &message)].concat()
    }

    pub(super) fn encrypted_extensions(&mut self, message: &[u8], body: &[u8]) -> Result<()> {
        self.transcript.add(message);
        let mut reader = Reader(body);
        let extensions = reader.extensions()?;
        reader.end()?;
        for (typ, body) in extensions {
            match typ {
                _ if !self.asked_for(typ) => return Err(format!("extension {typ} unasked")),
                extension::SERVER_NAME if body.is_empty() => {}
                extension::SUPPORTED_GROUPS => {}
                extension::ALPN => self.agreed.alpn = Some(self.selected_protocol(body)?),
                extension::RECORD_SIZE_LIMIT => {
                    let mut reader = Reader(body);
                    self.agreed.record_size_limit = Some(reader.u16()?);
                    reader.end()?;
                }
                other => return Err(format!("extension {other}: {body:02x?}")),
            }
        }
        self.step = Step::Finished13;
        Ok(())
    }

    pub(super) fn server_finished13(&mut self, message: &[u8], body: &[u8]) -> Result<()> {
        let suite = self.agreed.suite.unwrap();
        if body != self.verify_data13(&self.tls13.server) {
            return Err("the server's Finished is wrong".into());
        }
        self.transcript.add(message);
        let hash = suite.hash;
        let salt = hash.derive(&self.tls13.handshake, "derived", b"");
        let master = hash.extract(&salt, &vec![0; hash.length()]);
        let messages = self.transcript.messages(hash);
        self.tls13.server = hash.derive(&master, "s ap traffic", &messages);
        self.tls13.client_traffic = hash.derive(&master, "c ap traffic", &messages);
        self.channel.read = Some(Protection::of_secret(suite, &self.tls13.server));
        self.channel.write = Some(Protection::of_secret(suite, &self.tls13.client));
        self.step = Step::Answer;
        self.message_ends_record()
    }

    /// Finished, which counts as sent now.
    pub fn client_finished13(&mut self) -> Vec<u8> {
        let verify_data = self.verify_data13(&self.tls13.client);
        let message = message(handshake::FINISHED, &verify_data);
        self.transcript.add(&message);
        message
    }

    /// From now on records are written with the application traffic keys.
    pub fn traffic13(&mut self) {
        let suite = self.agreed.suite.unwrap();
        self.tls13.client = self.tls13.client_traffic.clone();
        self.channel.write = Some(Protection::of_secret(suite, &self.tls13.client));
        self.step = Step::Traffic;
    }

    fn verify_data13(&self, secret: &[u8]) -> Vec<u8> {
        let hash = self.agreed.suite.unwrap().hash;
        let finished = hash.expand_label(secret, "finished", b"", hash.length());
        hash.hmac(&finished, &hash.digest(&self.transcript.messages(hash)))
    }

    /// A KeyUpdate with this value in a record, and new keys for what comes after it.
    pub fn key_update(&mut self, value: u8) -> Vec<u8> {
        let message = message(handshake::KEY_UPDATE, &[value]);
        let record = self.channel.record(record::HANDSHAKE, &message);
        self.renew_write_keys();
        record
    }

    /// The next generation of our keys (RFC 8446 §7.2).
    pub fn renew_write_keys(&mut self) {
        let suite = self.agreed.suite.unwrap();
        self.tls13.client = next_generation(suite, &self.tls13.client);
        self.channel.write = Some(Protection::of_secret(suite, &self.tls13.client));
    }

    pub(super) fn server_key_update(&mut self, body: &[u8]) -> Result<()> {
        if body != [0] && body != [1] {
            return Err("a KeyUpdate of something else".into());
        }
        self.agreed.key_updates += 1;
        let suite = self.agreed.suite.unwrap();
        self.tls13.server = next_generation(suite, &self.tls13.server);
        self.channel.read = Some(Protection::of_secret(suite, &self.tls13.server));
        self.message_ends_record()
    }

    /// "Handshake messages MUST NOT span key changes" (RFC 8446 §5.1).
    fn message_ends_record(&self) -> Result<()> {
        match self.partial.is_empty() {
            true => Ok(()),
            false => Err("a message before a key change does not end its record".into()),
        }
    }
}

fn next_generation(suite: Suite, secret: &[u8]) -> Vec<u8> {
    suite
        .hash
        .expand_label(secret, "traffic upd", b"", suite.hash.length())
}
