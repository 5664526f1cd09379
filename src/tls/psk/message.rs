//! Handshake messages: joins fragments, and reads and writes all messages but ClientHello.
#![forbid(unsafe_code)]

use super::error::{Error, decode_error, illegal_parameter, unexpected_message};
use super::suites::Exchange;
use crate::tls::wire::{Input, vector8, vector16, vector24};

// HandshakeType (RFC 8446 §4, RFC 5246 §7.4)
pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;
pub(super) const ENCRYPTED_EXTENSIONS: u8 = 8;
pub(super) const SERVER_KEY_EXCHANGE: u8 = 12;
pub(super) const SERVER_HELLO_DONE: u8 = 14;
pub(super) const CLIENT_KEY_EXCHANGE: u8 = 16;
pub(super) const FINISHED: u8 = 20;
pub(super) const KEY_UPDATE: u8 = 24;
pub(super) const MESSAGE_HASH: u8 = 254;

// ExtensionType (RFC 8446 §4.2; RFC 8422 §5.1, RFC 7685 §3, RFC 7627 §5.1, RFC 8449 §4, RFC 5746 §3.2)
pub(super) const SERVER_NAME: u16 = 0;
pub(super) const SUPPORTED_GROUPS: u16 = 10;
pub(super) const EC_POINT_FORMATS: u16 = 11;
pub(super) const ALPN: u16 = 16;
pub(super) const PADDING: u16 = 21;
pub(super) const EXTENDED_MASTER_SECRET: u16 = 23;
pub(super) const RECORD_SIZE_LIMIT: u16 = 28;
pub(super) const PRE_SHARED_KEY: u16 = 41;
pub(super) const EARLY_DATA: u16 = 42;
pub(super) const SUPPORTED_VERSIONS: u16 = 43;
pub(super) const PSK_KEY_EXCHANGE_MODES: u16 = 45;
pub(super) const KEY_SHARE: u16 = 51;
pub(super) const RENEGOTIATION_INFO: u16 = 0xff01;

pub(super) const TLS12: u16 = 0x0303;
pub(super) const TLS13: u16 = 0x0304;

/// Fragments of one message.
///
/// After every message the client changes its keys, or waits for our answer. So nothing may follow in the same
/// record: "Handshake messages MUST NOT span key changes" (RFC 8446 §5.1).
#[derive(Default)]
pub(super) struct Joiner(Vec<u8>);

/// Which message a state waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    pub(super) typ: u8,
    /// Maximum length of the message's body, in bytes.
    pub(super) longest: usize,
}

impl Joiner {
    /// Whether no message has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the content of a record. Returns the message with its header once it is complete.
    pub(super) fn add(&mut self, piece: &[u8], awaited: Awaited) -> Result<Option<Vec<u8>>, Error> {
        // "Implementations MUST NOT send zero-length fragments of Handshake types" (RFC 8446 §5.1)
        if piece.is_empty() {
            return Err(unexpected_message("an empty handshake record"));
        }
        self.0.extend_from_slice(piece);
        if self.0.first().is_some_and(|typ| *typ != awaited.typ) {
            return Err(unexpected_message(
                "a handshake message that is not its turn",
            ));
        }
        let [_, b2, b1, b0, body @ ..] = self.0.as_slice() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, *b2, *b1, *b0]) as usize;
        if length > awaited.longest {
            return Err(decode_error("a handshake message that is too long"));
        }
        match body.len().cmp(&length) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Equal => Ok(Some(std::mem::take(&mut self.0))),
            std::cmp::Ordering::Greater => Err(unexpected_message("data behind a message")),
        }
    }
}

/// The body of a whole message.
pub(super) fn body(message: &[u8]) -> &[u8] {
    message.get(4..).unwrap_or_default()
}

/// Adds a message to `out`: `struct { HandshakeType msg_type; uint24 length; body } Handshake`.
fn handshake(typ: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(typ);
    vector24(out, body);
}

/// Adds an extension to `out`: `struct { ExtensionType extension_type; opaque extension_data<0..2^16-1>; }`.
pub(super) fn extension(typ: u16, out: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&typ.to_be_bytes());
    vector16(out, data);
}

/// Adds the server's ALPN extension to `out`: a list of one protocol name (RFC 7301 §3.1).
pub(super) fn alpn_extension(protocol: &[u8], out: &mut Vec<u8>) {
    extension(ALPN, out, |out| {
        vector16(out, |out| {
            vector8(out, |out| out.extend_from_slice(protocol));
        });
    });
}

/// ServerHello of both versions.
///
/// ```text
/// struct {
///     ProtocolVersion legacy_version = 0x0303;    /* TLS v1.2 */
///     Random random;
///     opaque legacy_session_id_echo<0..32>;
///     CipherSuite cipher_suite;
///     uint8 legacy_compression_method = 0;
///     Extension extensions<6..2^16-1>;            /* TLS 1.2: may be absent */
/// } ServerHello;                                  (RFC 8446 §4.1.3)
/// ```
pub(super) struct ServerHello<'a> {
    pub(super) random: [u8; 32],
    pub(super) session_id: &'a [u8],
    pub(super) suite: u16,
    pub(super) extensions: Vec<u8>,
}

