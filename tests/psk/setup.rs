//! The keys that client and server share in these tests.

use crate::client::hash::Hash;
use crate::client::hello::Psk;

/// The usual key.
pub(crate) fn key() -> Psk {
    Psk {
        identity: b"client".to_vec(),
        secret: (1..=32).collect(),
        hash: Hash::Sha256,
    }
}

/// A key that goes with SHA-384.
pub(crate) fn key384() -> Psk {
    Psk {
        identity: b"client384".to_vec(),
        secret: (101..=148).collect(),
        hash: Hash::Sha384,
    }
}

/// A key as long as Plan 9's.
pub(crate) fn long_key() -> Psk {
    Psk {
        identity: b"plan9".to_vec(),
        secret: (0..=255).collect(),
        hash: Hash::Sha256,
    }
}
