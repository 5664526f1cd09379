//! TLS 1.2: the states of the server (RFC 5246 §7.3), from ClientHello to traffic.
#![forbid(unsafe_code)]

use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::{AlertDescription, NamedGroup, ProtocolVersion};

use super::context::Context;
use super::error::{Error, decode_error, handshake_failure, illegal_parameter};
use super::hello::ClientHello;
use super::message::{
    ClientKeyExchange, EC_POINT_FORMATS, EXTENDED_MASTER_SECRET, RECORD_SIZE_LIMIT,
    RENEGOTIATION_INFO, SERVER_NAME, ServerHello, alpn_extension, body, extension, read_finished,
    write_finished, write_server_hello_done, write_server_key_exchange,
};
use super::prf::{MasterSecret, Randoms, Sender, VERIFY_DATA};
use super::record::{CHANGE_CIPHER_SPEC, HANDSHAKE, Keys, MAX_FRAGMENT};
use super::suites::{self, Exchange, Suite};
use super::transcript::Transcript;
use super::{Config, number};
use crate::tls::profile::Version;
use crate::tls::wire::vector8;
use crate::types::PskIdentity;

/// Waits for ClientKeyExchange: the client's identity and its share.
pub(super) struct ExpectClientKeyExchange {
    suite: &'static Suite,
    exchange: Option<Box<dyn ActiveKeyExchange>>,
    randoms: Randoms,
    extended_master_secret: bool,
    fragment_limit: Option<usize>,
    transcript: Transcript,
}

/// Waits for the client's `ChangeCipherSpec`.
pub(super) struct ExpectChangeCipherSpec {
    finished: ExpectFinished,
    client: Keys,
}

/// Waits for the client's Finished.
pub(super) struct ExpectFinished {
    master: MasterSecret,
    server: Keys,
    fragment_limit: Option<usize>,
    transcript: Transcript,
    /// `None`: the identity is unknown, and the keys come from the substitute key.
    identity: Option<PskIdentity>,
}

/// Processes a client's hello.
pub(super) fn client_hello(
    message: &[u8],
    hello: &ClientHello<'_>,
    context: &mut Context<'_>,
) -> Result<ExpectClientKeyExchange, Error> {
    let config = context.config;
    // "If TLS_FALLBACK_SCSV appears in ClientHello.cipher_suites and the highest protocol version
    // supported by the server is higher […], the server MUST respond with a fatal
    // inappropriate_fallback alert" (RFC 7507 §3)
    let speaks_tls13 = config.speaks(Version::Tls13);
    if hello.is_fallback() && speaks_tls13 {
        let what = "a fallback from a version that both speak";
        let alert = AlertDescription::InappropriateFallback;
        return Err(Error::Incompatible(alert, what));
    }
    let (suite, group) = choose(hello, config)?;
    if group.is_some()
        && hello
            .point_formats
            .is_some_and(|formats| !formats.contains(&0))
    {
        // RFC 8422 §5.1.2
        return Err(illegal_parameter("no uncompressed points"));
    }
    let alpn = hello.choose_alpn(&config.alpn)?;
    let mut random = config.random()?;
    if let Some(end) = random.last_chunk_mut().filter(|_| speaks_tls13) {
        *end = DOWNGRADE_TO_TLS12;
    }
    let exchange = match group.map(SupportedKxGroup::start) {
        Some(Err(_)) => return Err(Error::Internal("no key for the key exchange")),
        Some(Ok(exchange)) => Some(exchange),
        None => None,
    };
    let negotiated = &mut context.negotiated;
    negotiated.suite = Some(suite.id);
    negotiated.group = group.map(number);
    negotiated.alpn = alpn.map(<[u8]>::to_vec);

    let mut flight = Vec::new();
    let server_hello = ServerHello {
        random,
        session_id: &[],
        suite: suite.id,
        extensions: extensions(hello, exchange.is_some(), alpn),
    };
    server_hello.write(&mut flight);
    if let (Some(exchange), Some(group)) = (&exchange, group) {
        write_server_key_exchange(number(group), exchange.pub_key(), &mut flight);
    }
    write_server_hello_done(&mut flight);
    let mut transcript = Transcript::new(suite.hash);
    transcript.add(message);
    transcript.add(&flight);
    context.records.write(HANDSHAKE, &flight, context.out)?;
    Ok(ExpectClientKeyExchange {
        suite,
        exchange,
        randoms: Randoms {
            client: *hello.random,
            server: random,
        },
        extended_master_secret: hello.extended_master_secret,
        fragment_limit: hello.fragment_limit(Version::Tls12),
        transcript,
    })
}

/// "If negotiating TLS 1.2, TLS 1.3 servers MUST set the last 8 bytes of their Random value to the bytes:
/// 44 4F 57 4E 47 52 44 01" (RFC 8446 §4.1.3)
const DOWNGRADE_TO_TLS12: [u8; 8] = *b"DOWNGRD\x01";

type Choice = (&'static Suite, Option<&'static dyn SupportedKxGroup>);

