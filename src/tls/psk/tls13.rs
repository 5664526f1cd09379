//! TLS 1.3: the states of the server (RFC 8446 §A.2), from ClientHello to traffic.
#![forbid(unsafe_code)]

use aws_lc_rs::digest::Digest;
use rustls::AlertDescription;
use rustls::crypto::{SharedSecret, SupportedKxGroup};

use super::context::Context;
use super::error::{Error, illegal_parameter};
use super::hello::{ClientHello, fixed_part};
use super::message::{
    HELLO_RETRY_REQUEST, KEY_SHARE, PRE_SHARED_KEY, RECORD_SIZE_LIMIT, SERVER_NAME,
    SUPPORTED_VERSIONS, ServerHello, TLS13, alpn_extension, body, extension, read_finished,
    write_encrypted_extensions, write_finished,
};
use super::number;
use super::offer::{Exchange, Offer, Suites, choose_exchange, choose_key};
use super::record::{CHANGE_CIPHER_SPEC, HANDSHAKE, MAX_FRAGMENT};
use super::schedule::{EarlySecret, TrafficSecret, VerifyData};
use super::suites::Suite;
use super::traffic::Traffic;
use super::transcript::Transcript;
use crate::tls::profile::Version;
use crate::tls::wire::vector16;
use crate::types::PskIdentity;

/// Maximum early data to skip, in bytes: one record, which a client with an external key may send before it learns
/// that early data is not accepted.
const EARLY_DATA_LIMIT: usize = MAX_FRAGMENT + 256;

/// Waits for the hello that answers our HelloRetryRequest.
pub(super) struct ExpectRetriedHello {
    suite: &'static Suite,
    group: u16,
    fixed_part: Digest,
    transcript: Transcript,
}

/// Waits for the client's Finished.
pub(super) struct ExpectFinished {
    suite: &'static Suite,
    verify_data: VerifyData,
    client: TrafficSecret,
    server: TrafficSecret,
    identity: PskIdentity,
}

/// State after the first hello.
pub(super) enum Next {
    RetriedHello(ExpectRetriedHello),
    Finished(ExpectFinished),
}

/// Processes a client's first hello.
pub(super) fn client_hello(
    message: &[u8],
    hello: &ClientHello<'_>,
    context: &mut Context<'_>,
) -> Result<Next, Error> {
    let config = context.config;
    let exchange = choose_exchange(hello, config)?;
    let offer = choose_key(hello, config, config.suites(hello.suites.iter().copied()))?;
    let mut transcript = Transcript::new(offer.suite.hash);
    let early = offer.verify(hello, &transcript)?;
    if hello.early_data {
        context.records.skip_early_data(EARLY_DATA_LIMIT);
    }
    transcript.add(message);
    match exchange {
        Exchange::Retry(group) => {
            let fixed_part = fixed_part(message)?;
            let suite = offer.suite;
            retry(hello, fixed_part, suite, group, &transcript, context).map(Next::RetriedHello)
        }
        Exchange::Share(group, share) => {
            let first = First(Some((group, share)));
            accept(hello, &offer, early, first, transcript, context).map(Next::Finished)
        }
        Exchange::None => {
            let first = First(None);
            accept(hello, &offer, early, first, transcript, context).map(Next::Finished)
        }
    }
}

