//! Numbers of the protocol, by the names that the RFCs give them.

/// `ContentType` (RFC 8446 §5.1).
pub(crate) mod record {
    pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(crate) const ALERT: u8 = 21;
    pub(crate) const HANDSHAKE: u8 = 22;
    pub(crate) const APPLICATION_DATA: u8 = 23;
    pub(crate) const HEARTBEAT: u8 = 24;
}

/// `HandshakeType` (RFC 8446 §4, RFC 5246 §7.4).
pub(crate) mod handshake {
    pub(crate) const HELLO_REQUEST: u8 = 0;
    pub(crate) const CLIENT_HELLO: u8 = 1;
    pub(crate) const SERVER_HELLO: u8 = 2;
    pub(crate) const NEW_SESSION_TICKET: u8 = 4;
    pub(crate) const END_OF_EARLY_DATA: u8 = 5;
    pub(crate) const ENCRYPTED_EXTENSIONS: u8 = 8;
    pub(crate) const CERTIFICATE: u8 = 11;
    pub(crate) const SERVER_KEY_EXCHANGE: u8 = 12;
    pub(crate) const CERTIFICATE_REQUEST: u8 = 13;
    pub(crate) const SERVER_HELLO_DONE: u8 = 14;
    pub(crate) const CERTIFICATE_VERIFY: u8 = 15;
    pub(crate) const CLIENT_KEY_EXCHANGE: u8 = 16;
    pub(crate) const FINISHED: u8 = 20;
    pub(crate) const CERTIFICATE_STATUS: u8 = 22;
    pub(crate) const KEY_UPDATE: u8 = 24;
    pub(crate) const COMPRESSED_CERTIFICATE: u8 = 25;
    pub(crate) const MESSAGE_HASH: u8 = 254;
}

/// `ExtensionType` (RFC 8446 §4.2).
pub(crate) mod extension {
    pub(crate) const SERVER_NAME: u16 = 0;
    pub(crate) const STATUS_REQUEST: u16 = 5;
    pub(crate) const SUPPORTED_GROUPS: u16 = 10;
    pub(crate) const EC_POINT_FORMATS: u16 = 11;
    pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(crate) const ALPN: u16 = 16;
    pub(crate) const PADDING: u16 = 21;
    pub(crate) const ENCRYPT_THEN_MAC: u16 = 22;
    pub(crate) const EXTENDED_MASTER_SECRET: u16 = 23;
    pub(crate) const RECORD_SIZE_LIMIT: u16 = 28;
    pub(crate) const SESSION_TICKET: u16 = 35;
    pub(crate) const PRE_SHARED_KEY: u16 = 41;
    pub(crate) const EARLY_DATA: u16 = 42;
    pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
    pub(crate) const COOKIE: u16 = 44;
    pub(crate) const PSK_KEY_EXCHANGE_MODES: u16 = 45;
    pub(crate) const KEY_SHARE: u16 = 51;
    pub(crate) const RENEGOTIATION_INFO: u16 = 0xff01;
}

/// `AlertDescription` (RFC 8446 §6, RFC 5246 §7.2).
pub(crate) mod alert {
    pub(crate) const CLOSE_NOTIFY: u8 = 0;
    pub(crate) const UNEXPECTED_MESSAGE: u8 = 10;
    pub(crate) const BAD_RECORD_MAC: u8 = 20;
    pub(crate) const RECORD_OVERFLOW: u8 = 22;
    pub(crate) const HANDSHAKE_FAILURE: u8 = 40;
    pub(crate) const ILLEGAL_PARAMETER: u8 = 47;
    pub(crate) const ACCESS_DENIED: u8 = 49;
    pub(crate) const DECODE_ERROR: u8 = 50;
    pub(crate) const DECRYPT_ERROR: u8 = 51;
    pub(crate) const PROTOCOL_VERSION: u8 = 70;
    pub(crate) const INAPPROPRIATE_FALLBACK: u8 = 86;
    pub(crate) const USER_CANCELED: u8 = 90;
    pub(crate) const NO_RENEGOTIATION: u8 = 100;
    pub(crate) const MISSING_EXTENSION: u8 = 109;
    pub(crate) const NO_APPLICATION_PROTOCOL: u8 = 120;
}

/// `AlertLevel`.
pub(crate) const WARNING: u8 = 1;
/// `AlertLevel`.
pub(crate) const FATAL: u8 = 2;

/// `NamedGroup` (RFC 8446 §4.2.7).
pub(crate) mod group {
    pub(crate) const SECP256R1: u16 = 23;
    pub(crate) const SECP384R1: u16 = 24;
    pub(crate) const X25519: u16 = 29;
    pub(crate) const X25519MLKEM768: u16 = 0x11ec;
    /// One that the server does not have.
    pub(crate) const SECP521R1: u16 = 25;
}

/// `PskKeyExchangeMode` (RFC 8446 §4.2.9).
pub(crate) mod mode {
    pub(crate) const PSK_KE: u8 = 0;
    pub(crate) const PSK_DHE_KE: u8 = 1;
}

/// `CipherSuite`.
pub(crate) mod suite {
    pub(crate) const AES_128_GCM_SHA256: u16 = 0x1301;
    pub(crate) const AES_256_GCM_SHA384: u16 = 0x1302;
    pub(crate) const CHACHA20_POLY1305_SHA256: u16 = 0x1303;
    pub(crate) const PSK_AES_128_GCM: u16 = 0x00a8;
    pub(crate) const PSK_AES_256_GCM: u16 = 0x00a9;
    pub(crate) const PSK_CHACHA20: u16 = 0xccab;
    pub(crate) const ECDHE_PSK_CHACHA20: u16 = 0xccac;
    pub(crate) const ECDHE_PSK_AES_128_GCM: u16 = 0xd001;
    pub(crate) const ECDHE_PSK_AES_256_GCM: u16 = 0xd002;
    /// `TLS_PSK_WITH_AES_128_CBC_SHA`, and its fellow with SHA-256: not AEAD.
    pub(crate) const PSK_AES_128_CBC_SHA: u16 = 0x008c;
    pub(crate) const PSK_AES_128_CBC_SHA256: u16 = 0x00ae;
    /// `TLS_EMPTY_RENEGOTIATION_INFO_SCSV` (RFC 5746 §3.3).
    pub(crate) const RENEGOTIATION_SCSV: u16 = 0x00ff;
    /// `TLS_FALLBACK_SCSV` (RFC 7507).
    pub(crate) const FALLBACK_SCSV: u16 = 0x5600;
}

pub(crate) const TLS12: u16 = 0x0303;
pub(crate) const TLS13: u16 = 0x0304;