/// Chooses the client's first suite with forward secrecy and its first group; without such a suite, its first
/// one.
fn choose(hello: &ClientHello<'_>, config: &Config) -> Result<Choice, Error> {
    let groups = || config.groups(ProtocolVersion::TLSv1_2);
    let group = match hello.groups.as_slice() {
        // "a client that […] omits this extension" accepts any group (RFC 8422 §4); every client has this one.
        [] => groups().find(|group| group.name() == NamedGroup::secp256r1),
        offered => {
            (offered.iter()).find_map(|offered| groups().find(|group| number(*group) == *offered))
        }
    };
    let first = |exchange| {
        let mut offered = hello.suites.iter().filter_map(|id| suites::tls12(*id));
        offered.find(|suite| suite.exchange == exchange && config.allows(suite))
    };
    match (first(Exchange::EcdhePsk), group) {
        (Some(suite), Some(group)) => return Ok((suite, Some(group))),
        (Some(_), None) if first(Exchange::Psk).is_none() => {
            return Err(handshake_failure("no group in common"));
        }
        _ => {}
    }
    let plain = first(Exchange::Psk).ok_or(handshake_failure("no cipher suite in common"))?;
    Ok((plain, None))
}

/// Writes the extensions of ServerHello: only those that the client has sent.
fn extensions(hello: &ClientHello<'_>, with_points: bool, alpn: Option<&[u8]>) -> Vec<u8> {
    let mut extensions = Vec::new();
    // "The "extension_data" field of this extension SHALL be empty." (RFC 6066 §3)
    if hello.server_name.is_some() {
        extension(SERVER_NAME, &mut extensions, |_| {});
    }
    // "an empty "renegotiation_info" extension" (RFC 5746 §3.6)
    if hello.secure_renegotiation() {
        extension(RENEGOTIATION_INFO, &mut extensions, |out| out.push(0));
    }
    if hello.extended_master_secret {
        extension(EXTENDED_MASTER_SECRET, &mut extensions, |_| {});
    }
    if hello.point_formats.is_some() && with_points {
        extension(EC_POINT_FORMATS, &mut extensions, |out| {
            vector8(out, |out| out.push(0));
        });
    }
    if let Some(protocol) = alpn {
        alpn_extension(protocol, &mut extensions);
    }
    if hello.record_size_limit.is_some() {
        extension(RECORD_SIZE_LIMIT, &mut extensions, |out| {
            out.extend_from_slice(&0x4000_u16.to_be_bytes());
        });
    }
    extensions
}

impl ExpectClientKeyExchange {
    pub(super) fn client_key_exchange(
        mut self,
        message: &[u8],
        context: &mut Context<'_>,
    ) -> Result<ExpectChangeCipherSpec, Error> {
        let sent = ClientKeyExchange::read(body(message), self.suite.exchange)?;
        let shared = match (self.exchange, sent.point) {
            (Some(exchange), Some(point)) => Some(exchange.complete(point)?),
            _ => None,
        };
        let known = context.config.keys.get_key_value(sent.identity);
        let key = known.map_or(
            context.config.substitute_key(self.suite.hash),
            |(_, key)| key,
        );

        self.transcript.add(message);
        let (hash, shared) = (
            self.suite.hash,
            shared.as_ref().map(SharedSecret::secret_bytes),
        );
        let master = match self.extended_master_secret {
            true => MasterSecret::extended(hash, key, shared, &self.transcript)?,
            false => MasterSecret::new(hash, key, shared, &self.randoms)?,
        };
        let (client, server) = master.keys(self.suite, &self.randoms)?;
        let finished = ExpectFinished {
            master,
            server,
            fragment_limit: self.fragment_limit,
            transcript: self.transcript,
            identity: known.map(|(identity, _)| identity.clone()),
        };
        Ok(ExpectChangeCipherSpec { finished, client })
    }
}

impl ExpectChangeCipherSpec {
    /// `struct { enum { change_cipher_spec(1), (255) } type; } ChangeCipherSpec;` (RFC 5246 §7.1)
    pub(super) fn change_cipher_spec(
        self,
        content: &[u8],
        context: &mut Context<'_>,
    ) -> Result<ExpectFinished, Error> {
        match content {
            [1] => {}
            [_] => return Err(illegal_parameter("a change_cipher_spec of an unknown kind")),
            _ => return Err(decode_error("a change_cipher_spec of the wrong length")),
        }
        context.records.read_with(self.client);
        Ok(self.finished)
    }
}

impl ExpectFinished {
    pub(super) fn finished(
        mut self,
        message: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), Error> {
        let sent = read_finished(body(message), VERIFY_DATA)?;
        let verify_data = self.master.verify_data(Sender::Client, &self.transcript)?;
        let (true, Some(identity)) = (verify_data.is(sent), self.identity) else {
            return Err(Error::Unauthenticated);
        };
        self.transcript.add(message);
        let verify_data = self.master.verify_data(Sender::Server, &self.transcript)?;
        let mut message = Vec::new();
        write_finished(verify_data.as_bytes(), &mut message);
        context
            .records
            .write(CHANGE_CIPHER_SPEC, &[1], context.out)?;
        context.records.write_with(self.server);
        context
            .records
            .limit_fragments(self.fragment_limit.unwrap_or(MAX_FRAGMENT));
        context.records.write(HANDSHAKE, &message, context.out)?;
        context.negotiated.identity = Some(identity);
        Ok(())
    }
}
