//! TLS 1.3: the states of the server (RFC 8446 §A.2), from ClientHello to traffic.
#![forbid(unsafe_code)]

use aws_lc_rs::digest::Digest;
use rustls::crypto::{SharedSecret, SupportedKxGroup};
use rustls::{AlertDescription, ProtocolVersion};

use super::connection::{Context, State};
use super::error::{Error, handshake_failure, illegal_parameter};
use super::hello::{ClientHello, KeyShare, Version};
use super::message::{
    ALPN, HELLO_RETRY_REQUEST, KEY_SHARE, KeyUpdate, PRE_SHARED_KEY, RECORD_SIZE_LIMIT,
    SERVER_NAME, SUPPORTED_VERSIONS, ServerHello, TLS13, body, extension, read_finished,
    write_encrypted_extensions, write_finished,
};
use super::record::{CHANGE_CIPHER_SPEC, HANDSHAKE, MAX_FRAGMENT};
use super::schedule::{EarlySecret, Secret, TrafficSecret};
use super::suites::{self, Aead, Suite};
use super::transcript::Transcript;
use super::{Config, Hash, Identity, Key, number};
use crate::tls::wire::{vector8, vector16};

// PskKeyExchangeMode (RFC 8446 §4.2.9)
const PSK_KE: u8 = 0;
const PSK_DHE_KE: u8 = 1;

/// Bytes of early data that are skipped: what a client that has never met us can have sent in good
/// faith, one record.
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
    verify_data: Secret,
    client: TrafficSecret,
    server: TrafficSecret,
    identity: Identity,
}

/// The handshake is complete.
pub(super) struct Traffic {
    suite: &'static Suite,
    client: TrafficSecret,
    server: TrafficSecret,
    /// Whether the client has asked for new keys of ours since we have last sent something.
    owes_update: bool,
}

/// A client's first hello.
pub(super) fn client_hello(
    message: &[u8],
    hello: &ClientHello<'_>,
    context: &mut Context<'_>,
) -> Result<State, Error> {
    let config = context.config;
    let exchange = choose_exchange(hello, config)?;
    let offer = choose_key(hello, config, |hash| choose_suite(hello, hash))?;
    let mut transcript = Transcript::new(offer.suite.hash);
    let early = offer.verify(hello, &transcript)?;
    if hello.early_data {
        context.records.skip_early_data(EARLY_DATA_LIMIT);
    }
    transcript.add(message);
    match exchange {
        Exchange::Retry(group) => retry(hello, offer.suite, group, &transcript, context),
        Exchange::Share(group, share) => {
            let first = First(Some((group, share)));
            accept(hello, &offer, &early, first, transcript, context)
        }
        Exchange::None => accept(hello, &offer, &early, First(None), transcript, context),
    }
}

/// How a shared secret comes about.
enum Exchange<'a> {
    /// From this share of the client.
    Share(&'static dyn SupportedKxGroup, &'a [u8]),
    /// From a share that the client is to send.
    Retry(&'static dyn SupportedKxGroup),
    /// Not at all: `psk_ke`.
    None,
}

fn choose_exchange<'a>(hello: &ClientHello<'a>, config: &Config) -> Result<Exchange<'a>, Error> {
    // "If clients offer "pre_shared_key" without a "psk_key_exchange_modes" extension, servers MUST
    // abort the handshake." (RFC 8446 §4.2.9)
    let modes = match (hello.offered, hello.psk_modes) {
        (None, _) => return Err(handshake_failure("no pre-shared key offered")),
        (_, None) => return Err(missing_extension("no psk_key_exchange_modes")),
        (_, Some(modes)) => modes,
    };
    let psk_ke = modes.contains(&PSK_KE) && config.modes.psk_ke;
    if modes.contains(&PSK_DHE_KE) {
        match &hello.shares {
            Some(shares) if !hello.groups.is_empty() => {
                check_shares(shares, &hello.groups)?;
                let groups = || config.groups(ProtocolVersion::TLSv1_3);
                let shared = groups().find_map(|group| {
                    let share = shares.iter().find(|share| share.group == number(group))?;
                    Some(Exchange::Share(group, share.key_exchange))
                });
                let offered = || groups().find(|group| hello.groups.contains(&number(*group)));
                if let Some(exchange) = shared.or_else(|| offered().map(Exchange::Retry)) {
                    return Ok(exchange);
                }
            }
            _ if psk_ke => {}
            _ => return Err(missing_extension("psk_dhe_ke without groups or key shares")),
        }
    }
    match psk_ke {
        true => Ok(Exchange::None),
        false if modes.contains(&PSK_DHE_KE) => Err(handshake_failure("no group in common")),
        false => Err(handshake_failure("no PSK key exchange mode in common")),
    }
}

