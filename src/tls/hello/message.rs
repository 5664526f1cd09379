//! The ClientHello message → facts (RFC 8446 §4.1.2; RFC 5246 §7.4.1.2 is the same syntax).
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use rustls::{NamedGroup, ProtocolVersion};

use super::{ClientHello, HelloError, ProtocolNames};
use crate::tls::name::{InvalidName, ServerName};
use crate::tls::wire::Input;

impl ClientHello {
    /// Takes the body of the message, without the handshake header.
    ///
    /// Of the fields that are read, the syntax is checked as strictly as rustls does it, so that
    /// both see the same facts. What a hello offers is for the engine to judge.
    pub(super) fn parse(body: &[u8]) -> Result<Self, HelloError> {
        let malformed = HelloError::Malformed;
        let mut input = Input::new(body);

        let legacy_version = input.u16().ok_or(malformed("legacy_version"))?.into();
        input.bytes(32).ok_or(malformed("random"))?;
        input
            .vector8()
            .filter(|id| id.rest().len() <= 32)
            .ok_or(malformed("legacy_session_id"))?;
        let cipher_suites = (input.vector16())
            .and_then(numbers)
            .ok_or(malformed("cipher_suites"))?;
        input
            .vector8()
            .and_then(Input::non_empty)
            .ok_or(malformed("legacy_compression_methods"))?;

        let mut hello = Self {
            server_name: None,
            alpn: ProtocolNames::default(),
            legacy_version,
            supported_versions: Vec::new(),
            cipher_suites,
            groups: Vec::new(),
            key_shares: Vec::new(),
            signature_schemes: Vec::new(),
            psk_identities: 0,
            session_ticket: false,
        };
        // "a server MUST be prepared to receive ClientHellos without extensions" (RFC 5246 §7.4.1.4)
        if !input.is_empty() {
            let extensions = input.vector16().ok_or(malformed("extensions"))?;
            input.end().ok_or(malformed("data after the extensions"))?;
            hello.read_extensions(extensions)?;
        }
        Ok(hello)
    }

    fn read_extensions(&mut self, mut extensions: Input<'_>) -> Result<(), HelloError> {
        let mut seen = BTreeSet::new();
        while !extensions.is_empty() {
            let extension = extensions.u16().zip(extensions.vector16());
            let (typ, body) = extension.ok_or(HelloError::Malformed("extensions"))?;
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
            self.read_extension(typ, body)?;
        }
        Ok(())
    }

    fn read_extension(&mut self, typ: u16, body: Input<'_>) -> Result<(), HelloError> {
        let malformed = HelloError::Malformed;
        match typ {
            SERVER_NAME => self.server_name = server_name(body)?,
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
                self.psk_identities = pre_shared_key(body).ok_or(malformed("pre_shared_key"))?;
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
/// `host_name` is the only type there is. How long a name of another type were is unknown, so it
/// and what follows it are ignored; a list without a `host_name` is refused, as rustls does it.
fn server_name(mut body: Input<'_>) -> Result<Option<ServerName>, HelloError> {
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
    match ServerName::parse(host_name.rest()) {
        Ok(name) => Ok(Some(name)),
        Err(InvalidName::IpAddress) => Ok(None),
        Err(InvalidName::NotDns) => Err(HelloError::InvalidServerName),
    }
}

/// `ProtocolName protocol_name_list<2..2^16-1>`, with `opaque ProtocolName<1..2^8-1>` (RFC 7301 §3.1).
fn alpn(mut body: Input<'_>) -> Option<ProtocolNames> {
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
fn supported_versions(mut body: Input<'_>) -> Option<Vec<ProtocolVersion>> {
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
fn pre_shared_key(mut body: Input<'_>) -> Option<usize> {
    let mut identities = body.vector16()?.non_empty()?;
    let mut count = 0;
    while !identities.is_empty() {
        identities.vector16()?.non_empty()?;
        identities.bytes(4)?;
        count += 1;
    }
    let mut binders = body.vector16()?.non_empty()?;
    while !binders.is_empty() {
        binders.vector8()?.non_empty()?;
    }
    body.end()?;
    Some(count)
}

/// An extension that is a list of numbers: `uint16 list<2..2^16-1>`.
fn list16<T: From<u16>>(mut body: Input<'_>) -> Option<Vec<T>> {
    let list = numbers(body.vector16()?)?;
    body.end()?;
    Some(list)
}

/// The numbers, at least one, that fill a vector.
fn numbers<T: From<u16>>(mut vector: Input<'_>) -> Option<Vec<T>> {
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