/// The `random` that makes a ServerHello a HelloRetryRequest: "the SHA-256 of "HelloRetryRequest""
/// (RFC 8446 §4.1.3).
pub(super) const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

impl ServerHello<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        handshake(SERVER_HELLO, out, |out| {
            out.extend_from_slice(&TLS12.to_be_bytes());
            out.extend_from_slice(&self.random);
            vector8(out, |out| out.extend_from_slice(self.session_id));
            out.extend_from_slice(&self.suite.to_be_bytes());
            out.push(0);
            if !self.extensions.is_empty() {
                vector16(out, |out| out.extend_from_slice(&self.extensions));
            }
        });
    }
}

/// ```text
/// struct { Extension extensions<0..2^16-1>; } EncryptedExtensions;    (RFC 8446 §4.3.1)
/// ```
pub(super) fn write_encrypted_extensions(extensions: &[u8], out: &mut Vec<u8>) {
    handshake(ENCRYPTED_EXTENSIONS, out, |out| {
        vector16(out, |out| out.extend_from_slice(extensions));
    });
}

/// ```text
/// struct { opaque verify_data[Hash.length]; } Finished;    (RFC 8446 §4.4.4; 12 bytes in TLS 1.2)
/// ```
pub(super) fn write_finished(verify_data: &[u8], out: &mut Vec<u8>) {
    handshake(FINISHED, out, |out| out.extend_from_slice(verify_data));
}

/// Parses `verify_data` of this length.
pub(super) fn read_finished(body: &[u8], length: usize) -> Result<&[u8], Error> {
    match body.len() == length {
        true => Ok(body),
        false => Err(decode_error("a Finished of the wrong length")),
    }
}

/// ```text
/// enum { update_not_requested(0), update_requested(1), (255) } KeyUpdateRequest;
/// struct { KeyUpdateRequest request_update; } KeyUpdate;    (RFC 8446 §4.6.3)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyUpdate {
    NotRequested,
    Requested,
}

impl KeyUpdate {
    pub(super) fn read(body: &[u8]) -> Result<Self, Error> {
        match body {
            [0] => Ok(Self::NotRequested),
            [1] => Ok(Self::Requested),
            [_] => Err(illegal_parameter("a KeyUpdate of an unknown kind")),
            _ => Err(decode_error("a KeyUpdate of the wrong length")),
        }
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        handshake(KEY_UPDATE, out, |out| {
            out.push(match self {
                Self::NotRequested => 0,
                Self::Requested => 1,
            });
        });
    }
}

/// ```text
/// struct {
///     opaque psk_identity_hint<0..2^16-1>;
///     ServerECDHParams params;
/// } ServerKeyExchange;                                     (RFC 5489 §2)
/// struct {
///     ECCurveType curve_type = named_curve;
///     NamedCurve namedcurve;
///     opaque point<1..2^8-1>;
/// } ServerECDHParams;                                      (RFC 8422 §5.4)
/// ```
///
/// The hint is always empty.
pub(super) fn write_server_key_exchange(group: u16, point: &[u8], out: &mut Vec<u8>) {
    handshake(SERVER_KEY_EXCHANGE, out, |out| {
        vector16(out, |_| {});
        out.push(NAMED_CURVE);
        out.extend_from_slice(&group.to_be_bytes());
        vector8(out, |out| out.extend_from_slice(point));
    });
}

const NAMED_CURVE: u8 = 3;

/// ```text
/// struct { } ServerHelloDone;    (RFC 5246 §7.4.5)
/// ```
pub(super) fn write_server_hello_done(out: &mut Vec<u8>) {
    handshake(SERVER_HELLO_DONE, out, |_| {});
}

/// ```text
/// struct {
///     opaque psk_identity<0..2^16-1>;
///     opaque point<1..2^8-1>;             /* with ECDHE */
/// } ClientKeyExchange;                    (RFC 4279 §2, RFC 5489 §2)
/// ```
pub(super) struct ClientKeyExchange<'a> {
    pub(super) identity: &'a [u8],
    /// Share of the key exchange; `None` without (EC)DHE.
    pub(super) point: Option<&'a [u8]>,
}

/// Maximum length of its body, in bytes.
pub(super) const LONGEST_CLIENT_KEY_EXCHANGE: usize = 2 + 0xffff + 1 + 0xff;

impl<'a> ClientKeyExchange<'a> {
    pub(super) fn read(body: &'a [u8], exchange: Exchange) -> Result<Self, Error> {
        let read = || {
            let mut input = Input::new(body);
            let identity = input.vector16()?.rest();
            let point = match exchange {
                Exchange::EcdhePsk => Some(input.vector8()?.non_empty()?.rest()),
                Exchange::Psk | Exchange::Apart => None,
            };
            input.end()?;
            Some(Self { identity, point })
        };
        read().ok_or(decode_error("a malformed ClientKeyExchange"))
    }
}
