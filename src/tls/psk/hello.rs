//! Parser of the ClientHello for this engine, with all fields that the handshake uses.
#![forbid(unsafe_code)]

use aws_lc_rs::digest::{self, Digest};
use rustls::AlertDescription;

use super::Config;
use super::error::{Error, illegal_parameter};
use super::message::{
    ALPN, EARLY_DATA, EC_POINT_FORMATS, EXTENDED_MASTER_SECRET, KEY_SHARE, PADDING, PRE_SHARED_KEY,
    PSK_KEY_EXCHANGE_MODES, RECORD_SIZE_LIMIT, RENEGOTIATION_INFO, SERVER_NAME, SUPPORTED_GROUPS,
    SUPPORTED_VERSIONS, TLS12, TLS13, body,
};
use super::record::MAX_FRAGMENT;
use crate::tls::hello::message::{Fields, OfferedPsks, alpn, list16, numbers, supported_versions};
use crate::tls::hello::{HelloError, ProtocolNames};
use crate::tls::profile::Version;
use crate::tls::wire::Input;

/// A ClientHello. Its lists keep the client's order. A field that is empty or `None` was not sent.
pub(super) struct ClientHello<'a> {
    pub(super) random: &'a [u8; 32],
    pub(super) session_id: &'a [u8],
    pub(super) suites: Vec<u16>,
    compression_methods: &'a [u8],
    legacy_version: u16,
    versions: Vec<u16>,
    pub(super) groups: Vec<u16>,
    pub(super) shares: Option<Vec<KeyShare<'a>>>,
    pub(super) alpn: Option<ProtocolNames>,
    pub(super) psk_modes: Option<&'a [u8]>,
    pub(super) offered: Option<OfferedPsks<'a>>,
    pub(super) server_name: Option<&'a [u8]>,
    pub(super) early_data: bool,
    pub(super) extended_master_secret: bool,
    /// `renegotiated_connection` (RFC 5746 §3.2).
    renegotiation_info: Option<&'a [u8]>,
    pub(super) point_formats: Option<&'a [u8]>,
    pub(super) record_size_limit: Option<u16>,
    /// The message up to the binders (RFC 8446 §4.2.11.2).
    pub(super) truncated: &'a [u8],
}

