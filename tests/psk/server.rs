//! The server side of a connection in memory, and both sides together.

use std::sync::Arc;

use tlssrv::tls::psk::Config;
use tlssrv::tls::session::{Failure, Session, Stage};
use tlssrv::types::{Buffer, HandshakeInfo};

use tlssrv_testing::raw::codes::{FATAL, record};
use tlssrv_testing::raw::hello::Psk;
use tlssrv_testing::raw::{Client, Step};

/// The server side: a session of tlssrv.
pub(crate) struct Server {
    session: Session,
    input: Buffer,
    /// The plaintext received.
    pub(crate) plaintext: Vec<u8>,
    pub(crate) stage: Stage,
    pub(crate) failure: Option<Failure>,
}

impl Server {
    pub(crate) fn new(config: &Arc<Config>) -> Self {
        Self {
            session: Session::psk(config.clone()),
            input: Buffer::default(),
            plaintext: Vec::new(),
            stage: Stage::Handshake,
            failure: None,
        }
    }

    /// Passes bytes of the client to the session; returns its answer. A session that has ended takes nothing.
    pub(crate) fn give(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.failure.is_some() {
            return Vec::new();
        }
        let (mut plaintext, mut ciphertext) = (Buffer::default(), Buffer::default());
        self.session.begin(&mut self.input);
        self.input.append(bytes);
        let result = self
            .session
            .receive(&mut self.input, &mut plaintext, &mut ciphertext);
        match result {
            Ok(stage) => self.stage = stage,
            Err(failure) => {
                assert!(!failure.reason.is_empty(), "nothing to log");
                self.failure = Some(failure);
            }
        }
        self.plaintext.extend_from_slice(plaintext.filled());
        ciphertext.filled().to_vec()
    }

    /// The alert with which it ended the session.
    pub(crate) fn alert(&self) -> Option<u8> {
        self.failure.as_ref()?.alert.map(Into::into)
    }

    /// Whether the handshake is complete, or was before the session failed.
    pub(crate) fn is_complete(&self) -> bool {
        self.stage != Stage::Handshake
    }

    /// Plaintext for the client, as ciphertext.
    pub(crate) fn send(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut ciphertext = Buffer::default();
        self.session.send(plaintext, &mut ciphertext).unwrap();
        ciphertext.filled().to_vec()
    }

    /// Its `close_notify`.
    pub(crate) fn close(&mut self) -> Vec<u8> {
        let mut ciphertext = Buffer::default();
        self.session.close(&mut ciphertext);
        ciphertext.filled().to_vec()
    }

    /// Fails unless this version, suite, group and key were agreed.
    pub(crate) fn assert_agreed(&self, version: u16, suite: u16, group: u16, key: &Psk) {
        let info = self.info();
        assert_eq!(info.version, Some(version));
        assert_eq!(info.suite, Some(suite));
        assert_eq!(info.group, Some(group));
        let identity = info.psk_identity.map(Vec::from);
        assert_eq!(identity, Some(key.identity.clone()));
    }

    /// What the server knows of the handshake.
    pub(crate) fn info(&self) -> HandshakeInfo {
        let mut info = HandshakeInfo::default();
        self.session.update_info(&mut info);
        info
    }
}

/// A client and a server.
pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) server: Server,
}

impl Pair {
    pub(crate) fn new(client: Client, config: &Arc<Config>) -> Self {
        let server = Server::new(config);
        Self { client, server }
    }

    /// A session whose server has answered the hello of the client.
    pub(crate) fn greeted(client: Client, config: &Arc<Config>) -> Self {
        let mut pair = Self::new(client, config);
        let hello = pair.client.start();
        pair.give(&hello);
        pair
    }

    /// A session in which the client is about to end the handshake, after a retry where one is needed.
    pub(crate) fn halfway(client: Client, config: &Arc<Config>) -> Self {
        let mut pair = Self::greeted(client, config);
        if pair.client.agreed.retry.is_some() {
            let answer = pair.client.answer();
            pair.give(&answer);
        }
        assert_eq!(pair.client.step, Step::Answer);
        pair
    }

    /// A session with a complete handshake.
    pub(crate) fn connected(client: Client, config: &Arc<Config>) -> Self {
        let mut pair = Self::halfway(client, config);
        let answer = pair.client.answer();
        pair.give(&answer);
        pair.must_be_connected();
        pair
    }

    /// Passes bytes of the client to the server, and the answer to the client.
    pub(crate) fn give(&mut self, bytes: &[u8]) {
        let answer = self.server.give(bytes);
        if let Some(failure) = &self.server.failure {
            panic!("in {:?} the server says: {failure:?}", self.client.step);
        }
        self.client.take(&answer).unwrap();
        assert!(self.client.channel.is_drained(), "half a record");
    }

    /// Passes a handshake message, in a record under the keys of the client if it has any.
    pub(crate) fn give_handshake(&mut self, bytes: &[u8]) {
        let record = self.client.channel.record(record::HANDSHAKE, bytes);
        self.give(&record);
    }

    /// Fails unless both sides have a complete handshake and plaintext flows.
    pub(crate) fn must_be_connected(&mut self) {
        assert_eq!(self.client.step, Step::Traffic);
        assert_eq!(self.server.stage, Stage::Traffic);
        assert_eq!(
            self.client.agreed.middlebox_ccs,
            self.client.agreed.version == tlssrv_testing::raw::codes::TLS13
                && !self.client.hello.session_id.is_empty()
        );
        self.must_echo();
    }

    /// Fails unless plaintext flows both ways.
    pub(crate) fn must_echo(&mut self) {
        let record = self.client.data(b"ping");
        self.give(&record);
        assert_eq!(std::mem::take(&mut self.server.plaintext), b"ping");
        let records = self.server.send(b"pong");
        self.client.take(&records).unwrap();
        assert_eq!(std::mem::take(&mut self.client.plaintext), b"pong");
        assert!(self.client.alerts.is_empty(), "{:?}", self.client.alerts);
    }

    /// Fails unless the server ends the session with this alert, which the client can read, and nothing else.
    #[track_caller]
    pub(crate) fn must_refuse(&mut self, bytes: &[u8], alert: u8) {
        self.must_refuse_with_one_of(bytes, &[alert]);
    }

    /// The same, where the RFCs allow several alerts.
    #[track_caller]
    pub(crate) fn must_refuse_with_one_of(&mut self, bytes: &[u8], alerts: &[u8]) {
        let answer = self.server.give(bytes);
        let failure = self.server.failure.as_ref();
        let Some(failure) = failure else {
            panic!("{:?} instead of alert {alerts:?}", self.server.stage);
        };
        let sent = self.server.alert();
        assert!(
            sent.is_some_and(|alert| alerts.contains(&alert)),
            "{failure:?} instead of alert {alerts:?}"
        );
        let result = self.client.take(&answer);
        assert_eq!(result, Ok(()), "{failure:?}");
        let last = self.client.alerts.last().copied();
        assert_eq!(last, sent.map(|alert| (FATAL, alert)), "{failure:?}");
    }

    /// Fails unless the server ends the session and sends nothing, as it must after an alert.
    #[track_caller]
    pub(crate) fn must_end_silently(&mut self, bytes: &[u8]) {
        let answer = self.server.give(bytes);
        assert!(self.server.failure.is_some(), "{:?}", self.server.stage);
        assert_eq!(self.server.alert(), None);
        assert_eq!(answer, b"");
    }
}
