//! Parses the ClientHello message (RFC 8446 §4.1.2; RFC 5246 §7.4.1.2 is the same syntax).
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use rustls::{NamedGroup, ProtocolVersion};

use super::{ClientHello, HelloError, ProtocolNames, PskIdentities};
use crate::tls::wire::Input;
use crate::types::{InvalidName, ServerName, UnfitName};

/// The fields of a ClientHello before its extensions.
///
/// ```text
/// struct {
///     ProtocolVersion legacy_version = 0x0303;    /* TLS v1.2 */
///     Random random;
///     opaque legacy_session_id<0..32>;
///     CipherSuite cipher_suites<2..2^16-2>;
///     opaque legacy_compression_methods<1..2^8-1>;
///     Extension extensions<8..2^16-1>;            /* TLS 1.2: may be absent */
/// } ClientHello;                                  (RFC 8446 §4.1.2)
/// ```
pub(in crate::tls) struct Fields<'a> {
    pub(in crate::tls) legacy_version: u16,
    pub(in crate::tls) random: &'a [u8; 32],
    pub(in crate::tls) session_id: &'a [u8],
    pub(in crate::tls) cipher_suites: Input<'a>,
    pub(in crate::tls) compression_methods: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Takes the body of the message, without the handshake header, and gives each extension to `read`.
    pub(in crate::tls) fn parse(
        body: &'a [u8],
        mut read: impl FnMut(u16, Input<'a>) -> Result<(), HelloError>,
    ) -> Result<Self, HelloError> {
        let malformed = HelloError::Malformed;
        let mut input = Input::new(body);

        let fields = Self {
            legacy_version: input.u16().ok_or(malformed("legacy_version"))?,
            random: input.array().ok_or(malformed("random"))?,
            session_id: input
                .vector8()
                .map(Input::rest)
                .filter(|id| id.len() <= 32)
                .ok_or(malformed("legacy_session_id"))?,
            cipher_suites: (input.vector16())
                .and_then(Input::non_empty)
                .filter(|suites| suites.rest().len() % 2 == 0)
                .ok_or(malformed("cipher_suites"))?,
            compression_methods: input
                .vector8()
                .and_then(Input::non_empty)
                .map(Input::rest)
                .ok_or(malformed("legacy_compression_methods"))?,
        };
        // "a server MUST be prepared to receive ClientHellos without extensions" (RFC 5246 §7.4.1.4)
        if input.is_empty() {
            return Ok(fields);
        }
        let mut extensions = input.vector16().ok_or(malformed("extensions"))?;
        input.end().ok_or(malformed("data after the extensions"))?;
        let mut seen = BTreeSet::new();
        while !extensions.is_empty() {
            let extension = extensions.u16().zip(extensions.vector16());
            let (typ, body) = extension.ok_or(malformed("extensions"))?;
            // "There MUST NOT be more than one extension of the same type" (RFC 8446 §4.2)
            if !seen.insert(typ) {
                return Err(HelloError::Illegal("duplicate extension"));
            }
            // "The "pre_shared_key" extension MUST be the last extension in the ClientHello […]
            // Servers MUST check that it is the last extension and otherwise fail the handshake
            // with an "illegal_parameter" alert." (RFC 8446 §4.2.11)
            if typ == PRE_SHARED_KEY && !extensions.is_empty() {
                return Err(HelloError::Illegal("pre_shared_key is not last"));
            }
            read(typ, body)?;
        }
        Ok(fields)
    }
}

impl ClientHello {
    /// Takes the body of the message, without the handshake header.
    ///
    /// The syntax of the fields is checked as strictly as rustls checks it, so that both read the same values.
    /// Whether a hello offers enough, the engine decides.
    pub(super) fn parse(body: &[u8]) -> Result<Self, HelloError> {
        let mut hello = Self {
            server_name: None,
            unfit_name: None,
            alpn: ProtocolNames::default(),
            legacy_version: 0.into(),
            supported_versions: Vec::new(),
            cipher_suites: Vec::new(),
            groups: Vec::new(),
            key_shares: Vec::new(),
            signature_schemes: Vec::new(),
            psk_identities: PskIdentities::default(),
            session_ticket: false,
        };
        let fields = Fields::parse(body, |typ, body| hello.read_extension(typ, body))?;
        hello.legacy_version = fields.legacy_version.into();
        hello.cipher_suites = numbers(fields.cipher_suites).unwrap_or_default();
        Ok(hello)
    }

    fn read_extension(&mut self, typ: u16, body: Input<'_>) -> Result<(), HelloError> {
        let malformed = HelloError::Malformed;
        match typ {
            SERVER_NAME => {
                let name = server_name(body)?;
                match ServerName::parse(name) {
                    Ok(name) => self.server_name = Some(name),
                    Err(InvalidName::IpAddress) => {}
                    Err(InvalidName::NotDns) => self.unfit_name = Some(UnfitName::cut(name)),
                }
            }
            SUPPORTED_GROUPS => {
                self.groups = list16(body).ok_or(malformed("supported_groups"))?;
            }
            SIGNATURE_ALGORITHMS => {
                self.signature_schemes = list16(body).ok_or(malformed("signature_algorithms"))?;
            }
            ALPN => {
                self.alpn =
                    alpn(body).ok_or(malformed("application_layer_protocol_negotiation"))?;
            }
            SESSION_TICKET => self.session_ticket = !body.is_empty(),
            PRE_SHARED_KEY => {
                let offered = OfferedPsks::read(body).ok_or(malformed("pre_shared_key"))?;
                self.psk_identities.list = offered.identities.rest().to_vec();
            }
            SUPPORTED_VERSIONS => {
                self.supported_versions =
                    supported_versions(body).ok_or(malformed("supported_versions"))?;
            }
            KEY_SHARE => self.key_shares = key_share(body).ok_or(malformed("key_share"))?,
            _ => {}
        }
        Ok(())
    }
}