/// ```text
/// struct { NamedGroup group; opaque key_exchange<1..2^16-1>; } KeyShareEntry;    (RFC 8446 §4.2.8)
/// ```
pub(super) struct KeyShare<'a> {
    pub(super) group: u16,
    pub(super) key_exchange: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Parses a whole message.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Error> {
        let mut hello = Self {
            random: &[0; 32],
            session_id: &[],
            suites: Vec::new(),
            compression_methods: &[],
            legacy_version: 0,
            versions: Vec::new(),
            groups: Vec::new(),
            shares: None,
            alpn: None,
            psk_modes: None,
            offered: None,
            server_name: None,
            early_data: false,
            extended_master_secret: false,
            renegotiation_info: None,
            point_formats: None,
            record_size_limit: None,
            truncated: message,
        };
        let fields = Fields::parse(body(message), |typ, data| {
            let malformed = |what| move || HelloError::Malformed(what);
            hello.extension(typ, data).ok_or_else(malformed(name(typ)))
        })?;
        hello.random = fields.random;
        hello.session_id = fields.session_id;
        hello.suites = numbers(fields.cipher_suites).unwrap_or_default();
        hello.compression_methods = fields.compression_methods;
        hello.legacy_version = fields.legacy_version;
        if let Some(offered) = hello.offered {
            let length = message.len().saturating_sub(offered.binders_len);
            hello.truncated = message.get(..length).unwrap_or_default();
        }
        hello.check()?;
        Ok(hello)
    }

    /// Parses the extensions that this engine knows; `None`: one is malformed.
    fn extension(&mut self, typ: u16, mut data: Input<'a>) -> Option<()> {
        match typ {
            SERVER_NAME => self.server_name = Some(data.rest()),
            SUPPORTED_GROUPS => self.groups = list16(data)?,
            EC_POINT_FORMATS => {
                // ECPointFormat ec_point_format_list<1..2^8-1>    (RFC 8422 §5.1.2)
                self.point_formats = Some(data.vector8()?.non_empty()?.rest());
                data.end()?;
            }
            ALPN => self.alpn = Some(alpn(data)?),
            EXTENDED_MASTER_SECRET => {
                data.end()?;
                self.extended_master_secret = true;
            }
            RECORD_SIZE_LIMIT => {
                // uint16 RecordSizeLimit    (RFC 8449 §4)
                self.record_size_limit = Some(data.u16()?);
                data.end()?;
            }
            PRE_SHARED_KEY => {
                let offered = OfferedPsks::read(data)?;
                // OfferedPsks accepts shorter binders, as rustls does; the RFC does not.
                offered
                    .binders()
                    .all(|binder| binder.len() >= 32)
                    .then_some(())?;
                self.offered = Some(offered);
            }
            EARLY_DATA => {
                data.end()?;
                self.early_data = true;
            }
            SUPPORTED_VERSIONS => {
                let versions = supported_versions(data)?;
                self.versions = versions.into_iter().map(u16::from).collect();
            }
            PSK_KEY_EXCHANGE_MODES => {
                // PskKeyExchangeMode ke_modes<1..255>    (RFC 8446 §4.2.9)
                self.psk_modes = Some(data.vector8()?.non_empty()?.rest());
                data.end()?;
            }
            KEY_SHARE => self.shares = Some(key_shares(data)?),
            RENEGOTIATION_INFO => {
                // opaque renegotiated_connection<0..255>    (RFC 5746 §3.2)
                self.renegotiation_info = Some(data.vector8()?.rest());
                data.end()?;
            }
            _ => {}
        }
        Some(())
    }

    /// Checks that do not depend on version or suite.
    fn check(&self) -> Result<(), Error> {
        // "An endpoint MUST treat receipt of a smaller value as a fatal error and generate an
        // "illegal_parameter" alert." (RFC 8449 §4)
        if self.record_size_limit.is_some_and(|limit| limit < 64) {
            return Err(illegal_parameter("a record_size_limit under 64"));
        }
        // "if it is not zero, it MUST abort the handshake" of a connection that begins (RFC 5746 §3.6)
        if self.renegotiation_info.is_some_and(|info| !info.is_empty()) {
            let what = "renegotiation_info of a connection that does not exist";
            return Err(Error::Misbehaved(AlertDescription::HandshakeFailure, what));
        }
        Ok(())
    }

    /// The highest version that both support (RFC 8446 §4.2.1, §D.2).
    pub(super) fn version(&self, config: &Config) -> Result<Version, Error> {
        let tls12 = config.speaks(Version::Tls12);
        let version = match self.versions.as_slice() {
            versions if versions.contains(&TLS13) && config.speaks(Version::Tls13) => {
                Version::Tls13
            }
            versions if versions.contains(&TLS12) && tls12 => Version::Tls12,
            [] if self.legacy_version >= TLS12 && tls12 => Version::Tls12,
            _ => {
                let what = "no version that the host speaks";
                return Err(Error::Incompatible(AlertDescription::ProtocolVersion, what));
            }
        };
        let null_compression = match version {
            // "this vector MUST contain exactly one byte, set to zero" (RFC 8446 §4.1.2)
            Version::Tls13 => self.compression_methods == [0],
            // "This vector MUST contain […] CompressionMethod.null." (RFC 5246 §7.4.1.2)
            Version::Tls12 => self.compression_methods.contains(&0),
        };
        match null_compression {
            true => Ok(version),
            false => Err(illegal_parameter("compression")),
        }
    }

    /// Whether to answer with `renegotiation_info` (RFC 5746 §3.6). tlssrv never renegotiates.
    pub(super) fn secure_renegotiation(&self) -> bool {
        self.renegotiation_info.is_some() || self.suites.contains(&EMPTY_RENEGOTIATION_INFO_SCSV)
    }

    /// Whether the client retries with a lower version (RFC 7507 §3).
    pub(super) fn is_fallback(&self) -> bool {
        self.suites.contains(&FALLBACK_SCSV)
    }

    /// The protocol for this connection: the first of the host's list that the client offers (RFC 7301 §3.2).
    pub(super) fn choose_alpn<'b>(&self, ours: &'b [Vec<u8>]) -> Result<Option<&'b [u8]>, Error> {
        let (Some(offered), false) = (&self.alpn, ours.is_empty()) else {
            return Ok(None);
        };
        match ours.iter().find(|name| offered.contains(name)) {
            Some(name) => Ok(Some(name)),
            None => {
                let what = "no application protocol in common";
                let alert = AlertDescription::NoApplicationProtocol;
                Err(Error::Incompatible(alert, what))
            }
        }
    }

    /// Maximum plaintext in a protected record for this client, in bytes (RFC 8449 §4). In TLS 1.3 content type and
    /// padding count, too.
    pub(super) fn fragment_limit(&self, version: Version) -> Option<usize> {
        let limit = usize::from(self.record_size_limit?);
        Some(match version {
            Version::Tls12 => limit.min(MAX_FRAGMENT),
            Version::Tls13 => (limit - 1).min(MAX_FRAGMENT),
        })
    }
}

