//! Key shares: the client's half of an exchange in each group.

use aws_lc_rs::agreement::{
    Algorithm, ECDH_P256, ECDH_P384, PrivateKey, UnparsedPublicKey, X25519, agree,
};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, ML_KEM_768};

use super::bytes::Result;
use super::codes::group;

/// A share with its secret.
pub struct Share {
    /// The `NamedGroup`.
    pub group: u16,
    /// The public part.
    pub public: Vec<u8>,
    curve: PrivateKey,
    kem: Option<DecapsulationKey>,
}

impl Share {
    /// A new share.
    pub fn new(group: u16) -> Self {
        let (algorithm, _) = shape(group);
        let curve = PrivateKey::generate(algorithm).unwrap();
        let mut public = curve.compute_public_key().unwrap().as_ref().to_vec();
        let kem = (group == group::X25519MLKEM768)
            .then(|| DecapsulationKey::generate(&ML_KEM_768).unwrap());
        if let Some(kem) = &kem {
            let key = kem.encapsulation_key().unwrap();
            public = [key.key_bytes().unwrap().as_ref(), &public].concat();
        }
        Self {
            group,
            public,
            curve,
            kem,
        }
    }

    /// The shared secret with a share of the server.
    pub fn agree(&self, peer: &[u8]) -> Result<Vec<u8>> {
        let (algorithm, length) = shape(self.group);
        if peer.len() != length {
            return Err(format!("a share of {} bytes", peer.len()));
        }
        // draft-ietf-tls-ecdhe-mlkem §3: ML-KEM's part comes first, in shares and secret.
        let (ciphertext, point) = match self.kem {
            Some(_) => peer.split_at(MLKEM_CIPHERTEXT),
            None => (&[][..], peer),
        };
        let mut secret = match &self.kem {
            Some(kem) => {
                let secret = kem.decapsulate(Ciphertext::from(ciphertext));
                secret.map_err(|_| "ML-KEM fails")?.as_ref().to_vec()
            }
            None => Vec::new(),
        };
        let point = UnparsedPublicKey::new(algorithm, point);
        agree(&self.curve, point, "no point of the curve", |shared| {
            secret.extend_from_slice(shared);
            Ok(secret)
        })
        .map_err(str::to_owned)
    }
}

/// The curve of a group, and the length of a server's share.
fn shape(group: u16) -> (&'static Algorithm, usize) {
    match group {
        group::X25519 => (&X25519, 32),
        group::SECP256R1 => (&ECDH_P256, 65),
        group::SECP384R1 => (&ECDH_P384, 97),
        group::X25519MLKEM768 => (&X25519, MLKEM_CIPHERTEXT + 32),
        other => panic!("the test client does not know group {other}"),
    }
}

const MLKEM_CIPHERTEXT: usize = 1088;