/// "Clients MUST NOT offer multiple KeyShareEntry values for the same group. Clients MUST NOT offer any
/// KeyShareEntry values for groups not listed in the client's `supported_groups` extension." (RFC 8446
/// §4.2.8)
fn check_shares(shares: &[KeyShare<'_>], groups: &[u16]) -> Result<(), Error> {
    // Each group is there once, or the lists are not as long as they may be.
    let mut seen = Vec::new();
    for share in shares {
        if !groups.contains(&share.group) || seen.contains(&share.group) {
            let what = "a key share for a group that is not offered, or for one twice";
            return Err(illegal_parameter(what));
        }
        seen.push(share.group);
    }
    Ok(())
}

/// The key that a client is to prove that it has.
struct Offer<'a> {
    suite: &'static Suite,
    key: &'a Key,
    /// `None`: no identity of the client's is known, and the key is a stand-in.
    identity: Option<&'a Identity>,
    /// Its place in the client's list: `selected_identity`.
    place: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Any,
    Of(Hash),
}
use Wanted::{Any, Of};

/// The client's first suite with this hash. Who has AES in hardware, puts it first with SHA-384, and
/// is not to get ChaCha20 because the key has another hash.
fn choose_suite(hello: &ClientHello<'_>, hash: Wanted) -> Option<&'static Suite> {
    let offered = || hello.suites.iter().filter_map(|id| suites::tls13(*id));
    let mut fitting = offered().filter(|suite| hash == Any || hash == Of(suite.hash));
    let first = fitting.next()?;
    let prefers_aes = offered()
        .next()
        .is_some_and(|suite| suite.aead != Aead::ChaCha20Poly1305);
    match prefers_aes && first.aead == Aead::ChaCha20Poly1305 {
        true => fitting.next().or(Some(first)),
        false => Some(first),
    }
}

/// The first identity that is known, then a suite with its hash.
fn choose_key<'a>(
    hello: &ClientHello<'_>,
    config: &'a Config,
    suite_for: impl Fn(Wanted) -> Option<&'static Suite>,
) -> Result<Offer<'a>, Error> {
    let offered = hello
        .offered
        .ok_or(handshake_failure("no pre-shared key offered"))?;
    // "the server MUST […] abort" when the lists do not belong together (RFC 8446 §4.2.11)
    if offered.identities().count() != offered.binders().count() {
        return Err(illegal_parameter("not as many binders as identities"));
    }
    let any = suite_for(Any).ok_or(handshake_failure("no cipher suite in common"))?;
    let mut identities = offered.identities().enumerate();
    let known = identities.find_map(|(place, identity)| {
        let (identity, key) = config.keys.get_key_value(identity)?;
        Some(Offer {
            suite: suite_for(Of(key.hash))?,
            key,
            identity: Some(identity),
            place,
        })
    });
    Ok(known.unwrap_or(Offer {
        suite: any,
        key: config.stand_in(any.hash),
        identity: None,
        place: 0,
    }))
}

impl Offer<'_> {
    /// "Prior to accepting PSK key establishment, the server MUST validate the corresponding binder
    /// value […]. If this value is not present or does not validate, the server MUST abort the
    /// handshake." (RFC 8446 §4.2.11)
    fn verify(&self, hello: &ClientHello<'_>, before: &Transcript) -> Result<EarlySecret, Error> {
        let mut truncated = before.clone();
        truncated.add(hello.truncated);
        let early = EarlySecret::new(self.key)?;
        let binder = early.binder(&truncated)?;
        let sent = hello
            .offered
            .and_then(|offered| offered.binders().nth(self.place));
        match binder.is(sent.unwrap_or_default()) && self.identity.is_some() {
            true => Ok(early),
            false => Err(Error::Unauthenticated),
        }
    }
}

/// Asks for a share that we can use (RFC 8446 §4.1.4).
fn retry(
    hello: &ClientHello<'_>,
    suite: &'static Suite,
    group: &dyn SupportedKxGroup,
    transcript: &Transcript,
    context: &mut Context<'_>,
) -> Result<State, Error> {
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
    Ok(State::ExpectRetriedHello(ExpectRetriedHello {
        suite,
        group,
        fixed_part: hello.fixed_part(),
        transcript,
    }))
}