/// ```text
/// struct { NameType name_type; HostName host_name<1..2^16-1>; } ServerName;
/// struct { ServerName server_name_list<1..2^16-1>; } ServerNameList;   (RFC 6066 §3)
/// ```
///
/// `host_name` is the only type. The length of a name of another type is unknown, so it and the rest of the list
/// are ignored; a list without a `host_name` is refused, as rustls does it.
fn server_name(mut body: Input<'_>) -> Result<&[u8], HelloError> {
    let malformed = HelloError::Malformed("server_name");
    let list = body.vector16().and_then(Input::non_empty);
    let mut list = list.ok_or(malformed)?;
    body.end().ok_or(malformed)?;

    let mut host_name = None;
    while list.u8() == Some(HOST_NAME) {
        let name = list.vector16().and_then(Input::non_empty);
        // "MUST NOT contain more than one name of the same name_type"
        if host_name.replace(name.ok_or(malformed)?).is_some() {
            return Err(malformed);
        }
    }
    let host_name = host_name.ok_or(HelloError::InvalidServerName)?;
    Ok(host_name.rest())
}

/// `ProtocolName protocol_name_list<2..2^16-1>`, with `opaque ProtocolName<1..2^8-1>` (RFC 7301 §3.1).
pub(in crate::tls) fn alpn(mut body: Input<'_>) -> Option<ProtocolNames> {
    let list = body.vector16()?.non_empty()?;
    body.end()?;
    let mut names = list;
    while !names.is_empty() {
        names.vector8()?.non_empty()?;
    }
    Some(ProtocolNames {
        list: list.rest().to_vec(),
    })
}

/// `ProtocolVersion versions<2..254>` (RFC 8446 §4.2.1).
pub(in crate::tls) fn supported_versions(mut body: Input<'_>) -> Option<Vec<ProtocolVersion>> {
    let versions = numbers(body.vector8()?)?;
    body.end()?;
    Some(versions)
}

/// ```text
/// struct { NamedGroup group; opaque key_exchange<1..2^16-1>; } KeyShareEntry;
/// struct { KeyShareEntry client_shares<0..2^16-1>; } KeyShareClientHello;   (RFC 8446 §4.2.8)
/// ```
fn key_share(mut body: Input<'_>) -> Option<Vec<NamedGroup>> {
    let mut shares = body.vector16()?;
    body.end()?;
    let mut groups = Vec::new();
    while !shares.is_empty() {
        groups.push(shares.u16()?.into());
        shares.vector16()?.non_empty()?;
    }
    Some(groups)
}

/// ```text
/// struct { opaque identity<1..2^16-1>; uint32 obfuscated_ticket_age; } PskIdentity;
/// opaque PskBinderEntry<32..255>;
/// struct { PskIdentity identities<7..2^16-1>; PskBinderEntry binders<33..2^16-1>; } OfferedPsks;
/// ```
/// (RFC 8446 §4.2.11)
#[derive(Clone, Copy)]
pub(in crate::tls) struct OfferedPsks<'a> {
    identities: Input<'a>,
    binders: Input<'a>,
    /// Length of `binders` in bytes, its length field included.
    pub(in crate::tls) binders_len: usize,
}

impl<'a> OfferedPsks<'a> {
    /// Checks that both lists are well formed; their lengths may differ.
    pub(in crate::tls) fn read(mut body: Input<'a>) -> Option<Self> {
        let identities = body.vector16()?.non_empty()?;
        let mut left = identities;
        while !left.is_empty() {
            next_identity(&mut left)?;
        }
        let binders_len = body.rest().len();
        let binders = body.vector16()?.non_empty()?;
        let mut left = binders;
        while !left.is_empty() {
            left.vector8()?.non_empty()?;
        }
        body.end()?;
        Some(Self {
            identities,
            binders,
            binders_len,
        })
    }

    pub(in crate::tls) fn identities(self) -> impl Iterator<Item = &'a [u8]> {
        let mut left = self.identities;
        std::iter::from_fn(move || next_identity(&mut left))
    }

    pub(in crate::tls) fn binders(self) -> impl Iterator<Item = &'a [u8]> {
        let mut left = self.binders;
        std::iter::from_fn(move || left.vector8().map(Input::rest))
    }
}

/// The first identity of a list, without its ticket age.
pub(super) fn next_identity<'a>(list: &mut Input<'a>) -> Option<&'a [u8]> {
    let identity = list.vector16()?.non_empty()?;
    list.bytes(4)?;
    Some(identity.rest())
}

/// Parses an extension that is a list of numbers: `uint16 list<2..2^16-1>`.
pub(in crate::tls) fn list16<T: From<u16>>(mut body: Input<'_>) -> Option<Vec<T>> {
    let list = numbers(body.vector16()?)?;
    body.end()?;
    Some(list)
}

/// Parses numbers, at least one, that fill a vector.
pub(in crate::tls) fn numbers<T: From<u16>>(mut vector: Input<'_>) -> Option<Vec<T>> {
    let mut numbers = Vec::new();
    while !vector.is_empty() {
        numbers.push(vector.u16()?.into());
    }
    (!numbers.is_empty()).then_some(numbers)
}

// ExtensionType (RFC 8446 §4.2)
const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SESSION_TICKET: u16 = 35;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;

// NameType (RFC 6066 §3)
const HOST_NAME: u8 = 0;