/// A digest of the fields that a second hello must not change: everything but key shares, the content of
/// `pre_shared_key`, padding, and early data, which must go (RFC 8446 §4.1.2). A cookie must not change either,
/// because we send none. The order of the extensions is not part of the digest: wolfSSL changes it.
pub(super) fn fixed_part(message: &[u8]) -> Result<Digest, Error> {
    let mut parts = Vec::new();
    let fields = Fields::parse(body(message), |typ, data| {
        if ![KEY_SHARE, PRE_SHARED_KEY, PADDING, EARLY_DATA].contains(&typ) {
            parts.push((typ.to_be_bytes(), data.rest()));
        }
        Ok(())
    })?;
    parts.sort_unstable();
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |part: &[u8]| {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    };
    add(&fields.legacy_version.to_be_bytes());
    add(fields.random);
    add(fields.session_id);
    add(fields.cipher_suites.rest());
    add(fields.compression_methods);
    for (typ, data) in parts {
        add(&typ);
        add(data);
    }
    Ok(context.finish())
}

/// `KeyShareEntry client_shares<0..2^16-1>`
fn key_shares(mut data: Input<'_>) -> Option<Vec<KeyShare<'_>>> {
    let mut list = data.vector16()?;
    data.end()?;
    let mut shares = Vec::new();
    while !list.is_empty() {
        shares.push(KeyShare {
            group: list.u16()?,
            key_exchange: list.vector16()?.non_empty()?.rest(),
        });
    }
    Some(shares)
}

fn name(typ: u16) -> &'static str {
    match typ {
        SUPPORTED_GROUPS => "supported_groups",
        EC_POINT_FORMATS => "ec_point_formats",
        ALPN => "application_layer_protocol_negotiation",
        EXTENDED_MASTER_SECRET => "extended_master_secret",
        RECORD_SIZE_LIMIT => "record_size_limit",
        PRE_SHARED_KEY => "pre_shared_key",
        EARLY_DATA => "early_data",
        SUPPORTED_VERSIONS => "supported_versions",
        PSK_KEY_EXCHANGE_MODES => "psk_key_exchange_modes",
        KEY_SHARE => "key_share",
        RENEGOTIATION_INFO => "renegotiation_info",
        _ => "an extension",
    }
}

/// `TLS_EMPTY_RENEGOTIATION_INFO_SCSV` (RFC 5746 §3.3)
const EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;
/// `TLS_FALLBACK_SCSV` (RFC 7507 §2)
const FALLBACK_SCSV: u16 = 0x5600;