impl ExpectRetriedHello {
    pub(super) fn client_hello(
        mut self,
        message: &[u8],
        context: &mut Context<'_>,
    ) -> Result<State, Error> {
        let hello = ClientHello::read(message)?;
        // "Clients MUST send the same ClientHello without modification" but for what we asked for
        if hello.fixed_part().as_ref() != self.fixed_part.as_ref() || hello.early_data {
            return Err(illegal_parameter("a second hello unlike the first"));
        }
        hello.version()?;
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
        let suite_for = |hash| {
            let suite = self.suite;
            let fits = hash == Any || hash == Of(suite.hash);
            (fits && hello.suites.contains(&suite.id)).then_some(suite)
        };
        let offer = choose_key(&hello, context.config, suite_for)?;
        let early = offer.verify(&hello, &self.transcript)?;
        self.transcript.add(message);
        accept(
            &hello,
            &offer,
            &early,
            Second(exchange),
            self.transcript,
            context,
        )
    }
}

/// What answers which hello: a group with the client's share, or nothing for `psk_ke`.
#[derive(Clone, Copy)]
enum Answers<'a> {
    First(Option<KeyExchange<'a>>),
    Second(KeyExchange<'a>),
}
use Answers::{First, Second};

type KeyExchange<'a> = (&'static dyn SupportedKxGroup, &'a [u8]);

/// Our whole flight: ServerHello to Finished.
fn accept(
    hello: &ClientHello<'_>,
    offer: &Offer<'_>,
    early: &EarlySecret,
    answers: Answers<'_>,
    mut transcript: Transcript,
    context: &mut Context<'_>,
) -> Result<State, Error> {
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
    Ok(State::ExpectFinished13(ExpectFinished {
        suite,
        verify_data,
        client,
        server,
        identity,
    }))
}

/// The extensions of ServerHello, and the secret that the key exchange in them has brought.
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
        let completed = group
            .start_and_complete(share)
            .map_err(|_| illegal_parameter("a key share that is none of its group"))?;
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
        extension(ALPN, &mut extensions, |out| {
            vector16(out, |out| {
                vector8(out, |out| out.extend_from_slice(protocol));
            });
        });
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
    /// Bytes of the client's `verify_data`.
    pub(super) fn verify_data_len(&self) -> usize {
        self.suite.hash.len()
    }

    pub(super) fn finished(
        self,
        message: &[u8],
        context: &mut Context<'_>,
    ) -> Result<State, Error> {
        let sent = read_finished(body(message), self.verify_data_len())?;
        if !self.verify_data.is(sent) {
            let what = "a Finished that does not fit";
            return Err(Error::Misbehaved(AlertDescription::DecryptError, what));
        }
        context.records.read_with(self.client.keys(self.suite)?);
        context.negotiated.identity = Some(self.identity);
        Ok(State::Traffic13(Traffic {
            suite: self.suite,
            client: self.client,
            server: self.server,
            owes_update: false,
        }))
    }
}

impl Traffic {
    /// The client has new keys (RFC 8446 §4.6.3).
    pub(super) fn key_update(
        mut self,
        message: &[u8],
        context: &mut Context<'_>,
    ) -> Result<State, Error> {
        // "the receiver MUST send a KeyUpdate of its own […] prior to sending its next Application Data
        // record"; until then one is enough for however many requests.
        self.owes_update |= KeyUpdate::read(body(message))? == KeyUpdate::Requested;
        self.client = self.client.next()?;
        context.records.read_with(self.client.keys(self.suite)?);
        Ok(State::Traffic13(self))
    }

    /// What goes before a record of application data: new keys, where they are wanted, or where the
    /// old ones have protected as much as they may (RFC 8446 §5.5).
    pub(super) fn before_data(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        if !self.owes_update && !context.records.must_rekey() {
            return Ok(());
        }
        let mut message = Vec::new();
        KeyUpdate::NotRequested.write(&mut message);
        context.records.write(HANDSHAKE, &message, context.out)?;
        self.server = self.server.next()?;
        context.records.write_with(self.server.keys(self.suite)?);
        self.owes_update = false;
        Ok(())
    }
}

fn missing_extension(what: &'static str) -> Error {
    Error::Misbehaved(AlertDescription::MissingExtension, what)
}