/// Sends a HelloRetryRequest for a share of our group (RFC 8446 §4.1.4).
fn retry(
    hello: &ClientHello<'_>,
    fixed_part: Digest,
    suite: &'static Suite,
    group: &dyn SupportedKxGroup,
    transcript: &Transcript,
    context: &mut Context<'_>,
) -> Result<ExpectRetriedHello, Error> {
    let group = number(group);
    let mut extensions = Vec::new();
    extension(SUPPORTED_VERSIONS, &mut extensions, |out| {
        out.extend_from_slice(&TLS13.to_be_bytes());
    });
    // struct { NamedGroup selected_group; } KeyShareHelloRetryRequest;    (RFC 8446 §4.2.8)
    extension(KEY_SHARE, &mut extensions, |out| {
        out.extend_from_slice(&group.to_be_bytes());
    });
    let request = ServerHello {
        random: HELLO_RETRY_REQUEST,
        session_id: hello.session_id,
        suite: suite.id,
        extensions,
    };
    let mut message = Vec::new();
    request.write(&mut message);
    let mut transcript = transcript.retried();
    transcript.add(&message);
    context.records.write(HANDSHAKE, &message, context.out)?;
    if !hello.session_id.is_empty() {
        context
            .records
            .write(CHANGE_CIPHER_SPEC, &[1], context.out)?;
    }
    Ok(ExpectRetriedHello {
        suite,
        group,
        fixed_part,
        transcript,
    })
}

impl ExpectRetriedHello {
    pub(super) fn client_hello(
        mut self,
        message: &[u8],
        context: &mut Context<'_>,
    ) -> Result<ExpectFinished, Error> {
        let hello = ClientHello::read(message)?;
        context.records.skip_early_data(0);
        // "Clients MUST send the same ClientHello without modification" but for what we asked for
        if fixed_part(message)?.as_ref() != self.fixed_part.as_ref() || hello.early_data {
            return Err(illegal_parameter("a second hello unlike the first"));
        }
        hello.version(context.config)?;
        // "the list of shares [is replaced] with a list containing a single KeyShareEntry from the
        // indicated group"
        let exchange = match (choose_exchange(&hello, context.config)?, &hello.shares) {
            (Exchange::Share(group, share), Some(shares))
                if number(group) == self.group && shares.len() == 1 =>
            {
                (group, share)
            }
            _ => return Err(illegal_parameter("not the key share that was asked for")),
        };
        let suites = Suites::only(self.suite, &hello);
        let offer = choose_key(&hello, context.config, suites)?;
        let early = offer.verify(&hello, &self.transcript)?;
        self.transcript.add(message);
        accept(
            &hello,
            &offer,
            early,
            Second(exchange),
            self.transcript,
            context,
        )
    }
}

