//! Numbers of the protocol, by the names that the RFCs give them.
#![allow(missing_docs, reason = "the names say it")]

/// `ContentType` (RFC 8446 §5.1).
pub mod record {
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    pub const ALERT: u8 = 21;
    pub const HANDSHAKE: u8 = 22;
    pub const APPLICATION_DATA: u8 = 23;
    pub const HEARTBEAT: u8 = 24;
}

/// `HandshakeType` (RFC 8446 §4, RFC 5246 §7.4).
pub mod handshake {
    pub const HELLO_REQUEST: u8 = 0;
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    pub const NEW_SESSION_TICKET: u8 = 4;
    pub const END_OF_EARLY_DATA: u8 = 5;
    pub const ENCRYPTED_EXTENSIONS: u8 = 8;
    pub const CERTIFICATE: u8 = 11;
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    pub const CERTIFICATE_REQUEST: u8 = 13;
    pub const SERVER_HELLO_DONE: u8 = 14;
    pub const CERTIFICATE_VERIFY: u8 = 15;
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
    pub const FINISHED: u8 = 20;
    pub const CERTIFICATE_STATUS: u8 = 22;
    pub const KEY_UPDATE: u8 = 24;
    pub const COMPRESSED_CERTIFICATE: u8 = 25;
    pub const MESSAGE_HASH: u8 = 254;
}

/// `ExtensionType` (RFC 8446 §4.2).
pub mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const STATUS_REQUEST: u16 = 5;
    pub const SUPPORTED_GROUPS: u16 = 10;
    pub const EC_POINT_FORMATS: u16 = 11;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const ALPN: u16 = 16;
    pub const PADDING: u16 = 21;
    pub const ENCRYPT_THEN_MAC: u16 = 22;
    pub const EXTENDED_MASTER_SECRET: u16 = 23;
    pub const RECORD_SIZE_LIMIT: u16 = 28;
    pub const SESSION_TICKET: u16 = 35;
    pub const PRE_SHARED_KEY: u16 = 41;
    pub const EARLY_DATA: u16 = 42;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const COOKIE: u16 = 44;
    pub const PSK_KEY_EXCHANGE_MODES: u16 = 45;
    pub const KEY_SHARE: u16 = 51;
    pub const RENEGOTIATION_INFO: u16 = 0xff01;
}

/// `AlertDescription` (RFC 8446 §6, RFC 5246 §7.2).
pub mod alert {
    pub const CLOSE_NOTIFY: u8 = 0;
    pub const UNEXPECTED_MESSAGE: u8 = 10;
    pub const BAD_RECORD_MAC: u8 = 20;
    pub const RECORD_OVERFLOW: u8 = 22;
    pub const HANDSHAKE_FAILURE: u8 = 40;
    pub const UNSUPPORTED_CERTIFICATE: u8 = 43;
    pub const CERTIFICATE_REVOKED: u8 = 44;
    pub const CERTIFICATE_EXPIRED: u8 = 45;
    pub const CERTIFICATE_UNKNOWN: u8 = 46;
    pub const ILLEGAL_PARAMETER: u8 = 47;
    pub const UNKNOWN_CA: u8 = 48;
    pub const ACCESS_DENIED: u8 = 49;
    pub const DECODE_ERROR: u8 = 50;
    pub const DECRYPT_ERROR: u8 = 51;
    pub const PROTOCOL_VERSION: u8 = 70;
    pub const INAPPROPRIATE_FALLBACK: u8 = 86;
    pub const USER_CANCELED: u8 = 90;
    pub const NO_RENEGOTIATION: u8 = 100;
    pub const MISSING_EXTENSION: u8 = 109;
    pub const CERTIFICATE_REQUIRED: u8 = 116;
    pub const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// `AlertLevel`.
pub const WARNING: u8 = 1;
/// `AlertLevel`.
pub const FATAL: u8 = 2;

/// `NamedGroup` (RFC 8446 §4.2.7).
pub mod group {
    pub const SECP256R1: u16 = 23;
    pub const SECP384R1: u16 = 24;
    pub const X25519: u16 = 29;
    pub const X25519MLKEM768: u16 = 0x11ec;
    /// A group that the server does not have.
    pub const SECP521R1: u16 = 25;
}

/// `PskKeyExchangeMode` (RFC 8446 §4.2.9).
pub mod mode {
    pub const PSK_KE: u8 = 0;
    pub const PSK_DHE_KE: u8 = 1;
}

/// `CipherSuite`.
pub mod suite {
    pub const AES_128_GCM_SHA256: u16 = 0x1301;
    pub const AES_256_GCM_SHA384: u16 = 0x1302;
    pub const CHACHA20_POLY1305_SHA256: u16 = 0x1303;
    pub const PSK_AES_128_GCM: u16 = 0x00a8;
    pub const PSK_AES_256_GCM: u16 = 0x00a9;
    pub const PSK_CHACHA20: u16 = 0xccab;
    pub const ECDHE_PSK_CHACHA20: u16 = 0xccac;
    pub const ECDHE_PSK_AES_128_GCM: u16 = 0xd001;
    pub const ECDHE_PSK_AES_256_GCM: u16 = 0xd002;
    /// `TLS_PSK_WITH_AES_128_CBC_SHA` and its variant with SHA-256 are not AEAD.
    pub const PSK_AES_128_CBC_SHA: u16 = 0x008c;
    pub const PSK_AES_128_CBC_SHA256: u16 = 0x00ae;
    /// `TLS_EMPTY_RENEGOTIATION_INFO_SCSV` (RFC 5746 §3.3).
    pub const RENEGOTIATION_SCSV: u16 = 0x00ff;
    /// `TLS_FALLBACK_SCSV` (RFC 7507).
    pub const FALLBACK_SCSV: u16 = 0x5600;
}

pub const TLS12: u16 = 0x0303;
pub const TLS13: u16 = 0x0304;