/// Chosen parameters of the answer: a group with the client's share, or none for `psk_ke`.
#[derive(Clone, Copy)]
enum Answers<'a> {
    First(Option<KeyExchange<'a>>),
    Second(KeyExchange<'a>),
}
use Answers::{First, Second};

type KeyExchange<'a> = (&'static dyn SupportedKxGroup, &'a [u8]);

/// Sends the server's flight, ServerHello to Finished.
fn accept(
    hello: &ClientHello<'_>,
    offer: &Offer<'_>,
    early: &EarlySecret,
    answers: Answers<'_>,
    mut transcript: Transcript,
    context: &mut Context<'_>,
) -> Result<ExpectFinished, Error> {
    let config = context.config;
    let suite = offer.suite;
    let exchange = match answers {
        First(exchange) => exchange,
        Second(exchange) => Some(exchange),
    };
    let alpn = hello.choose_alpn(&config.alpn)?;
    let identity = offer.identity.cloned().ok_or(Error::Unauthenticated)?;
    let negotiated = &mut context.negotiated;
    negotiated.suite = Some(suite.id);
    negotiated.group = exchange.map(|(group, _)| number(group));
    negotiated.alpn = alpn.map(<[u8]>::to_vec);

    let (hello_extensions, shared) = server_hello_extensions(offer.place, exchange)?;
    let server_hello = ServerHello {
        random: config.random()?,
        session_id: hello.session_id,
        suite: suite.id,
        extensions: hello_extensions,
    };
    let mut message = Vec::new();
    server_hello.write(&mut message);
    transcript.add(&message);
    context.records.write(HANDSHAKE, &message, context.out)?;
    // "The server sends a dummy change_cipher_spec record immediately after its first handshake
    // message" (RFC 8446 §D.4)
    if !hello.session_id.is_empty() && matches!(answers, First(_)) {
        context
            .records
            .write(CHANGE_CIPHER_SPEC, &[1], context.out)?;
    }

    let handshake = early.handshake(shared.as_ref().map(SharedSecret::secret_bytes))?;
    drop(shared);
    let (client, server) = (
        handshake.client(&transcript)?,
        handshake.server(&transcript)?,
    );
    context.records.write_with(server.keys(suite)?);
    if let Some(limit) = hello.fragment_limit(Version::Tls13) {
        context.records.limit_fragments(limit);
    }
    let mut flight = Vec::new();
    write_encrypted_extensions(&encrypted_extensions(hello, alpn), &mut flight);
    transcript.add(&flight);
    let mut finished = Vec::new();
    write_finished(server.finished(&transcript)?.as_bytes(), &mut finished);
    transcript.add(&finished);
    flight.append(&mut finished);
    context.records.write(HANDSHAKE, &flight, context.out)?;
    context.records.read_with(client.keys(suite)?);

    let verify_data = client.finished(&transcript)?;
    let master = handshake.master()?;
    let (client, server) = (master.client(&transcript)?, master.server(&transcript)?);
    context.records.write_with(server.keys(suite)?);
    Ok(ExpectFinished {
        suite,
        verify_data,
        client,
        server,
        identity,
    })
}

/// Writes the extensions of ServerHello. Returns them and the shared secret of the key exchange.
fn server_hello_extensions(
    place: usize,
    exchange: Option<KeyExchange<'_>>,
) -> Result<(Vec<u8>, Option<SharedSecret>), Error> {
    let mut extensions = Vec::new();
    extension(SUPPORTED_VERSIONS, &mut extensions, |out| {
        out.extend_from_slice(&TLS13.to_be_bytes());
    });
    let mut shared = None;
    if let Some((group, share)) = exchange {
        let completed = group.start_and_complete(share)?;
        extension(KEY_SHARE, &mut extensions, |out| {
            out.extend_from_slice(&number(group).to_be_bytes());
            vector16(out, |out| out.extend_from_slice(&completed.pub_key));
        });
        shared = Some(completed.secret);
    }
    // uint16 selected_identity    (RFC 8446 §4.2.11); an offer has no more than 2^16/7 of them.
    let selected = u16::try_from(place).unwrap_or_default();
    extension(PRE_SHARED_KEY, &mut extensions, |out| {
        out.extend_from_slice(&selected.to_be_bytes());
    });
    Ok((extensions, shared))
}

fn encrypted_extensions(hello: &ClientHello<'_>, alpn: Option<&[u8]>) -> Vec<u8> {
    let mut extensions = Vec::new();
    // "The "extension_data" field of this extension SHALL be empty." (RFC 6066 §3)
    if hello.server_name.is_some() {
        extension(SERVER_NAME, &mut extensions, |_| {});
    }
    if let Some(protocol) = alpn {
        alpn_extension(protocol, &mut extensions);
    }
    if hello.record_size_limit.is_some() {
        // "In TLS 1.3, the server sends the "record_size_limit" extension in the EncryptedExtensions
        // message"; the content type counts (RFC 8449 §4).
        extension(RECORD_SIZE_LIMIT, &mut extensions, |out| {
            out.extend_from_slice(&0x4001_u16.to_be_bytes());
        });
    }
    extensions
}

impl ExpectFinished {
    /// Length of the client's `verify_data`, in bytes.
    pub(super) fn verify_data_len(&self) -> usize {
        self.suite.hash.len()
    }

    pub(super) fn finished(
        self,
        message: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Traffic, Error> {
        let sent = read_finished(body(message), self.verify_data_len())?;
        if !self.verify_data.is(sent) {
            let what = "a Finished that does not fit";
            return Err(Error::Misbehaved(AlertDescription::DecryptError, what));
        }
        context.records.read_with(self.client.keys(self.suite)?);
        context.negotiated.identity = Some(self.identity);
        Ok(Traffic::new(self.suite, self.client, self.server))
    }
}
